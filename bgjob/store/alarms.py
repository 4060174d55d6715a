"""The table of alarms, one row for each outage, and what must be known of the queue to raise one or to end it."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from bgjob import clock, sql

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.store.connection import Database

NO_TICK, OVERDUE = "no tick", "overdue"

# While jobs are due, each of cron's minutes has a runner of its own, or a hung one; and cron may be late.
_TWO_TICKS = dt.timedelta(minutes=2)


class OpenAlarm(NamedTuple):
    """An outage that is not over."""

    id: int
    kind: str
    raised_at: str
    told: str


class OldestDue(NamedTuple):
    """The job that has been due for the longest time."""

    id: int
    job_class: str
    method: str
    since: dt.datetime


class AlarmStore:
    """What is read and written of alarms."""

    def __init__(self, database: Database) -> None:
        """Work through `database`."""
        self._database = database

    def open(self) -> dict[str, OpenAlarm]:
        """Return the outages that are not over, by kind."""
        return {row[1]: OpenAlarm(*row) for row in self._database.fetch(sql.OPEN_ALARMS)}

    def is_paused(self) -> bool:
        """Return whether somebody has paused the queue: what waits then is no outage."""
        return bool(self._database.fetch(sql.PAUSED))

    def is_anything_due(self, now: dt.datetime) -> bool:
        """Return whether a job could be claimed at `now`."""
        return bool(self._database.fetch(sql.IS_ANY_DUE, {"now": clock.to_text(now)})[0][0])

    def oldest_due(self, now: dt.datetime) -> OldestDue | None:
        """Return the job that has been due for the longest time, as far as its row tells since when."""
        for job_id, job_class, method, since in self._database.fetch(sql.OLDEST_DUE, {"now": clock.to_text(now)}):
            try:
                return OldestDue(job_id, job_class, method, clock.from_text(since))
            except (ValueError, TypeError):  # written past the CHECKs
                return None
        return None

    def is_tended_since(self, then: dt.datetime) -> bool:
        """Return whether ticks have kept a runner at work since `then`, so that what waits can't blame their lack."""
        values = {"since": clock.to_text(then), "before": clock.to_text(then - _TWO_TICKS)}
        return bool(self._database.fetch(sql.TENDED_SINCE, values)[0][0])

    def begin(self, kind: str, now: dt.datetime, *, told: str) -> int | None:
        """Enter an outage, within the caller's transaction; return its number, or None if one of its kind is open."""
        values = {"kind": kind, "now": clock.to_text(now), "told": told}
        cursor = self._database.connection.execute(sql.RAISE_ALARM, values)
        if cursor.rowcount != 1:
            return None
        number = cursor.lastrowid
        self._database.connection.execute(sql.FORGET_ALARMS)
        return number

    def end(self, alarm: OpenAlarm, now: dt.datetime) -> bool:
        """Enter the end of an outage; return False if somebody else did."""
        with self._database.transaction() as connection:
            values = {"id": alarm.id, "now": clock.to_text(now)}
            return connection.execute(sql.END_ALARM, values).rowcount == 1
