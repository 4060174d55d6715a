"""What becomes of a job whose worker is gone: its runner, or the next one, settles it in the worker's place."""

from __future__ import annotations

import random
import signal

from bgjob import clock, process
from bgjob.crew import SECONDS_FOR_A_GROUP_TO_END
from bgjob.job import Crashed, TimedOut
from bgjob.settlement import settle, tell
from bgjob.slot import FILES_CLOSED, SETTLING, STORE_FAILED
from bgjob.store.runners import RunnerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.board import Reached
    from bgjob.config import Config
    from bgjob.console import Console
    from bgjob.crew import Child, Crew
    from bgjob.job import ClaimedJob
    from bgjob.life import LifeFile
    from bgjob.logs import Logs
    from bgjob.store.jobs import JobStore

_LONGEST_TAIL = 400


class Aftermath:
    """Settles for workers that can't any more, and counts what it settled."""

    def __init__(self, config: Config, *, crew: Crew, logs: Logs, console: Console) -> None:
        """Add to the tally of `crew` whatever is settled here."""
        self._config = config
        self._crew = crew
        self._logs = logs
        self._console = console

    def settle(self, store: JobStore, job: ClaimedJob, child: Child, code: int, *, stopped: bool) -> None:
        """Settle the job that a worker of ours still held when it ended with `code` (negative: the signal).

        It has crashed, whatever the exit code, unless its time was over; or the worker is innocent of its end, as
        that of a `stopped` runner, and the job is handed back.
        """
        process.kill_group(child.pid, wait=SECONDS_FOR_A_GROUP_TO_END)
        job_id, since, _ = child.slot.current()
        if job_id != job.id:
            # Claimed, and its worker gone before the first line of the job's own code.
            self._release(store, job, reason="not-started", duration=0.0)
        elif child.killed_after is not None and child.killed_job != job.id:
            self._release(store, job, reason="killed-with-another", duration=0.0)
        elif stopped:
            self._release(store, job, reason="stopped", duration=clock.monotonic() - since)
        else:
            self._settle_by_ending(store, job, child, code, duration=clock.monotonic() - since)

    def _settle_by_ending(self, store: JobStore, job: ClaimedJob, child: Child, code: int, *, duration: float) -> None:
        output = child.output()
        tail = output.strip()[-_LONGEST_TAIL:]
        told = f"; its last output: {tail}" if tail else ""
        outcome: Crashed | TimedOut
        if child.slot.state == SETTLING:
            outcome = Crashed(f"the job had ended, but its end could not be written: {_obstacle(child, code)}{told}")
        elif child.killed_after is not None:
            what = f"the job did not end by itself after its timeout and was killed after {child.killed_after:.1f} s"
            outcome = TimedOut(what + told)
        elif code == -signal.SIGALRM and self._is_over_time(job, duration):
            # Our own timer, whose handler the job had taken away.
            outcome = TimedOut(f"the job's timeout ended its worker after {duration:.1f} s{told}")
        else:
            outcome = Crashed(f"the worker {process.death(code)} in the middle of the job{told}")
        self._settle(store, job, outcome, output=output, duration=duration, reached=child.slot.board.read())

    def _is_over_time(self, job: ClaimedJob, duration: float) -> bool:
        rules = self._config.classes.get(job.job_class)
        return rules is not None and duration >= rules.timeout

    def _release(self, store: JobStore, job: ClaimedJob, *, reason: str, duration: float) -> None:
        """Hand a job back uncounted that was never started, or that was stopped because its runner was."""
        now = clock.now()
        with store.transaction():
            held = store.release(job, now)
        if held:
            self._crew.tally.count("release", job.job_class, 0.0)
            self._logs.release(job, now, reason=reason)
            self._console.job(job, now, word="BACK", duration=duration)

    def rescue(self, store: JobStore, life: LifeFile, *, runner: int) -> None:
        """Settle as crashed the jobs of runners that are dead, after making sure that their workers are, too."""
        for job in store.held_by_others(runner):
            # Someone may have deleted the life file, and with it the byte of a runner that lives.
            if life.is_held(job.runner) or process.is_alive(RunnerStore(store.database).process_of(job.runner)):
                continue
            if not process.end_group(job.worker, wait=SECONDS_FOR_A_GROUP_TO_END):
                continue
            outcome = Crashed("its runner died in the middle of the job")
            self._settle(store, job, outcome, output="", duration=0.0)

    def _settle(
        self,
        store: JobStore,
        job: ClaimedJob,
        outcome: Crashed | TimedOut,
        *,
        output: str,
        duration: float,
        reached: Reached | None = None,
    ) -> None:
        now = clock.now()
        with store.transaction():
            if reached is not None:
                store.note_progress(job.runner, job.worker, reached, now)
            settlement = settle(store, job, outcome, now, config=self._config, output=output, dice=random.random())  # noqa: S311  # jitter, no secret
        if settlement.held:
            self._crew.tally.count(settlement.verb, job.job_class, duration, outcome.kind)
            tell(settlement, now, logs=self._logs, console=self._console, duration=duration)


def blame_on_boot(boot: str | None, child: Child, code: int) -> str | None:
    """Return how importing the module `boot` ended a worker that held no job, or None if that was not its end."""
    if child.killed_after is not None and not child.slot.current()[0]:
        return f"boot: {boot} did not end within {child.killed_after:.0f} s, so no job was started"
    if boot and code not in _BY_SOMEBODY_ELSE and child.slot.is_in_boot:
        return f"boot: {boot} ended its worker (code {code}), so no job was started"
    return None


# A module ends its process in any other way.
_BY_SOMEBODY_ELSE = (-signal.SIGKILL, -signal.SIGTERM)


def _obstacle(child: Child, code: int) -> str:
    if child.slot.ending == STORE_FAILED:
        return "the database could not be used"
    if child.slot.ending == FILES_CLOSED:
        return "it left files closed that it had not opened"
    if child.killed_after is not None:
        return f"the worker was stuck and was killed {child.killed_after:.1f} s after the job began"
    return f"the worker {process.death(code)}"
