"""The queue at one moment: counts, what is due and running, who works on it, and how fast it goes."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from bgjob import clock, watch
from bgjob.job import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING
from bgjob.views import signs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.store.alarms import OpenAlarm
    from bgjob.store.pause import Pause
    from bgjob.store.reading import FirstDue, LastRunner, ReadStore, RunningRow

STATUSES = (PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED)
LATELY = dt.timedelta(hours=1)


class Overview(NamedTuple):
    """What `status` tells."""

    alarms: list[OpenAlarm]
    pause: Pause | None
    counts: dict[str, int]
    due: int
    first_due: FirstDue | None
    next_due: str | None
    running: list[RunningRow]
    living: set[int] | None  # runners; None: this user can't tell
    last_tick: dt.datetime | None
    runner: LastRunner | None
    is_locked: bool
    lock_holder: int | None  # a process that holds the queue lock; None: none, or unknown
    completed: int  # within the last hour
    failed: int  # within the last hour, for good
    failures: dict[str, int]  # attempts within the last hour, by outcome
    failures_are_all: bool  # or the newest of very many
    seconds_a_job: float | None  # that it kept a worker busy, on the average of the last hour
    backlog_seconds: float | None  # until all that is due is done, if a runner is at it

    @property
    def is_at_work(self) -> bool:
        """Whether a runner lives and has not ended."""
        runner = self.runner
        return runner is not None and not runner.ended and self.living is not None and runner.id in self.living


def overview(store: ReadStore, now: dt.datetime, *, workers: int) -> Overview:
    """Return how the queue stands at `now`, for a config with so many `workers`."""
    with store.at_once():
        pause = store.pause()
        counts = store.counts(now)
        first_due = store.first_due(now)
        next_due = store.next_due(now)
        running = store.running()
        runner = store.last_runner()
        ended = store.ended(now - LATELY, now)
        failures, failures_are_all = store.failures(now - LATELY)
        alarms = store.alarms()
    living = signs.living(store.path, _numbers(running, runner))
    is_locked = signs.is_lock_held(store.path)
    jobs = ended.completed + ended.failed
    mean = ended.seconds / jobs if jobs else None
    return Overview(
        alarms=alarms,
        pause=pause,
        counts=counts.by_status,
        due=counts.due,
        first_due=first_due,
        next_due=next_due,
        running=running,
        living=living,
        last_tick=watch.last_tick(store.path),
        runner=runner,
        is_locked=is_locked,
        lock_holder=_holder(store.path, runner, living) if is_locked else None,
        completed=ended.completed,
        failed=ended.failed,
        failures=failures,
        failures_are_all=failures_are_all,
        seconds_a_job=mean,
        backlog_seconds=mean * max(counts.due / workers, 1) if counts.due and mean is not None else None,
    )


def _numbers(running: list[RunningRow], runner: LastRunner | None) -> set[int]:
    return {row.runner for row in running if row.runner is not None} | ({runner.id} if runner else set())


def _holder(database: str, runner: LastRunner | None, living: set[int] | None) -> int | None:
    """Return who holds the lock: the newest runner while it lives; for others the kernel is asked, which is slow."""
    if runner and not runner.ended and living and runner.id in living:
        return runner.pid
    return signs.lock_holder(database)


def instant(text: object) -> dt.datetime | None:
    """Return the instant in a text of the database; None for an empty one, or one that was written past the CHECKs."""
    try:
        return clock.from_text(text) if isinstance(text, str) else None
    except ValueError:
        return None
