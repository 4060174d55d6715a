"""A drain in the test's own process: what is due at an instant is run, in order, and settled by the real rules."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
import threading
from typing import NamedTuple

from bgjob import clock, execution, in_force, process, reporting
from bgjob import params as params_json
from bgjob.console import Console
from bgjob.errors import BgjobError, JobTimeout
from bgjob.job import TRANSITIONS, Postponed, Succeeded
from bgjob.lock import QueueLock
from bgjob.logs import Logs
from bgjob.settlement import settle, tell
from bgjob.store.connection import Database
from bgjob.store.jobs import JobStore, Owner
from bgjob.store.runners import RunnerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

    from bgjob.config import Config
    from bgjob.job import ClaimedJob, Outcome
    from bgjob.settlement import Settlement

_lock = threading.RLock()
_is_under_way = False


class Ran(NamedTuple):
    """One attempt that a drain made."""

    id: int
    job_class: str
    method: str
    params: Any  # a dict (keyword arguments), a list (positional ones) or None
    attempt: int  # its number, from 1
    outcome: str  # succeeded, raised or postponed
    status: str  # of the job afterwards: completed, failed, or pending where another attempt follows
    available_at: dt.datetime | None  # when that one is due
    error: str | None  # in one line, as it stands in the database
    exception: BaseException | None  # what the job raised


def drain(now: dt.datetime | None = None, *, raise_errors: bool = True, most: int = 1_000) -> list[Ran]:
    """Run all jobs that are due at `now` in this process and thread, one after the other, and return what ran.

    `now`: an aware datetime, at which bgjob's clock stands still meanwhile; None: the present one, also freezegun's. A
    job that is queued by a job, or tried again, runs too if it is due by then. Approval, order, retries, the table and
    the logs are those of a runner, but the time to a retry has no jitter and a job no time-out.

    The first exception of a job is raised anew as soon as that job is settled; what is left stays due. Without
    `raise_errors` all jobs run, and the list tells of the exceptions. KeyboardInterrupt, and what a test runner uses to
    end a test, are raised in any case; RetryLater never is.

    The queue is that of the config in force, or of `isolated`. Raises BgjobError if a runner is at work on it, or a
    drain in this thread; AssertionError when `most` jobs ran and another one is due.
    """
    __tracebackhide__ = True
    settings = in_force.configs.current()
    instant = clock.now() if now is None else _utc(now)
    with _alone(), _database(settings) as database, _surroundings(settings, instant):
        execution.import_boot(settings)
        return _Drain(settings, database, instant).run(raise_errors=raise_errors, most=most)


def _utc(now: dt.datetime) -> dt.datetime:
    if now.utcoffset() is None:
        raise ValueError(f"now has no time zone; make it aware, such as {now.isoformat()}+00:00 or now.astimezone()")
    return now.astimezone(dt.UTC)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let other threads wait for their turn, and refuse a drain within a drain."""
    global _is_under_way  # noqa: PLW0603  # one for the process, as its clock is
    with _lock:
        if _is_under_way:
            raise BgjobError(
                "a job can't drain the queue: it is being drained. Jobs that it queues will run all the same"
            )
        _is_under_way = True
        try:
            yield
        finally:
            _is_under_way = False


@contextlib.contextmanager
def _database(settings: Config) -> Iterator[Database]:
    """Open the database, and hold its queue lock, so that no tick takes our jobs for those of a dead runner."""
    database = Database(settings.database)
    try:
        lock = QueueLock(f"{database.path}.lock")
        if not lock.take():
            raise BgjobError(
                f"a runner (or another test process) is at work on {database.path}; give each test a queue of its own: "
                "the fixture bgjob_queue, or bgjob.testing.isolated()"
            )
        try:
            yield database
        finally:
            lock.give_back()
    finally:
        database.close()


@contextlib.contextmanager
def _surroundings(settings: Config, instant: dt.datetime) -> Iterator[None]:
    """Let the clock stand still and the app be found, and leave the process as it was."""
    path = list(sys.path)
    thaw = clock.freeze(instant)
    if settings.root not in path:
        execution.open_the_way(settings.root)
    try:
        yield
    finally:
        thaw()
        if settings.root not in path:
            with contextlib.suppress(ValueError):
                sys.path.remove(settings.root)


class _Drain:
    """One drain: a runner and its only worker in one."""

    def __init__(self, settings: Config, database: Database, now: dt.datetime) -> None:
        self._settings = settings
        self._now = now
        self._database = database
        self._store = JobStore(database)
        self._runners = RunnerStore(database)
        self._pid = os.getpid()

    def run(self, *, raise_errors: bool, most: int) -> list[Ran]:
        """Run what is due."""
        __tracebackhide__ = True
        who = process.identity(self._pid)
        number = self._runners.start(self._now, process=who, lingers=False)
        logs, console = Logs.of(self._settings), Console(quiet=True)
        try:
            # The limit is for jobs at once; a row that somebody left processing is not to stop a test.
            owner = Owner(number, who, sys.maxsize)
            return self._run_due(owner, logs, console, raise_errors=raise_errors, most=most)
        finally:
            console.close()
            logs.close()
            self._runners.end(number, self._now)

    def _run_due(self, owner: Owner, logs: Logs, console: Console, *, raise_errors: bool, most: int) -> list[Ran]:
        __tracebackhide__ = True
        done: list[Ran] = []
        while (job := self._next(owner)) is not None:
            if len(done) == most:
                self._refuse(job, most)
            caught: list[BaseException] = []
            since = clock.monotonic()
            outcome = self._execute(job, caught)
            duration = clock.monotonic() - since
            settled = self._settle(job, outcome)
            tell(settled, self._now, logs=logs, console=console, duration=duration)
            done.append(self._ran(settled, caught))
            if caught and _gets_out(caught[0], settled, raise_errors=raise_errors):
                caught[0].add_note(_note(done[-1]))
                raise caught[0]
        return done

    def _next(self, owner: Owner) -> ClaimedJob | None:
        if self._store.must_promote(self._now):
            self._store.promote(self._now)
        with self._store.transaction():
            return self._store.claim(owner, self._now)

    def _refuse(self, job: ClaimedJob, most: int) -> NoReturn:
        __tracebackhide__ = True
        with self._store.transaction():
            self._store.release(job, self._now)
        raise AssertionError(
            f"{most} jobs ran, and the next one is due: {job.job_class}.{job.method}. Does a job queue itself again, "
            "without a delay? Where so many are right, call drain(most=…)"
        )

    def _execute(self, job: ClaimedJob, caught: list[BaseException]) -> Outcome:
        outcome = execution.execute(self._settings, job, caught=caught)
        if os.getpid() != self._pid:
            os._exit(not isinstance(outcome, Succeeded))  # a child that the job forked has come out of it: not ours
        return outcome

    def _settle(self, job: ClaimedJob, outcome: Outcome) -> Settlement:
        reached = reporting.board.take()
        with self._store.transaction():
            if reached is not None:
                self._store.note_progress(job.runner, job.worker, reached, self._now)
            return settle(self._store, job, outcome, self._now, config=self._settings, output="", dice=0.0)

    def _ran(self, settled: Settlement, caught: list[BaseException]) -> Ran:
        job, outcome = settled.job, settled.outcome
        return Ran(
            id=job.id,
            job_class=job.job_class,
            method=job.method,
            params=_params(job),
            attempt=job.attempt,
            outcome="postponed" if isinstance(outcome, Postponed) else outcome.kind,
            # A job may delete its own row.
            status=TRANSITIONS[settled.verb][1] if settled.held else self._store.status_of(job.id) or "deleted",
            available_at=settled.available_at,
            error=getattr(outcome, "error", None),
            exception=caught[0] if caught else None,
        )


def _params(job: ClaimedJob) -> Any:  # noqa: ANN401  # JSON
    try:
        args, kwargs = params_json.decode(job.params)
    except params_json.UnreadableParamsError:
        return job.params  # written by another program
    return kwargs or args or None


def _gets_out(error: BaseException, settled: Settlement, *, raise_errors: bool) -> bool:
    """Return whether a test shall see the exception of a job at once."""
    if isinstance(settled.outcome, Postponed):
        return False
    return raise_errors or not isinstance(error, (Exception, SystemExit, JobTimeout))


def _note(ran: Ran) -> str:
    after = f"pending again from {clock.to_text(ran.available_at)} UTC" if ran.available_at else f"now {ran.status}"
    return f"raised by job {ran.id}, {ran.job_class}.{ran.method}, in attempt {ran.attempt}; the job is {after}"
