"""What a check finds, and what all checks are given to look at."""

from __future__ import annotations

import datetime as dt
import os
from typing import NamedTuple

from bgjob import watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from bgjob.config import Config
    from bgjob.views.doctor.start import Start

PROBLEM = "problem"  # jobs do not run, or get lost
WARNING = "warning"  # it works, until something happens
NOTE = "note"  # good to know; no news on a machine that is well

SEVERITIES = (PROBLEM, WARNING, NOTE)

_RECENT = dt.timedelta(days=2)  # a process that queues tells of itself once a day


class Finding(NamedTuple):
    """One thing that is wrong, and the command or the edit that mends it."""

    severity: str
    what: str
    mend: str = ""


class Side(NamedTuple):
    """A fingerprint as it stands in the database."""

    side: str
    last_seen: dt.datetime
    facts: dict[str, Any]

    def text(self, name: str) -> str:
        """Return one of its facts as text; an empty one where it is not known."""
        value = self.facts.get(name)
        return "" if value is None else str(value)


class Case(NamedTuple):
    """A queue under examination."""

    config: Config
    now: dt.datetime
    exists: bool  # whether there is a database
    ticks: Side | None  # the ticks as they were seen last
    queueing: list[Side]  # who queued lately: of each user, Python and config the last one
    starts: list[Start]  # what starts ticks of this project
    other_starts: list[Start]  # what starts ticks of other ones
    blind_spots: list[str]  # crontabs that could not be read

    @property
    def database(self) -> str:
        """The database's real path, beside which its other files stand."""
        return os.path.realpath(self.config.database)

    @property
    def last_tick(self) -> dt.datetime | None:
        """When the last tick came."""
        return watch.last_tick(self.database)

    @property
    def is_silent(self) -> bool:
        """Whether no tick has come for so long that cron must have stopped."""
        return watch.is_silent(self.last_tick, self.now)

    def sides(self) -> Iterator[Side]:
        """Return all that were seen."""
        if self.ticks:
            yield self.ticks
        yield from self.queueing


def newest(sides: list[Side], now: dt.datetime) -> tuple[Side | None, list[Side]]:
    """Return the ticks as they were seen last, and each kind of process that queued lately.

    Who sat at a terminal counts only where nobody else was seen: it is a person, whose surroundings are others.
    """
    kinds: dict[tuple[str, ...], Side] = {}
    for side in sorted(sides, key=lambda side: side.last_seen):
        kind = (side.side, *map(side.text, ("on_terminal", "uid", "python", "config")))
        kinds[kind] = side
    ticks = _of_programs([side for side in kinds.values() if side.side == "tick"])
    queueing = _of_programs([side for side in kinds.values() if side.side == "queueing"])
    lately = [side for side in queueing if now - side.last_seen < _RECENT]
    return max(ticks, key=lambda side: side.last_seen, default=None), lately


def _of_programs(sides: list[Side]) -> list[Side]:
    return [side for side in sides if not side.facts.get("on_terminal")] or sides
