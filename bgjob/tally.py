"""How many jobs were settled by which verb, class by class, how many attempts failed, and how many seconds they took.

A worker counts in memory that it shares with its runner, which writes down once a second what was added: statistics,
of which a kill of the runner may take the last second along.
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

VERBS = ("complete", "retry", "fail", "postpone", "release")
FAILURES = ("raised", "timed out", "crashed")  # outcomes
NOT_APPROVED = ""  # stands for every class that is not approved: anybody may have written anything there

_PLACES = {verb: place for place, verb in enumerate(VERBS)}
_PLACES_OF_FAILURES = {outcome: len(VERBS) + place for place, outcome in enumerate(FAILURES)}
_SECONDS = len(VERBS) + len(FAILURES)
_EACH = _SECONDS + 1


def size(classes: int) -> int:
    """Return how many numbers the tally of so many approved classes has."""
    return _EACH * (classes + 1)


class Added(NamedTuple):
    """What was added to the tally of one class: jobs that ended, their workers' seconds, attempts by their end."""

    job_class: str
    completed: int
    failed: int
    seconds: float
    postponed: int = 0
    raised: int = 0
    timed_out: int = 0
    crashed: int = 0


class Tally:
    """A row of numbers for each approved class, and one for the others: counts by verb and by failure, the seconds."""

    __slots__ = ("_numbers", "_places", "classes")

    def __init__(self, classes: Iterable[str], numbers: list[float] | memoryview[float] | None = None) -> None:
        """Count in `numbers`, `size(…)` of them, or from zero; all tallies of one runner know the same `classes`."""
        self.classes = (NOT_APPROVED, *classes)
        self._places = {job_class: _EACH * row for row, job_class in enumerate(self.classes)}
        self._numbers = [0.0] * size(len(self.classes) - 1) if numbers is None else numbers

    def count(self, verb: str, job_class: str, seconds: float, outcome: str = "") -> None:
        """One more job was settled by `verb`, for that `outcome`, and had its worker busy for so many seconds."""
        row = self._places.get(job_class, 0)
        self._numbers[row + _PLACES[verb]] += 1
        self._numbers[row + _SECONDS] += seconds
        if outcome in _PLACES_OF_FAILURES and verb != "postpone":
            self._numbers[row + _PLACES_OF_FAILURES[outcome]] += 1

    def counts(self) -> dict[str, int]:
        """Return how many jobs were settled by which verb."""
        return {verb: int(sum(self._numbers[place::_EACH])) for verb, place in _PLACES.items()}

    def plus(self, others: Iterable[Tally]) -> Tally:
        """Return the sum of this tally and `others`, which goes on counting by itself."""
        columns = [self._numbers, *(other._numbers for other in others)]  # noqa: SLF001  # of its own kind
        return Tally(self.classes[1:], [sum(column) for column in zip(*columns, strict=True)])

    def since(self, before: Tally) -> list[Added]:
        """Return what was added since the tally was as `before`."""
        added = [new - old for new, old in zip(self._numbers, before._numbers, strict=True)]
        rows = {name: added[row : row + _EACH] for name, row in self._places.items()}
        return [_added(name, row) for name, row in rows.items() if any(row)]


def _added(job_class: str, row: list[float]) -> Added:
    completed, failed, postponed = (int(row[_PLACES[verb]]) for verb in ("complete", "fail", "postpone"))
    return Added(job_class, completed, failed, row[_SECONDS], postponed, *map(int, row[len(VERBS) : _SECONDS]))
