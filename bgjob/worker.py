"""A worker: the child process in which jobs run, one at a time, until nothing is due or it is told to stop.

It claims for itself over a connection of its own, runs the job, settles it and claims the next one in the same
transaction, so a processing row is a started job and a kill leaves at most one of them in doubt.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import random
import resource
import signal
import sys

from bgjob import clock, deadline, execution, process
from bgjob.errors import StoreError
from bgjob.job import TimedOut
from bgjob.settlement import settle, tell
from bgjob.slot import IDLE, Slot
from bgjob.state import ProcessState
from bgjob.store.connection import Database
from bgjob.store.jobs import JobStore, Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn, TextIO

    from bgjob.config import Config
    from bgjob.console import Console
    from bgjob.job import Job
    from bgjob.logs import Logs
    from bgjob.output import Capture

# How a worker that holds no job ends; one that ends while it holds a job has crashed, whatever its exit code.
ENDED = 0
BOOT_FAILED = 4
STORE_FAILED = 5
FILES_CLOSED = 6

SECONDS_FOR_BOOT = 300.0

_PR_SET_PDEATHSIG = 1


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
        self._parent = os.getppid()
        self._must_be_replaced = False
        self._has_run = False

    @classmethod
    def in_process(cls, config: Config, *, runner: int, workers: int, logs: Logs, console: Console) -> Worker:
        """Return a worker that works in the runner's own process."""
        return cls(config, runner=runner, workers=workers, slot=Slot(), logs=logs, console=console)

    def counts(self) -> dict[str, int]:
        """Return how many jobs were settled by which verb."""
        return self._slot.counts()

    def work(self, only: int | None = None) -> int:
        """Run due jobs until there are none (or just the job with the id `only`); return how it ended."""
        signal.signal(signal.SIGALRM, deadline.on_alarm)
        since = clock.monotonic()
        self._slot.note(0, since, since + SECONDS_FOR_BOOT)
        # A job that queues another one finds the same config, wherever it was started from.
        os.environ["BGJOB_CONFIG"] = self._config.path
        if not self._boot():
            return BOOT_FAILED
        self._slot.finish()
        try:
            database = Database(self._config.database)
            try:
                self._work(JobStore(database), only)
            finally:
                database.close()
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
            elif not os.read(self._ear, 4096):
                return

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

    def _next(self, store: JobStore) -> Job | None:
        now = clock.now()
        if store.must_promote(now):
            store.promote(now)
        with store.transaction():
            return self._claim(store)

    def _claim(self, store: JobStore) -> Job | None:
        """Claim the next job; one that wants a fresh process is left to the next worker if this one isn't fresh."""
        job = store.claim(self._owner, clock.now())
        if job is not None and self._has_run:
            rules = self._config.classes.get(job.job_class)
            if rules is not None and rules.fresh:
                store.release(job, clock.now())
                self._must_be_replaced = True
                return None
        return job

    def _run(self, store: JobStore, job: Job, state: ProcessState, *, last: bool = False) -> Job | None:
        """Run and settle `job`; return the next one, claimed in the same transaction."""
        rules = self._config.classes.get(job.job_class)
        since = clock.monotonic()
        self._slot.begin(job.id, since, since + rules.timeout + self._config.timeout_grace if rules else 0.0)
        if self._capture:
            self._capture.empty()
        with _memory_limited_to(rules.max_memory if rules else None):
            outcome = execution.execute(self._config, job)
        duration = clock.monotonic() - since
        output = self._flushed_output()
        if self._capture and not self._capture.is_ours():
            # The job closed files that it had not opened: those of the database may be other files by now.
            os._exit(FILES_CLOSED)
        self._slot.finish()
        self._has_run = True
        self._must_be_replaced = (
            state.has_changed() or isinstance(outcome, TimedOut) or (rules is not None and rules.fresh)
        )
        now = clock.now()
        following, must_promote = None, False
        with store.transaction():
            settlement = settle(store, job, outcome, now, config=self._config, output=output, dice=random.random())  # noqa: S311  # jitter, no secret
            if not last and not self._may_not_go_on():
                must_promote = store.must_promote(now)
                following = None if must_promote else self._claim(store)
        if settlement.held:
            self._slot.count(settlement.verb)
        tell(settlement, now, logs=self._logs, console=self._console, duration=duration)
        return self._next(store) if must_promote else following

    def _flushed_output(self) -> str:
        for stream in (sys.stdout, sys.stderr):
            # The job may have put anything in its place, or closed it.
            with contextlib.suppress(BaseException):
                stream.flush()
        return self._capture.collect() if self._capture else ""


@contextlib.contextmanager
def _memory_limited_to(size: int | None) -> Iterator[None]:
    """Limit the address space of this process to `size` bytes while the block runs; children inherit the limit."""
    if size is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = size if before[1] == resource.RLIM_INFINITY else min(size, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def work_and_exit(worker: Worker, only: int | None) -> NoReturn:
    """Work to the end of this process; threads and exit hooks that jobs left behind can't hold it up."""
    code = 1
    try:
        code = worker.work(only)
    finally:
        os._exit(code)


def become_child(runner_pid: int, capture: Capture | None, *, keep: set[int]) -> None:
    """Turn a freshly forked process into one that jobs can run in.

    It is alone in its process group, does not outlive its runner, and has no open files but its own (`keep`).
    """
    os.setpgid(0, 0)
    _die_with(runner_pid)
    _close_all_but(keep)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A core dump of a crashed job can take seconds.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if capture:
        capture.worker_side()
        sys.stdin, sys.stdout, sys.stderr = _text(0, "r"), _text(1, "w"), _text(2, "w")
        # A job that writes to the original streams means these.
        vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)
    # What the runner loaded stays as it is: the collector need not walk (and so copy) those pages in each child.
    gc.freeze()
    random.seed()


def _text(descriptor: int, mode: str) -> TextIO:
    # Line by line, so that a crash loses no line; never an error for a character that can't be encoded.
    return open(descriptor, mode, encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # type: ignore[return-value]  # lives as long as the process


def _close_all_but(keep: set[int]) -> None:
    """Close what was inherited: the runner's files, and those of whoever started the runner (a lock of the user's)."""
    try:
        files = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        files = list(range(3, 256))
    for file in files:
        if file > 2 and file not in keep:  # noqa: PLR2004  # standard error
            with contextlib.suppress(OSError):
                os.close(file)


def _die_with(runner_pid: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != runner_pid:
        os._exit(1)
