"""A worker: the child process in which jobs run, one at a time, until nothing is due or it is told to stop.

It claims for itself over a connection of its own, runs the job, settles it and claims the next one in the same
transaction, so a processing row is a started job and a kill leaves at most one of them in doubt.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sys

from bgjob import clock, deadline, execution, process, reporting, seal
from bgjob.child import memory_limited_to
from bgjob.errors import StoreError
from bgjob.job import Succeeded, TimedOut
from bgjob.settlement import settle, tell
from bgjob.slot import BOOT_FAILED, ENDED, FILES_CLOSED, IDLE, STORE_FAILED, Slot
from bgjob.state import ProcessState
from bgjob.store.connection import Database
from bgjob.store.jobs import JobStore, Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from typing import NoReturn

    from bgjob.config import ClassRules, Config
    from bgjob.console import Console
    from bgjob.job import ClaimedJob, Outcome
    from bgjob.logs import Logs
    from bgjob.output import Capture
    from bgjob.tally import Tally

SECONDS_FOR_BOOT = 300.0
# Seconds between two looks. What is committed to a log that was deleted meanwhile is lost, and its jobs run again.
# Where `keep_log` works, nobody deletes it but by hand; elsewhere we look after each job.
_LOOK_AT_WAL_EVERY = 0.001 if hasattr(fcntl, "F_OFD_SETLK") else 0.0
SECONDS_TO_SETTLE = 120.0  # more than a busy database may keep us waiting


class Worker:
    """One worker's work; the same whether it is a process of its own or, for a debugger, the runner's."""

    def __init__(
        self,
        config: Config,
        *,
        runner: int,
        workers: int,
        slot: Slot,
        logs: Logs,
        console: Console,
        capture: Capture | None = None,
        ear: int | None = None,
    ) -> None:
        """Work for runner number `runner`, as one of so many `workers` in all.

        Without `capture` the job's output goes where ours goes. A worker with an `ear` does not end when nothing is
        due: it waits to be woken by a byte on that pipe.
        """
        self._config = config
        self._owner = Owner(runner, process.identity(os.getpid()), workers)
        self._slot = slot
        self._capture = capture
        self._ear = ear
        self._logs = logs
        self._console = console
        self._pid = os.getpid()
        self._parent = os.getppid()
        self._must_be_replaced = False
        self._has_run = False
        self._next_look_at_wal = 0.0

    @classmethod
    def in_process(cls, config: Config, *, runner: int, workers: int, logs: Logs, console: Console) -> Worker:
        """Return a worker that works in the runner's own process."""
        return cls(config, runner=runner, workers=workers, slot=Slot(config.classes), logs=logs, console=console)

    def stop(self) -> None:
        """Claim no more after the job that runs."""
        self._slot.ask_to_stop()

    @property
    def tally(self) -> Tally:
        """What its jobs came to."""
        return self._slot.tally

    def work(self, only: int | None = None) -> int:
        """Run due jobs until there are none (or just the job with the id `only`); return why it ended."""
        self._slot.ending = self._work_until_the_end(only)
        return self._slot.ending

    def _work_until_the_end(self, only: int | None) -> int:
        signal.signal(signal.SIGALRM, deadline.on_alarm)
        reporting.board, reporting.is_worker = self._slot.board, True
        clock.pin()
        since = clock.monotonic()
        self._slot.note(0, since, since + SECONDS_FOR_BOOT)
        # A job that queues another one finds the same config, wherever it was started from.
        os.environ["BGJOB_CONFIG"] = self._config.path
        if not self._boot():
            return BOOT_FAILED
        self._slot.finish()
        try:
            if self._may_not_go_on():  # `boot` may have taken long, and the queue have changed hands
                return ENDED
            database = Database(self._config.database)
            try:
                self._work(JobStore(database), only)
            finally:
                database.close()
                self._flush_spans()
        except StoreError as error:
            self._logs.trouble(clock.now(), what=str(error))
            self._console.warn(str(error))
            return STORE_FAILED
        return ENDED

    def _boot(self) -> bool:
        try:
            execution.open_the_way(self._config.root)
            execution.import_boot(self._config)
        except BaseException as error:  # noqa: BLE001  # the edge of user code
            failure = execution.described(error)
            what = f"boot: {self._config.boot} can't be imported, so no job was started: {failure.error}"
            self._logs.trouble(clock.now(), what=what, traceback=failure.traceback)
            self._console.warn(f"{what}\n{failure.traceback}")
            return False
        return True

    def _work(self, store: JobStore, only: int | None) -> None:
        state = ProcessState()
        files = [*store.database.descriptors(), *([self._capture.writer] if self._capture else [])]
        for file in files:
            seal.put_on(file)
        self._files = seal.Seals(files)
        if only is not None:
            with store.transaction():
                job = store.claim_one(only, self._owner, clock.now())
            if job is not None:
                self._run(store, job, state, last=True)
            return
        while not self._may_not_go_on():
            if self._drain(store, state):
                continue
            if self._ear is None:
                return
            if self._slot.state != IDLE:
                # Idle first, then one more look: a job that is queued in between either is seen, or rings the bell.
                self._slot.state = IDLE
                self._flush_spans()
            elif not os.read(self._ear, 4096):
                return

    def _flush_spans(self) -> None:
        """Let spans go that an exporter of the app's holds back: this process may sleep for long, or end at once."""
        if "opentelemetry.trace" in sys.modules:
            from bgjob import tracing  # noqa: PLC0415  # only where a job or the app brings OpenTelemetry

            tracing.flush()

    def _drain(self, store: JobStore, state: ProcessState) -> bool:
        """Run jobs until none can be claimed; return whether there was one."""
        job = self._next(store)
        if job is None:
            return False
        while job is not None:
            job = self._run(store, job, state)
        return True

    def _may_not_go_on(self) -> bool:
        return self._must_be_replaced or self._slot.must_stop or os.getppid() != self._parent

    def _next(self, store: JobStore) -> ClaimedJob | None:
        due = clock.now()
        if store.must_promote(due):
            store.promote(due)
        with store.transaction():
            # What has fallen due since waits for the next look, or jobs that keep falling due would stop the queue.
            return self._claim(store, clock.now(), due)

    def _claim(self, store: JobStore, now: dt.datetime, due: dt.datetime | None = None) -> ClaimedJob | None:
        """Claim the next job; one that wants a fresh process is left to the next worker if this one isn't fresh."""
        job = store.claim(self._owner, now, due=due)
        if job is not None and self._has_run:
            rules = self._config.classes.get(job.job_class)
            if rules is not None and rules.fresh:
                store.release(job, now)
                self._must_be_replaced = True
                return None
        return job

    def _run(self, store: JobStore, job: ClaimedJob, state: ProcessState, *, last: bool = False) -> ClaimedJob | None:
        """Run and settle `job`; return the next one, claimed in the same transaction."""
        rules = self._config.classes.get(job.job_class)
        since = clock.monotonic()
        self._slot.begin(job.id, since, since + rules.timeout + self._config.timeout_grace if rules else 0.0)
        if self._capture:
            self._capture.empty()
        outcome = self._outcome(job, rules)
        ended = clock.monotonic()
        duration = ended - since
        self._slot.settle(job.id, since, ended + SECONDS_TO_SETTLE)
        output = self._flushed_output()
        self._look_what_is_left(store, state, outcome, rules, ended)
        reached = self._slot.board.take()
        following = None
        with store.transaction():
            now = clock.now()  # once the write lock is ours, so that workers start jobs in the order of these times
            if reached is not None:
                store.note_progress(job.runner, job.worker, reached, now)
            settlement = settle(store, job, outcome, now, config=self._config, output=output, dice=random.random())  # noqa: S311  # jitter, no secret
            if not last and not self._may_not_go_on():
                following = self._claim(store, now)
        if settlement.held:
            # With its settlement: by these seconds the end of a backlog is foretold.
            self._slot.tally.count(settlement.verb, job.job_class, clock.monotonic() - since, outcome.kind)
        tell(settlement, now, logs=self._logs, console=self._console, duration=duration)
        if self._logs.take_trouble():
            self._slot.note_mute_logs()
        if not self._must_be_replaced:  # else the runner watches until this process is gone
            self._slot.finish()
        return following

    def _outcome(self, job: ClaimedJob, rules: ClassRules | None) -> Outcome:
        if rules is None or rules.max_memory is None:
            outcome = execution.execute(self._config, job)
        else:
            with memory_limited_to(rules.max_memory):
                outcome = execution.execute(self._config, job)
        if os.getpid() != self._pid:
            os._exit(not isinstance(outcome, Succeeded))  # a child that the job forked has come out of it: not ours
        return outcome

    def _look_what_is_left(
        self, store: JobStore, state: ProcessState, outcome: Outcome, rules: ClassRules | None, ended: float
    ) -> None:
        """Look what the job has left of this process, and decide whether another job may run in it."""
        if not self._files.are_whole():
            # The job closed files that it had not opened; those of the database may be other files by now.
            self._slot.ending = FILES_CLOSED
            os._exit(1)
        if ended >= self._next_look_at_wal:
            self._next_look_at_wal = ended + _LOOK_AT_WAL_EVERY
            if store.database.has_lost_its_log():
                store.database.reopen()
                self._must_be_replaced = True
        if state.has_changed() or isinstance(outcome, TimedOut) or (rules is not None and rules.fresh):
            self._must_be_replaced = True
        self._has_run = True

    def _flushed_output(self) -> str:
        for name in ("stdout", "stderr"):
            try:  # noqa: SIM105  # contextlib.suppress would take a microsecond of each job
                getattr(sys, name).flush()
            except BaseException:  # noqa: BLE001, S110  # the job may have put anything in its place, or closed it
                pass
        return self._capture.collect() if self._capture else ""


def work_and_exit(worker: Worker, only: int | None) -> NoReturn:
    """Work to the end of this process; threads and exit hooks that jobs left behind can't hold it up."""
    code = 1
    try:
        worker.work(only)
        code = 0
    finally:
        os._exit(code)
