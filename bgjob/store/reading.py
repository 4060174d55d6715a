"""The reading side of the store: what people ask of the queue, over a connection that can't write."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from bgjob import clock, sql
from bgjob.errors import StoreError
from bgjob.job import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING
from bgjob.store import byhand
from bgjob.store.alarms import OpenAlarm
from bgjob.store.connection import Database
from bgjob.store.pause import PauseStore
from bgjob.store.runners import HOUR, MINUTE
from bgjob.tally import Added

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from bgjob.store.byhand import Matching, Wanted
    from bgjob.store.pause import Pause

MOST_ATTEMPTS = 50_000  # looked at for what failed lately: 10 ms
MOST_TIMINGS = 5_000  # ids and attempts looked at for how long jobs take and why they fail: some 10 ms
MOST_PRIORITIES = 1_000  # looked at one by one for the job that is due for the longest time: 2 ms
MOST_IDS = 10_000  # looked at for the first one that is due without a time: 3 ms


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
    """One attempt that failed, was postponed or printed something."""

    attempt: int
    outcome: str
    verdict: str | None  # 'postponed' or 'gave up', where the job asked for it
    started_at: str | None
    finished_at: str
    error: str | None
    traceback: str | None
    output: str | None


class Counts(NamedTuple):
    """How many jobs have which status; those that wait in their parts."""

    completed: int
    failed: int
    cancelled: int
    processing: int
    due: int
    waiting: int  # pending, and not due

    @property
    def by_status(self) -> dict[str, int]:
        """The same for each status, in the order of a job's life."""
        return {
            PENDING: self.due + self.waiting,
            PROCESSING: self.processing,
            COMPLETED: self.completed,
            FAILED: self.failed,
            CANCELLED: self.cancelled,
        }


class Ended(NamedTuple):
    """What came of the jobs in a span of time, as their runners tallied it."""

    completed: int
    failed: int
    seconds: float  # that they kept workers busy, all attempts of theirs in this span


class FirstDue(NamedTuple):
    """The job that has been due for the longest time, and since when."""

    id: int
    job_class: str
    method: str
    since: str | None


class ProgressRow(NamedTuple):
    """How far the last attempt of a job said it was."""

    fraction: float | None
    text: str | None
    updated_at: str


class RunningRow(NamedTuple):
    """A job that is being run."""

    id: int
    job_class: str
    method: str
    started_at: str | None
    runner: int | None
    worker: str | None
    progress: ProgressRow | None


class Standing(NamedTuple):
    """How many jobs are being run, whether another one is due, and whether it may start."""

    processing: int
    is_due: int
    is_paused: int


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


class RunnerRow(NamedTuple):
    """A runner as it entered itself, and what came of its jobs as far as it got to say so."""

    id: int
    pid: int
    version: str
    lingers: int
    started: str
    last_seen: str
    ended: str | None
    completed: int
    retried: int
    failed: int
    postponed: int
    released: int


class Timing(NamedTuple):
    """The times of a job that completed: when it could first begin, was queued, began, and ended."""

    job_class: str
    due_at: str | None
    created_at: str | None
    started_at: str | None
    finished_at: str | None


class ReadStore:
    """What is read of a database, which must exist; a context manager, for it keeps the file open."""

    def __init__(self, path: str) -> None:
        """Open the file at `path` read-only; raises StoreError when it can't be read or isn't ours."""
        self._database = Database(path, read_only=True)
        # Counting touches each page of the table, and pages that are mapped need not be copied: 30 ms instead of 130
        # for a million rows. SQLite takes at most 2 GB (https://sqlite.org/mmap.html).
        self._database.fetch("PRAGMA mmap_size = 2147418112")
        self.path = self._database.path

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        """Close the connection."""
        self._database.close()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let all that is read in a `with` block be as it was at one moment."""
        self._database.fetch("BEGIN")
        try:
            yield
        finally:
            self._database.rollback()

    def counts(self, now: dt.datetime) -> Counts:
        """Return how many jobs have which status, exactly."""
        row = self._database.fetch(sql.COUNTS, {"now": clock.to_text(now)})[0]
        jobs, ready, fallen_due, waiting, odd, processing, failed, cancelled = row
        return Counts(jobs - sum(row[1:]), failed, cancelled, processing, ready + fallen_due, waiting + odd)

    def ended(self, since: dt.datetime, now: dt.datetime) -> Ended:
        """Return what came of the jobs between two instants, to the minute."""
        span = {"after": clock.to_text(since)[:MINUTE], "upto": clock.to_text(now)[:MINUTE]}
        return Ended(*self._database.fetch(sql.ENDED_IN_MINUTES, span)[0])

    def ended_by_hour(self, since: dt.datetime, now: dt.datetime) -> dict[str, tuple[int, int]]:
        """Return how many jobs completed and failed in each hour (such as `2026-11-24 02`) in which any did."""
        span = {"after": clock.to_text(since)[:HOUR], "upto": clock.to_text(now)[:HOUR]}
        rows = self._database.fetch(sql.ENDED_BY_HOUR, span)
        return {hour: (completed, failed) for hour, completed, failed in rows}

    def timings(self) -> list[Timing]:
        """Return the times of jobs that completed, among some thousands of the newest."""
        head = self._database.fetch(sql.READY_HEAD)
        values = {"looked": MOST_TIMINGS, "next": head[0][2] if head else 0}
        return [Timing(*row) for row in self._database.fetch(sql.TIMINGS, values)]

    def newest_failures(self, since: dt.datetime) -> list[tuple[str, str | None]]:
        """Return outcome and error of the attempts that failed since then, among some thousands of the newest."""
        return self._database.fetch(sql.NEWEST_FAILURES, {"since": clock.to_text(since), "looked": MOST_TIMINGS})

    def runners(self, *, before: int, most: int) -> list[RunnerRow]:
        """Return runners with numbers below `before` that did something or have not ended, the newest first."""
        return [RunnerRow(*row) for row in self._database.fetch(sql.RUNNERS, {"before": before, "most": most})]

    def count_matching(self, wanted: Wanted, *, after: int, upto: int) -> Matching:
        """Count the jobs that are as wanted among the ids beyond `after` up to `upto`."""
        return byhand.count(self._database, wanted, after=after, upto=upto)

    def totals(self) -> list[Added]:
        """Return what the runners have tallied ever, class by class; these numbers only grow."""
        return [Added(*row) for row in self._database.fetch(sql.TOTALS)]

    def failures(self, since: dt.datetime) -> tuple[dict[str, int], bool]:
        """Return how many attempts have failed since then, by outcome, and whether these are all or only the newest."""
        text = clock.to_text(since)
        counts = dict(self._database.fetch(sql.FAILURES_SINCE, {"since": text, "most": MOST_ATTEMPTS}))
        left_out = self._database.fetch(sql.NEWEST_ATTEMPT_LEFT_OUT, {"most": MOST_ATTEMPTS})
        return counts, not left_out or left_out[0][0] < text

    def first_due(self, now: dt.datetime) -> FirstDue | None:
        """Return the job that has been due for the longest time."""
        values = {"now": clock.to_text(now)}
        rows = self._database.fetch(sql.FIRST_DUE, {**values, "most": MOST_PRIORITIES})
        if rows and rows[0][4] == MOST_PRIORITIES:
            rows = self._database.fetch(sql.FIRST_DUE_OF_ALL, {**values, "looked": MOST_IDS})
        return FirstDue(*rows[0][:4]) if rows else None

    def next_due(self, now: dt.datetime) -> str | None:
        """Return when the next job that waits for its time is due."""
        rows = self._database.fetch(sql.NEXT_DUE, {"now": clock.to_text(now)})
        return rows[0][0] if rows else None

    def running(self) -> list[RunningRow]:
        """Return the jobs that are being run, the longest running one first."""
        rows = self._database.fetch(sql.RUNNING)
        return [RunningRow._make((*row[:6], ProgressRow(*row[6:]) if row[8] is not None else None)) for row in rows]

    def standing(self, now: dt.datetime) -> Standing:
        """Return whether jobs are being run or could start, all seen in one moment."""
        return Standing(*self._database.fetch(sql.STANDING, {"now": clock.to_text(now)})[0])

    def last_runner(self) -> LastRunner | None:
        """Return the newest runner, or None if there never was one."""
        rows = self._database.fetch(sql.LAST_RUNNER)
        return LastRunner(*rows[0]) if rows else None

    def alarms(self) -> list[OpenAlarm]:
        """Return the outages that are not over, the first one first."""
        return [OpenAlarm(*row) for row in self._database.fetch(sql.OPEN_ALARMS)]

    def pause(self) -> Pause | None:
        """Return the pause, or None if jobs may be claimed."""
        return PauseStore(self._database).current()

    def first_id(self, after: int) -> int | None:
        """Return the lowest id above `after`, or None."""
        rows = self._database.fetch(sql.FIRST_ID, {"after": after})
        return rows[0][0] if rows else None

    def last_id(self, upto: int) -> int | None:
        """Return the highest id up to `upto`, or None."""
        rows = self._database.fetch(sql.LAST_ID, {"upto": upto})
        return rows[0][0] if rows else None

    def stretch(self, filters: Mapping[str, object], *, sort: str, after: int, upto: int, most: int) -> list[JobRow]:
        """Return the jobs that match among the ids beyond `after` up to `upto`: `newest`, `oldest` or by `duration`."""
        is_indexed = filters["status"] in (FAILED, CANCELLED)
        statement = sql.LIST_UNSUCCESSFUL_STRETCH if is_indexed else sql.LIST_STRETCH
        values = {**filters, "sort": sort, "after": after, "upto": upto, "most": most}
        return [JobRow(*row) for row in self._database.fetch(statement, values)]

    def waits_more_than(self, looked: int) -> tuple[bool, bool]:
        """Return whether more jobs than that are ready, and whether more are delayed."""
        ready, delayed = self._database.fetch(sql.WAITS_MORE_THAN, {"looked": looked})[0]
        return bool(ready), bool(delayed)

    def waiting(
        self, filters: Mapping[str, object], *, sort: str, now: dt.datetime, looked: int, most: int, offset: int
    ) -> list[JobRow]:
        """Return the pending or running jobs that match, among the first `looked` of the ready and of the delayed ones.

        `filters` has `after` and `upto` beside what the table's columns are asked for.
        """
        values = {**filters, "sort": sort, "now": clock.to_text(now), "looked": looked, "most": most, "offset": offset}
        return [JobRow(*row) for row in self._database.fetch(sql.LIST_WAITING, values)]

    def upcoming(self, most: int) -> list[JobRow]:
        """Return the jobs that are next: the first that are ready, and behind them those that fall due next."""
        rows = self._database.fetch(sql.NEXT_READY, {"most": most})
        rows += self._database.fetch(sql.NEXT_DELAYED, {"most": most - len(rows)})
        return [JobRow(*row) for row in rows]

    def job(self, job_id: int) -> JobRow | None:
        """Return the job with that id, or None."""
        rows = self._database.fetch(sql.JOB_BY_ID, {"id": job_id})
        return JobRow(*rows[0]) if rows else None

    def attempts(self, job_id: int) -> list[AttemptRow]:
        """Return the recorded attempts of a job, the first one first."""
        return [AttemptRow(*row) for row in self._database.fetch(sql.ATTEMPTS_OF, {"id": job_id})]

    def progress(self, job_id: int) -> ProgressRow | None:
        """Return how far the last attempt of a job said it was, if it said so."""
        rows = self._database.fetch(sql.PROGRESS_OF, {"id": job_id})
        return ProgressRow(*rows[0]) if rows else None

    def last_verdict(self, job_id: int) -> str | None:
        """Return the verdict of the last recorded attempt of a job."""
        rows = self._database.fetch(sql.LAST_VERDICT, {"id": job_id})
        return rows[0][0] if rows else None

    def ahead_of(self, job: JobRow, now: dt.datetime) -> int:
        """Return how many due jobs a drain would take before this one."""
        values = {"id": job.id, "priority": job.priority, "available_at": job.available_at or ""}
        return int(self._database.fetch(sql.AHEAD_OF, {**values, "now": clock.to_text(now)})[0][0])

    def newest_time(self) -> str | None:
        """Return the latest time that the newest rows say they were written at."""
        told = self._database.fetch(sql.NEWEST_TIMES)[0][0]
        return None if told is None else str(told)

    def journal_mode(self) -> str:
        """Return SQLite's journal mode of the file: `wal`, or an older one where memory can't be shared."""
        if self._database.is_at_rest:
            return "wal"  # only that one needs more files than it may make
        return str(self._database.fetch(sql.JOURNAL_MODE)[0][0])

    def fingerprints(self) -> list[tuple[str, str, str]]:
        """Return side, time and facts (JSON) of each fingerprint."""
        return self._database.fetch(sql.FINGERPRINTS)


def exists(path: str) -> bool:
    """Return whether something stands at `path`: a database, a folder, a dangling link, or what this user may not see.

    To open it tells what it is. A file that can't be looked for must not pass for a queue in which nothing ever was.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:  # no permission for a folder on the way
        return True
    return True


def pause_of(path: str) -> Pause | None:
    """Return the pause of the database at `path`, or None if there is none; for who has done all else already."""
    try:
        with ReadStore(path) as store:
            return store.pause()
    except StoreError:
        return None
