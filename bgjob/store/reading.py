"""The reading side of the store: what people ask of the queue, over a connection that can't write."""

from __future__ import annotations

import os
from typing import NamedTuple

from bgjob import clock, sql
from bgjob.store.connection import Database

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self


class JobRow(NamedTuple):
    """One row of `custom_jobs`; another program may have written anything past the CHECKs."""

    id: int
    job_class: str
    method: str
    params: str | None
    status: str
    priority: int
    retry_count: int | str
    crash_count: int
    available_at: str | None
    created_at: str | None
    updated_at: str | None
    started_at: str | None
    finished_at: str | None
    error: str | None
    runner: int | None
    worker: str | None


class AttemptRow(NamedTuple):
    """One attempt that failed or printed something."""

    attempt: int
    outcome: str
    started_at: str | None
    finished_at: str
    error: str | None
    traceback: str | None
    output: str | None


class Tally(NamedTuple):
    """One status: how many jobs have it, how many of them ended lately, and how many seconds those took."""

    status: str
    jobs: int
    ended: int
    seconds: float


class FirstDue(NamedTuple):
    """The job that has been due for the longest time, and since when."""

    id: int
    job_class: str
    method: str
    since: str | None


class RunningRow(NamedTuple):
    """A job that is being run."""

    id: int
    job_class: str
    method: str
    started_at: str | None
    runner: int | None
    worker: str | None


class LastRunner(NamedTuple):
    """The newest runner as it entered itself."""

    id: int
    pid: int
    process: str
    version: str
    lingers: int
    started: str
    last_seen: str
    ended: str | None


class ReadStore:
    """What is read of a database, which must exist; a context manager, for it keeps the file open."""

    def __init__(self, path: str) -> None:
        """Open the file at `path` read-only; raises StoreError when it can't be read or isn't ours."""
        self._database = Database(path, read_only=True)
        self.path = self._database.path

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        """Close the connection."""
        self._database.close()

    def tally(self, since: dt.datetime) -> list[Tally]:
        """Return the counts of each status, and what ended since then."""
        return [Tally(*row) for row in self._database.fetch(sql.TALLY, {"since": clock.to_text(since)})]

    def failures(self, since: dt.datetime) -> dict[str, int]:
        """Return how many attempts have failed since then, by outcome."""
        return dict(self._database.fetch(sql.FAILURES_SINCE, {"since": clock.to_text(since)}))

    def due(self, now: dt.datetime) -> tuple[int, FirstDue | None]:
        """Return how many jobs are due, and the one that has been so for the longest time."""
        [(count, first_id, first_time)] = self._database.fetch(sql.DUE_NOW, {"now": clock.to_text(now)})
        rows = self._database.fetch(sql.FIRST_QUEUED, {"id": first_id})
        rows += self._database.fetch(sql.FIRST_DUE_AT, {"available_at": first_time})
        candidates = [FirstDue(*row) for row in rows]
        return count, min(candidates, key=lambda first: str(first.since or "~"), default=None)

    def next_due(self, now: dt.datetime) -> str | None:
        """Return when the next job that waits for its time is due."""
        rows = self._database.fetch(sql.NEXT_DUE, {"now": clock.to_text(now)})
        return rows[0][0] if rows else None

    def running(self) -> list[RunningRow]:
        """Return the jobs that are being run, the longest running one first."""
        return [RunningRow(*row) for row in self._database.fetch(sql.RUNNING)]

    def last_runner(self) -> LastRunner | None:
        """Return the newest runner, or None if there never was one."""
        rows = self._database.fetch(sql.LAST_RUNNER)
        return LastRunner(*rows[0]) if rows else None

    def newest_job(self) -> int:
        """Return the highest id, 0 without any job."""
        return self._database.fetch(sql.NEWEST_JOB)[0][0] or 0

    def stretch(self, filters: Mapping[str, object], *, after: int, upto: int, most: int) -> list[JobRow]:
        """Return the jobs that match among the ids beyond `after` up to `upto`, the newest first."""
        values = {**filters, "after": after, "upto": upto, "most": most}
        return [JobRow(*row) for row in self._database.fetch(sql.LIST_STRETCH, values)]

    def sorted(self, filters: Mapping[str, object], *, sort: str, most: int, offset: int) -> list[JobRow]:
        """Return the jobs that match: by `priority`, `due`, `duration` or `oldest`."""
        values = {**filters, "sort": sort, "most": most, "offset": offset}
        return [JobRow(*row) for row in self._database.fetch(sql.LIST_SORTED, values)]

    def job(self, job_id: int) -> JobRow | None:
        """Return the job with that id, or None."""
        rows = self._database.fetch(sql.JOB_BY_ID, {"id": job_id})
        return JobRow(*rows[0]) if rows else None

    def attempts(self, job_id: int) -> list[AttemptRow]:
        """Return the recorded attempts of a job, the first one first."""
        return [AttemptRow(*row) for row in self._database.fetch(sql.ATTEMPTS_OF, {"id": job_id})]

    def ahead_of(self, job: JobRow, now: dt.datetime) -> int:
        """Return how many due jobs a drain would take before this one."""
        values = {"id": job.id, "priority": job.priority, "available_at": job.available_at or ""}
        return int(self._database.fetch(sql.AHEAD_OF, {**values, "now": clock.to_text(now)})[0][0])


def exists(path: str) -> bool:
    """Return whether there is a database at `path`, or what stands in its place: a folder, a dangling link."""
    return os.path.lexists(path)
