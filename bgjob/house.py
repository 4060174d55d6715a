"""What a runner looks after beside its jobs: what was settled is synced, old rows go, logs rotate, trouble is told.

And on a terminal, that the queue is paused.
"""

from __future__ import annotations

from bgjob import clock
from bgjob.console import held_up
from bgjob.store.pause import PauseStore
from bgjob.store.runners import RunnerStore
from bgjob.store.upkeep import Upkeep
from bgjob.tally import Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.config import Config
    from bgjob.console import Console
    from bgjob.logs import Logs
    from bgjob.queue_file import QueueFile


_LOOK_FOR_ALARMS_EVERY = 30.0
_METRICS_EVERY = 15.0


class House:
    """The house of one runner."""

    def __init__(self, config: Config, *, queue: QueueFile, logs: Logs, console: Console) -> None:
        """Do nothing yet."""
        self._config = config
        self._queue = queue
        self._logs = logs
        self._console = console
        self._tally_at_last_sync = Tally(config.classes)
        self._has_mute_worker = False
        self._told_of_logs = False
        self._complaints: set[str] = set()
        self._next_look_for_alarms = 0.0
        self._next_metrics = clock.monotonic() + _METRICS_EVERY
        self._told_of_metrics = False
        self.is_overdue = False  # a job waits for too long, though ticks come
        self.is_paused = False

    def sync(self, runner: int, tally: Tally) -> None:
        """Sync to the disk what was settled, if that is more than the last time, and write down what it came to."""
        added = tally.since(self._tally_at_last_sync)
        if added:
            self._queue.sync(runner, clock.now(), added, tally.counts())
            self._tally_at_last_sync = tally

    def close(self, runner: int, tally: Tally) -> None:
        """Note that the runner has ended, and what its jobs came to since the last sync."""
        store = RunnerStore(self._queue.connected().database)
        store.end(runner, clock.now(), tally.since(self._tally_at_last_sync), tally.counts())

    def prune(self, seconds: float = 0) -> None:
        """Prune a stretch of old rows, or as many as `seconds` allow."""
        upkeep = Upkeep(self._queue.connected().database, keep=self._config.keep)
        until = clock.monotonic() + seconds
        while upkeep.is_due(clock.now()) and upkeep.step(clock.now()) and clock.monotonic() < until:
            pass

    def look_after_alarms(self, *, last: bool = False) -> None:
        """Now and then raise and end alarms; for the `last` time only if that may change anything."""
        now = clock.monotonic()
        if now < self._next_look_for_alarms and not (last and self.is_overdue):
            return
        self._next_look_for_alarms = now + _LOOK_FOR_ALARMS_EVERY
        from bgjob import alarm  # noqa: PLC0415  # loaded once the first job runs

        database = self._queue.connected().database
        self.is_overdue = alarm.look_after(database, self._config, clock.now(), logs=self._logs, console=self._console)

    def look_after_metrics(self, *, last: bool = False) -> None:
        """Now and then, and for the `last` time in any case, write the figures for Prometheus where the config says."""
        if self._config.metrics_file is None or (clock.monotonic() < self._next_metrics and not last):
            return
        from bgjob import metrics  # noqa: PLC0415  # only where the config asks for it

        trouble = metrics.keep(self._config, clock.now())
        self._next_metrics = clock.monotonic() + _METRICS_EVERY
        if trouble and not self._told_of_metrics:
            self._told_of_metrics = True
            self._logs.trouble(clock.now(), what=trouble)

    def note_pause(self, *, is_paused: bool) -> None:
        """Tell on a terminal that no job is taken any more, and when jobs are taken again."""
        if is_paused == self.is_paused:
            return
        self.is_paused = is_paused
        if self._console.speaks:
            pause = PauseStore(self._queue.connected().database).current()
            self._console.say(f"  {held_up(pause, clock.now()) if pause else 'resumed'}")

    def note_mute_worker(self) -> None:
        """Remember that a worker could not log a line."""
        self._has_mute_worker = True

    def look_after_logs(self, *, may_rotate: bool) -> None:
        """Rotate the logs, and say if lines could not be written to them."""
        if may_rotate:
            self._logs.rotate_if_large()
        trouble = self._logs.take_trouble()
        if trouble is None and self._has_mute_worker:
            trouble = f"lines could not be written to {self._config.log_directory}; jobs go on without them"
        if trouble and not self._told_of_logs:  # once in a tick; cron mails each line
            self._told_of_logs = True
            self._console.warn(trouble)

    def complain(self, what: str) -> None:
        """Tell what went wrong, in the log and to the person."""
        self._logs.trouble(clock.now(), what=what)
        self._console.warn(what)

    def complain_once(self, what: str) -> None:
        """Tell what goes wrong again and again, but only the first time."""
        if what not in self._complaints:
            self._complaints.add(what)
            self.complain(what)
