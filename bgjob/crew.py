"""The crew: the worker processes of one runner. Forking, waking, watching the clock, and noticing how each one ends."""

from __future__ import annotations

import contextlib
import os
import signal

from bgjob import clock, process
from bgjob.child import become_child
from bgjob.output import Capture
from bgjob.slot import IDLE, STARTING, Slot
from bgjob.tally import Tally
from bgjob.worker import Worker, work_and_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgjob.board import Reached
    from bgjob.config import Config
    from bgjob.console import Console
    from bgjob.logs import Logs

SECONDS_FOR_A_GROUP_TO_END = 5.0


class Child:
    """A worker as its runner knows it."""

    def __init__(self, pid: int, slot: Slot, capture: Capture | None, bell: int) -> None:
        """Remember the process `pid` and what is shared with it; `bell` is our end of the pipe that wakes it."""
        self.pid = pid
        self.identity = process.identity(pid)
        self.slot = slot
        self.capture = capture
        self.killed_after: float | None = None
        self.reached: Reached | None = None  # as it was written down last
        self.killed_job = 0  # the one that was overdue; its worker may have gone on to the next in that instant
        self._bell = bell

    def wake(self) -> None:
        """Let an idle worker look for a job."""
        self.slot.state = STARTING
        with contextlib.suppress(OSError):
            os.write(self._bell, b".")

    def stop(self) -> None:
        """Ask the worker to finish its job and end; an idle one ends at once."""
        if not self.slot.must_stop:
            self.slot.ask_to_stop()
            with contextlib.suppress(OSError):
                os.write(self._bell, b".")

    def output(self) -> str:
        """Return what the worker printed since it began its last job; for a worker that has ended."""
        if self.capture is None:
            return ""
        self.capture.pump()
        return self.capture.kept()

    def close(self) -> None:
        """Let go of all that was shared."""
        if self.capture:
            self.capture.close()
        os.close(self._bell)
        self.slot.close()


class Crew:
    """All workers of this runner."""

    def __init__(self, config: Config, *, logs: Logs, console: Console, verbose: bool) -> None:
        """Start with nobody; with `verbose` the jobs' output goes where ours goes."""
        self._config = config
        self._logs = logs
        self._console = console
        self._verbose = verbose
        self._children: dict[int, Child] = {}
        self.tally = Tally(config.classes)  # of those that have ended

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._children.values()))

    def fork(self, *, runner: int, workers: int, only: int | None, lingers: bool) -> None:
        """Fork a worker; the caller has no database connection open."""
        slot, capture = Slot(self._config.classes), None if self._verbose else Capture()
        ear, bell = os.pipe()
        runner_pid = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            for end in (ear, bell):
                os.close(end)
            slot.close()
            if capture:
                capture.runner_side()
                capture.close()
            raise
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                keep = self._console.files | {ear} | ({capture.writer} if capture else set())
                become_child(runner_pid, capture, keep=keep)
                self._logs.forget()
                os.register_at_fork(after_in_child=self._console.close)
                worker = Worker(
                    self._config,
                    runner=runner,
                    workers=workers,
                    slot=slot,
                    capture=capture,
                    ear=ear if lingers else None,
                    logs=self._logs,
                    console=self._console,
                )
                work_and_exit(worker, only)
            finally:
                os._exit(1)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # in both processes, so that neither has to wait for the other
        os.close(ear)
        os.set_blocking(bell, False)
        if capture:
            capture.runner_side()
        self._children[pid] = Child(pid, slot, capture, bell)

    def tallied(self) -> Tally:
        """Return what the jobs came to so far, those of workers that have ended among them."""
        return self.tally.plus(child.slot.tally for child in self)

    def progress(self) -> list[tuple[Child, Reached]]:
        """Return how far the jobs are that have come further since that was written down."""
        seen = [(child, child.slot.board.read()) for child in self]
        return [(child, reached) for child, reached in seen if reached is not None and reached != child.reached]

    def idle(self) -> list[Child]:
        """Return the workers that wait to be woken."""
        return [child for child in self if child.slot.state == IDLE and not child.slot.must_stop]

    def starting(self) -> int:
        """Return how many workers are on their way to a claim: they will see what is due by themselves."""
        return sum(child.slot.state == STARTING and not child.slot.current()[0] for child in self)

    def stop_all(self) -> None:
        """Ask every worker to finish its job and end."""
        for child in self:
            child.stop()

    def next_kill(self) -> float | None:
        """Return the monotonic instant at which the first running job is to be killed, if any."""
        return min((kill_at for child in self if (kill_at := child.slot.current()[2])), default=None)

    def kill_overdue(self) -> None:
        """Kill the process group of every job that has outlived its time-out and the grace after it."""
        now = clock.monotonic()
        for child in self:
            job_id, since, kill_at = child.slot.current()
            if kill_at and now >= kill_at and child.killed_after is None:
                child.killed_after = now - since
                child.killed_job = job_id
                self.kill(child)

    def kill(self, child: Child) -> None:
        """Kill a worker that has not been reaped, and all in its process group; `reap` then finds it."""
        with contextlib.suppress(OSError):
            os.kill(child.pid, signal.SIGKILL)  # it may have left its group
        process.kill_group(child.pid, wait=SECONDS_FOR_A_GROUP_TO_END)

    def reap(self) -> Iterator[tuple[Child, int]]:
        """Yield each worker that has ended, with its exit code (negative: the signal); then let go of it."""
        for child in self:
            # Not waited for yet: until then its number, and that of its process group, is nobody else's.
            code = process.exit_code(child.pid)
            if code is None:
                continue
            del self._children[child.pid]
            self.tally = self.tally.plus([child.slot.tally])
            try:
                yield child, code
            finally:
                os.waitpid(child.pid, 0)
                child.close()
