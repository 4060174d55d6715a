"""By hand: jobs are looked for, and requeued, cancelled or deleted as long as they are still as they were seen."""

from __future__ import annotations

from typing import NamedTuple

from bgjob import clock, sql
from bgjob.job import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING, Seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from bgjob.store.connection import Database

# So many rows are changed in one transaction: others can write after some milliseconds.
AT_ONCE = 1_000

_STATUSES = (PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED)


class Wanted(NamedTuple):
    """Which jobs are meant: all of this must be true of one; None leaves open."""

    statuses: tuple[str, ...]
    job_class: str | None = None
    method: str | None = None
    error: str | None = None  # text that the error contains
    since: dt.datetime | None = None  # last changed then or later
    priority: int | None = None
    text: str | None = None  # that the params or the error contain, in any case
    until: dt.datetime | None = None  # last changed then or before
    as_of: dt.datetime | None = None  # not changed any more since


class Matching(NamedTuple):
    """How many jobs are as wanted, and the highest id among them."""

    jobs: int
    last: int


class ByHand:
    """What a person does to jobs. Each move goes only from the status in which the job was seen."""

    def __init__(self, database: Database) -> None:
        """Work through `database`."""
        self.database = database

    def find(self, job_id: int) -> Seen | None:
        """Return the job with this id, or None if there is none."""
        rows = self.database.fetch(sql.FIND, {"id": job_id})
        return Seen(*rows[0]) if rows else None

    def count(self, wanted: Wanted) -> Matching:
        """Count the jobs that are as wanted."""
        return count(self.database, wanted, after=0, upto=_HIGHEST)

    def matching(self, wanted: Wanted, *, upto: int, after: int = 0) -> Iterator[list[Seen]]:
        """Yield the jobs beyond `after` up to the id `upto` that are as wanted, AT_ONCE or fewer at a time.

        They come by their ids, so a job that is changed, and meets the filters again soon after, comes only once.
        """
        values = {**_values(wanted), "after": after, "upto": upto, "most": AT_ONCE}
        while rows := self.database.fetch(sql.MATCHING, values):
            yield [Seen(*row) for row in rows]
            values["after"] = rows[-1][0]

    def requeue(self, jobs: Sequence[Seen], now: dt.datetime) -> list[Seen]:
        """Make jobs that failed or were cancelled pending again, due at once, as if new; return those it was done to.

        In one transaction, as the other moves here: hand over at most AT_ONCE.
        """
        return self._changed(sql.REQUEUE, jobs, now)

    def run_now(self, jobs: Sequence[Seen], now: dt.datetime) -> list[Seen]:
        """Make pending jobs due at once, as if new: taken back and requeued in one; return those it was done to."""
        text = clock.to_text(now)
        with self.database.transaction() as connection:
            return [
                job
                for job in jobs
                if connection.execute(sql.CANCEL, {"id": job.id, "seen": job.status, "now": text}).rowcount == 1
                and connection.execute(sql.REQUEUE, {"id": job.id, "seen": CANCELLED, "now": text}).rowcount == 1
            ]

    def cancel(self, jobs: Sequence[Seen], now: dt.datetime) -> list[Seen]:
        """Take pending jobs back; return those it was done to."""
        return self._changed(sql.CANCEL, jobs, now)

    def delete(self, jobs: Sequence[Seen], now: dt.datetime) -> list[Seen]:
        """Remove jobs that are not processing, with their attempts; return those it was done to."""
        return self._changed(sql.DELETE, jobs, now)

    def _changed(self, statement: str, jobs: Sequence[Seen], now: dt.datetime) -> list[Seen]:
        text = clock.to_text(now)
        with self.database.transaction() as connection:
            return [
                job
                for job in jobs
                if connection.execute(statement, {"id": job.id, "seen": job.status, "now": text}).rowcount == 1
            ]


_HIGHEST = 2**63 - 1


def count(database: Database, wanted: Wanted, *, after: int, upto: int) -> Matching:
    """Count the jobs that are as wanted among the ids beyond `after` up to `upto`."""
    jobs, last = database.fetch(sql.COUNT_MATCHING, {**_values(wanted), "after": after, "upto": upto})[0]
    return Matching(jobs, last or 0)


def _values(wanted: Wanted) -> dict[str, object]:
    return {
        **{status: status in wanted.statuses for status in _STATUSES},
        "job_class": wanted.job_class,
        "method": wanted.method,
        "priority": wanted.priority,
        "error": wanted.error,
        "text": wanted.text,
        "since": clock.to_text(wanted.since) if wanted.since else None,
        "until": clock.to_text(wanted.until) if wanted.until else None,
        "as_of": clock.to_text(wanted.as_of) if wanted.as_of else None,
    }
