"""How far a long piece of work is: the share that is done, the rate of the last minute, and the time left."""

from __future__ import annotations

import math
from collections import deque

from bgjob.console import ago

_SECONDS_OF_RATE = 60
_LONGEST_BAR = 40
_SHORTEST_BAR = 10


class Pace:
    """So many of a `total`, as they are done. The instants are monotonic."""

    def __init__(self, total: int | None, now: float, *, unit: str = "jobs") -> None:
        """Begin with nothing done; `total` is None where nobody knows it. Without a `unit` only the share is told."""
        self.total = total
        self.done = 0
        self._unit = unit
        self._marks = deque([(now, 0)], maxlen=_SECONDS_OF_RATE + 1)

    def move(self, done: int, now: float) -> None:
        """Note that so many are done by now."""
        self.done = done
        if now - self._marks[-1][0] >= 1 or len(self._marks) == 1:
            self._marks.append((now, done))

    def told(self, now: float) -> str:
        """Return it in words: `45 %, 4,500 of 10,000 jobs, 820/s, 7 s left`."""
        told = []
        if self.total is not None:
            told.append(f"{100 * self.done // max(self.total, 1)} %")
        if self._unit:
            whole = "" if self.total is None else f"{self.total:,}"
            told.append(f"{self.done:>{len(whole)},}{whole and f' of {whole}'} {self._unit}")
        rate = self._rate(now)
        if rate:
            told += [_spoken(rate)] if self._unit else []
        left = self.seconds_left(now)
        if left is not None:
            told.append(f"{ago(math.ceil(left))} left")
        return ", ".join(told)

    def seconds_left(self, now: float) -> float | None:
        """Return how long it will take if it goes on like this; None where nobody can know."""
        rate = self._rate(now)
        return None if self.total is None or not rate else (self.total - self.done) / rate

    def line(self, what: str, now: float, *, columns: int, colours: bool) -> str:
        """Return it as one line: what is done, a bar, and the words; a narrow terminal gets no bar."""
        told = self.told(now)
        room = min(columns - len(what) - len(told) - 3, _LONGEST_BAR)
        if self.total is None or room < _SHORTEST_BAR:
            return f"{what} {told}"[: columns - 1]
        filled = room * min(self.done, self.total) // max(self.total, 1)
        bar, rest = "━" * filled, ("━" if colours else "─") * (room - filled)
        if colours:
            bar, rest = f"\x1b[32m{bar}\x1b[0m", f"\x1b[90m{rest}\x1b[0m"
        return f"{what} {bar}{rest} {told}"

    def _rate(self, now: float) -> float:
        """Return how many were done a second, lately."""
        then, before = self._marks[0]
        return (self.done - before) / (now - then) if now > then else 0.0


def _spoken(rate: float) -> str:
    for seconds, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if rate * seconds >= 1:
            number = rate * seconds
            return f"{number:,.0f}/{unit}" if number >= 10 else f"{number:.1f}/{unit}"  # noqa: PLR2004  # two digits
    return "less than 1/h"
