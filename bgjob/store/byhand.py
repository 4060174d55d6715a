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
        jobs, last = self.database.fetch(sql.COUNT_MATCHING, _values(wanted))[0]
        return Matching(jobs, last or 0)

    def matching(self, wanted: Wanted, *, upto: int) -> Iterator[list[Seen]]:
        """Yield the jobs up to the id `upto` that are as wanted, at most AT_ONCE at a time, each read when asked for.

        They come by their ids, so a job that is changed, and meets the filters again soon after, comes only once.
        """
        values = {**_values(wanted), "after": 0, "upto": upto, "most": AT_ONCE}
        while rows := self.database.fetch(sql.MATCHING, values):
            yield [Seen(*row) for row in rows]
            values["after"] = rows[-1][0]

    def requeue(self, jobs: Sequence[Seen], now: dt.datetime) -> list[Seen]:
        """Make jobs that failed or were cancelled pending again, due at once, as if new; return those it was done to.

        In one transaction, as the other moves here: hand over at most AT_ONCE.
        """
        return self._changed(sql.REQUEUE, jobs, now)

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


def _values(wanted: Wanted) -> dict[str, object]:
    return {
        **{status: status in wanted.statuses for status in _STATUSES},
        "job_class": wanted.job_class,
        "method": wanted.method,
        "error": wanted.error,
        "since": clock.to_text(wanted.since) if wanted.since else None,
    }
