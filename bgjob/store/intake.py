"""The queueing side of the store: rows go in, all of a call or none."""

from __future__ import annotations

from bgjob import clock, sql

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from typing import NotRequired, TypedDict

    from bgjob.store.connection import Database

    class NewJob(TypedDict):
        """A job before it has a row: what is written, checked already."""

        job_class: str
        method: str
        params: str | None
        priority: int
        available_at: str | None
        created_at: str
        context: NotRequired[str]  # all jobs of one call have it, or none


def available_at(delay: float, now: dt.datetime) -> str | None:
    """Return the text of the instant at which a job queued at `now` with `delay` (seconds) is due; None: at once."""
    return clock.to_text(clock.later(now, delay)) if delay else None


def enqueue_along(database: Database, job: NewJob) -> None:
    """Insert `job` within the transaction that is open, to come and go with the rest of it."""
    database.connection.execute(sql.ENQUEUE, job)


def statement_for(job: NewJob) -> str:
    """Return what inserts such a job."""
    return sql.ENQUEUE_IN_CONTEXT if "context" in job else sql.ENQUEUE


def enqueue(database: Database, jobs: Sequence[NewJob]) -> int | None:
    """Insert `jobs` in one transaction, in their order; when this returns they are committed.

    Returns the id of one that comes alone.
    """
    if len(jobs) == 1:
        return database.write(statement_for(jobs[0]), jobs[0])
    with database.transaction() as connection:
        connection.executemany(statement_for(jobs[0]), jobs)
    return None
