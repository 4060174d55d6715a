"""Housekeeping of the store: finished rows are pruned by age, a stretch of ids at a time."""

from __future__ import annotations

import datetime as dt

from bgjob import clock, sql
from bgjob.job import CANCELLED, COMPLETED, FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bgjob.store.connection import Database

# So many ids a step: a few milliseconds under the write lock at the most.
STRETCH = 500
FINISHED = (COMPLETED, FAILED, CANCELLED)
SWEEP_EVERY = dt.timedelta(hours=1)

# What `status` tells of the last hour is added up of minutes; hours are for whoever looks back.
KEEP_MINUTES = dt.timedelta(hours=2)
KEEP_HOURS = dt.timedelta(days=30)


class Upkeep:
    """A sweep over all rows, once an hour, in steps that anybody may interrupt."""

    def __init__(self, database: Database, *, keep: dict[str, float]) -> None:
        """Prune rows that have been finished for longer than `keep` (status -> seconds)."""
        self._database = database
        self._keep = keep

    def is_due(self, now: dt.datetime) -> bool:
        """Return whether a sweep is to be begun or gone on with."""
        swept_to, swept_at = self._database.fetch(sql.SWEPT)[0]
        if swept_to or swept_at is None:
            return True
        # A clock that was set back must not put the next sweep off for ever.
        return abs(now - clock.from_text(swept_at)) >= SWEEP_EVERY

    def step(self, now: dt.datetime) -> bool:
        """Prune the next stretch; return False once the sweep has come to the last row."""
        after = self._database.fetch(sql.SWEPT)[0][0]
        upto = _end_of_stretch(self._database, after)
        with self._database.transaction() as connection:
            if upto is not None:
                connection.execute(sql.PRUNE, {"after": after, "upto": upto, **cutoffs(self._keep, now)}).fetchall()
            else:
                forget = {"minute": clock.to_text(now - KEEP_MINUTES), "hour": clock.to_text(now - KEEP_HOURS)}
                connection.execute(sql.FORGET_TALLIES, forget)
            connection.execute(
                sql.NOTE_SWEEP, {"swept_to": upto or 0, "swept_at": None if upto else clock.to_text(now)}
            )
        return upto is not None


def cutoffs(keep: Mapping[str, float], now: dt.datetime) -> dict[str, str]:
    """Return for each finished status the text of the instant before which a row is pruned; no status, no row."""
    kept = {status: clock.to_text(clock.later(now, -seconds)) for status, seconds in keep.items()}
    return {**dict.fromkeys(FINISHED, ""), **kept}


def count_prunable(database: Database, before: Mapping[str, str]) -> dict[str, int]:
    """Return how many rows of each status are older than these `cutoffs`."""
    return {status: int(count) for status, count in database.fetch(sql.COUNT_PRUNABLE, before)}


def prune(database: Database, before: Mapping[str, str]) -> Iterator[list[str]]:
    """Prune all rows older than these `cutoffs`, a stretch in each step; yield the statuses of those that went."""
    after = 0
    while (upto := _end_of_stretch(database, after)) is not None:
        with database.transaction() as connection:
            # fetchall: a statement that is not read to its end would hold the transaction open.
            gone = connection.execute(sql.PRUNE, {"after": after, "upto": upto, **before}).fetchall()
        yield [status for (status,) in gone]
        after = upto


def _end_of_stretch(database: Database, after: int) -> int | None:
    """Return the id with which the stretch behind `after` ends, or None behind the last row."""
    upto: int | None = database.fetch(sql.STRETCH, {"after": after, "most": STRETCH})[0][0]
    return upto
