"""The runner: the one process that has the queue.

It rescues what dead runners left, lets workers run while jobs are due, settles what crashed or timed out, and hands the
queue over to the next tick. It never runs user code, and has no database connection open while it forks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from bgjob import clock, process, wake
from bgjob.aftermath import Aftermath, blame_on_boot
from bgjob.backlog import Backlog
from bgjob.crew import SECONDS_FOR_A_GROUP_TO_END, Crew
from bgjob.errors import StoreError
from bgjob.house import House
from bgjob.job import PENDING
from bgjob.life import NEXT_IN_LINE
from bgjob.queue_file import QueueFile
from bgjob.sleeper import Sleeper
from bgjob.slot import BOOT_FAILED, STORE_FAILED
from bgjob.store.runners import RunnerStore
from bgjob.wake import Ear
from bgjob.worker import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from bgjob.config import Config
    from bgjob.console import Console
    from bgjob.crew import Child
    from bgjob.life import LifeFile
    from bgjob.lock import QueueLock
    from bgjob.logs import Logs
    from bgjob.store.jobs import Look

# How a run ends (docs: exit codes).
FINE = 0
STORE_UNUSABLE = 69
OUR_BUG = 70
CONFIG_WRONG = 78

_LOOK_EVERY = 1.0
_SHORTEST_WAIT = 0.02  # for a process that was killed and is not gone yet
_MOST_FRUITLESS = 20  # one after the other; a few are normal when another worker was quicker
_SECONDS_OF_UPKEEP = 1.0


class Runner:
    """One runner, from taking the queue to giving it back."""

    def __init__(
        self, config: Config, *, lock: QueueLock, life: LifeFile, logs: Logs, console: Console, verbose: bool = False
    ) -> None:
        """Run jobs as `config` says, holding `lock`; with `verbose` their output goes where ours goes."""
        self._config = config
        self._lock = lock
        self._life = life
        self._logs = logs
        self._console = console
        self._crew = Crew(config, logs=logs, console=console, verbose=verbose)
        self._aftermath = Aftermath(config, crew=self._crew, logs=logs, console=console)
        self._here: Worker | None = None
        self._ear: Ear | None = None
        self._queue = QueueFile(config.database)
        self._house = House(config, queue=self._queue, logs=logs, console=console)
        self._backlog = Backlog(self._queue, console, wanted=not verbose)
        self._sleeper = Sleeper()
        self._number = 0
        self._only: int | None = None
        self._exit_code = FINE
        self._fruitless = 0
        self._stopped_by: list[int] = []
        self._wind_up_by: float | None = None
        self._retired = False
        self._has_lost_queue = False
        self._next_look_around = 0.0
        self._linger_until = 0.0

    def run(self, *, only: int | None = None, in_process: bool = False) -> int:
        """Drain the queue (or run just the job `only`), linger as configured, and return the exit code."""
        started = clock.monotonic()
        self._only = only
        try:
            with self._sleeper.listening(self._stop):
                self._take()
                if in_process:
                    self._work_here()
                else:
                    self._supervise()
                self._end()
        finally:
            self._backlog.end()
            self._queue.disconnect()
            if self._ear:
                self._ear.close()
        duration = clock.monotonic() - started
        counts = self._crew.tally.counts()
        if any(counts.values()):
            self._logs.tick(clock.now(), runner=self._number, counts=counts, duration=duration)
        self._house.look_after_logs(may_rotate=not self._retired)
        if not self.was_held_up:  # which has been told
            self._console.summary(counts, duration=duration)
        return self._exit_code

    @property
    def failed(self) -> int:
        """How many jobs have failed for good in this run."""
        return self._crew.tally.counts()["fail"]

    @property
    def _has_settled(self) -> bool:
        return any(self._crew.tally.counts().values())

    @property
    def was_held_up(self) -> bool:
        """Whether nothing came of this run because the queue is paused."""
        return self._house.is_paused and not self._has_settled

    @property
    def went_well(self) -> bool:
        """Whether this run had no trouble, no job failed for good, and none waits for too long."""
        return self._exit_code == FINE and not self.failed and not self._house.is_overdue

    @property
    def was_stopped(self) -> bool:
        """Whether a signal ended this run."""
        return bool(self._stopped_by)

    @property
    def _lingers(self) -> bool:
        return self._config.linger > 0 and self._only is None

    @property
    def _limit(self) -> int:
        """How many jobs may run at once; one that someone asks for by hand is not held up."""
        return self._config.workers if self._only is None else sys.maxsize

    def _take(self) -> None:
        """Become the newest runner: from now on no other one claims. Then settle what dead runners left."""
        database = self._queue.connected().database
        database.keep_log()
        self._number = RunnerStore(database).start(
            clock.now(), process=process.identity(os.getpid()), lingers=self._lingers
        )
        self._life.hold(self._number)
        self._life.free(NEXT_IN_LINE)
        self._ear = Ear(database.path)
        self._aftermath.rescue(self._queue.connected(), self._life, runner=self._number)

    def _end(self) -> None:
        if self._queue.is_gone:
            return
        if not self._retired:
            self._house.prune(_SECONDS_OF_UPKEEP)
            if not self._stopped_by:
                self._house.look_after_alarms(last=True)
        self._house.close(self._number, self._crew.tally)
        if not self._retired:
            self._house.look_after_metrics(last=True)
        self._life.free(self._number)

    def _work_here(self) -> None:
        worker = Worker.in_process(
            self._config, runner=self._number, workers=self._limit, logs=self._logs, console=self._console
        )
        look = self._queue.connected().look(self._limit, clock.now())
        self._house.note_pause(is_paused=bool(look.is_paused))
        self._queue.disconnect()
        self._here = worker
        self._exit_code = _EXIT_CODE_AFTER.get(worker.work(self._only), FINE)
        self._crew.tally = self._crew.tally.plus([worker.tally])
        if len(self._stopped_by) > 1:
            self._exit_code = 128 + self._stopped_by[-1]

    def _supervise(self) -> None:
        """Turn until nothing is left to do: reap, kill what is overdue, decide, sleep."""
        self._linger_until = clock.monotonic() + self._config.linger
        if self._only is None:
            self._backlog.look(self._crew.tallied())
        while True:
            look = None
            if self._queue.is_gone:
                self._let_go_of_queue()
            try:
                for child, code in self._crew.reap():
                    self._take_leave(child, code)
                if not (self._retired or self._stopped_by or self._exit_code != FINE):
                    look = self._decide()
            except StoreError as error:
                if self._queue.is_gone:
                    continue
                # What runs may end by itself; what can't be settled now is rescued by a later tick.
                self._house.complain_once(str(error))
                self._exit_code = STORE_UNUSABLE
            self._crew.kill_overdue()
            if self._stopped_by or self._exit_code != FINE:
                self._wind_up()
            if not self._crew and (look is None or self._is_over(look)):
                return
            self._sleep(look)
            self._look_around()

    def _decide(self) -> Look | None:
        """Hand over if someone is next in line; otherwise put as many workers to work as jobs are due."""
        look = self._queue.connected().look(self._config.workers, clock.now())
        self._house.note_pause(is_paused=bool(look.is_paused))
        if self._life.is_held(NEXT_IN_LINE) or look.newest_runner != self._number:
            self._retire()
            return None
        due = self._due(look)
        if not due:
            self._fruitless = 0
        elif self._fruitless >= _MOST_FRUITLESS + self._config.workers:
            self._house.complain("workers end without taking any of the due jobs; giving up for this tick")
            self._exit_code = OUR_BUG
            return None
        if due:
            self._linger_until = clock.monotonic() + self._config.linger
            self._employ(due - self._crew.starting())
        elif look.is_paused or self._is_over(look):
            self._crew.stop_all()  # paused: fresh workers take up the code that is there after it
        return look

    def _due(self, look: Look) -> int:
        """Return how many jobs could start now, within the limit on workers over all runners."""
        if self._only is None:
            return min(look.due, self._config.workers - look.processing)
        wanted = not (look.is_paused or len(self._crew) or self._has_settled)
        return int(wanted and self._queue.connected().status_of(self._only) == PENDING)

    def _is_over(self, look: Look) -> bool:
        """Return whether nothing is due and the time to linger has passed; jobs that wait for a slot are due."""
        if self._only is not None:
            return True
        return not look.due and clock.monotonic() >= self._linger_until

    def _employ(self, hands: int) -> None:
        for child in self._crew.idle()[: max(hands, 0)]:
            child.wake()
            hands -= 1
        for _ in range(min(hands, self._config.workers - len(self._crew))):
            self._queue.disconnect()
            try:
                self._crew.fork(runner=self._number, workers=self._limit, only=self._only, lingers=self._lingers)
            except OSError as error:
                self._house.complain_once(f"no worker can be started ({error}); trying again each second")
                return

    def _retire(self) -> None:
        """Give the queue to the next tick's runner; what runs here runs on, and nothing more is claimed."""
        if self._retired:
            return
        self._retired = True
        self._backlog.end(hands_over=True)
        self._crew.stop_all()
        if self._ear:
            self._ear.close()
        self._lock.give_back()

    def _let_go_of_queue(self) -> None:
        """Retire because the database is gone: what runs here runs on, and nobody is left to be told of its end."""
        if self._has_lost_queue:
            return
        self._has_lost_queue = True
        self._house.complain(
            f"{self._config.database} was deleted or replaced while a runner worked on it; what it runs runs on, and "
            "it takes nothing more"
        )
        self._queue.disconnect()
        self._life.free(self._number)  # the runners of a new file are numbered from the beginning
        self._retire()

    def _take_leave(self, child: Child, code: int) -> None:
        """Settle what a worker that ended left behind, and see whether the fault was not a job's."""
        if self._has_lost_queue:
            process.kill_group(child.pid, wait=SECONDS_FOR_A_GROUP_TO_END)
            return
        store = self._queue.connected()
        job = store.held_by(self._number, child.identity)
        if job is not None:
            stopped = self._wind_up_by is not None and clock.monotonic() >= self._wind_up_by
            self._aftermath.settle(store, job, child, code, stopped=stopped)
        elif child.slot.ending in _EXIT_CODE_AFTER:
            self._exit_code = _EXIT_CODE_AFTER[child.slot.ending]
        elif complaint := blame_on_boot(self._config.boot, child, code):
            self._house.complain(complaint)
            self._exit_code = CONFIG_WRONG
        if child.slot.has_mute_logs:
            self._house.note_mute_worker()
        if self._retired:
            wake.ping(store.database.path)  # a slot is free for the runner that has the queue now
        fruitless = job is None and not any(child.slot.tally.counts().values()) and not child.slot.must_stop
        self._fruitless = self._fruitless + 1 if fruitless else 0

    def _wind_up(self) -> None:
        """Let running jobs finish for a grace or until a second signal; then stop them, to be handed back uncounted."""
        self._crew.stop_all()
        now = clock.monotonic()
        if self._wind_up_by is None:
            self._wind_up_by = now + self._config.shutdown_grace
        if len(self._stopped_by) > 1:  # the second signal forces
            self._wind_up_by = min(self._wind_up_by, now)
            self._exit_code = 128 + self._stopped_by[-1]
        if now >= self._wind_up_by:
            for child in self._crew:
                self._crew.kill(child)

    def _sleep(self, look: Look | None) -> None:
        """Sleep until a worker ends or prints, a signal or a ping comes, a job falls due, or for a second."""
        seconds = _LOOK_EVERY
        for instant in (self._crew.next_kill(), self._wind_up_by):
            if instant is not None:
                seconds = min(seconds, max(instant - clock.monotonic(), _SHORTEST_WAIT))
        if look is not None and look.next_available_at is not None:
            with contextlib.suppress(ValueError, TypeError):  # a time of another shape, written past the CHECKs
                until_due = clock.from_text(look.next_available_at) - clock.now()
                seconds = min(seconds, until_due.total_seconds())
        captures = [child.capture for child in self._crew if child.capture]
        self._sleeper.sleep(seconds, ear=self._ear, captures=captures)

    def _look_around(self) -> None:
        """Once a second: sync what was settled, rescue, keep house, tell how far it is."""
        if clock.monotonic() < self._next_look_around or self._queue.is_gone:
            return
        self._next_look_around = clock.monotonic() + _LOOK_EVERY
        try:
            self._house.sync(self._number, self._crew.tallied())
            self._write_progress()
            if not self._retired:
                self._house.look_after_logs(may_rotate=True)
                self._aftermath.rescue(self._queue.connected(), self._life, runner=self._number)
                self._house.prune()
                if self._only is None:
                    self._backlog.look(self._crew.tallied())
                self._house.look_after_alarms()
                self._house.look_after_metrics()
        except StoreError as error:
            # The disk may be full just now; running jobs go on, and their own settlement will tell.
            self._house.complain_once(str(error))

    def _write_progress(self) -> None:
        """Write down how far the jobs are, all at once, unless somebody else writes just now: then a second later."""
        progress = self._crew.progress()
        if not progress:
            return
        store, now = self._queue.connected(), clock.now()
        if not store.database.begin_if_free():
            return
        try:
            for child, reached in progress:
                store.note_progress(self._number, child.identity, reached, now)
            store.database.commit()
        except BaseException as error:
            store.database.undo(error)
            raise
        for child, reached in progress:
            child.reached = reached

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopped_by.append(number)
        if self._here:
            self._here.stop()
            if number == signal.SIGINT or len(self._stopped_by) > 1:
                raise KeyboardInterrupt  # into the job, which runs in this very process


# What the ending of a worker that held no job means for the run as a whole.
_EXIT_CODE_AFTER = {BOOT_FAILED: CONFIG_WRONG, STORE_FAILED: STORE_UNUSABLE}
