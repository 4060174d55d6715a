"""The queueing side of the store: rows go in, all of a call or none."""

from __future__ import annotations

from bgjob import clock, sql

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from bgjob.store.connection import Database


class NewJob:
    """A job before it has a row; everything in it has been checked."""

    __slots__ = ("delay", "job_class", "method", "params", "priority")

    def __init__(self, job_class: str, method: str, params: str | None, priority: int, delay: float) -> None:
        """Keep what will be written: `params` is JSON text, `delay` in seconds (0: due at once)."""
        self.job_class = job_class
        self.method = method
        self.params = params
        self.priority = priority
        self.delay = delay


def enqueue(database: Database, jobs: Sequence[NewJob], now: dt.datetime) -> None:
    """Insert `jobs` in one transaction, in their order; when this returns they are committed."""
    written = clock.to_text(now)
    with database.transaction() as connection:
        connection.executemany(sql.ENQUEUE, [_row(job, now, written) for job in jobs])


def _row(job: NewJob, now: dt.datetime, written: str) -> dict[str, object]:
    return {
        "job_class": job.job_class,
        "method": job.method,
        "params": job.params,
        "priority": job.priority,
        "available_at": clock.to_text(clock.later(now, job.delay)) if job.delay else None,
        "now": written,
    }
