"""How many jobs were settled by which verb, class by class, and how many seconds they took.

A worker counts in memory that it shares with its runner, which writes down once a second what was added: statistics,
of which a kill of the runner may take the last second along.
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

VERBS = ("complete", "retry", "fail", "postpone", "release")
NOT_APPROVED = ""  # stands for every class that is not approved: anybody may have written anything there

_PLACES = {verb: place for place, verb in enumerate(VERBS)}
_SECONDS = len(VERBS)
_EACH = len(VERBS) + 1


def size(classes: int) -> int:
    """Return how many numbers the tally of so many approved classes has."""
    return _EACH * (classes + 1)


class Added(NamedTuple):
    """What was added to the tally of one class."""

    job_class: str
    completed: int
    failed: int
    seconds: float


class Tally:
    """A row of numbers for each approved class, and one for the others: a count by each verb, then the seconds."""

    __slots__ = ("_numbers", "_places", "classes")

    def __init__(self, classes: Iterable[str], numbers: list[float] | memoryview[float] | None = None) -> None:
        """Count in `numbers`, `size(…)` of them, or from zero; all tallies of one runner know the same `classes`."""
        self.classes = (NOT_APPROVED, *classes)
        self._places = {job_class: _EACH * row for row, job_class in enumerate(self.classes)}
        self._numbers = [0.0] * size(len(self.classes) - 1) if numbers is None else numbers

    def count(self, verb: str, job_class: str, seconds: float) -> None:
        """One more job was settled by `verb`, and had its worker busy for so many seconds."""
        row = self._places.get(job_class, 0)
        self._numbers[row + _PLACES[verb]] += 1
        self._numbers[row + _SECONDS] += seconds

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
        complete, fail = _PLACES["complete"], _PLACES["fail"]
        return [
            Added(name, int(row[complete]), int(row[fail]), row[_SECONDS]) for name, row in rows.items() if any(row)
        ]
