"""What a person does to the queue, from the command line or the dashboard: done, the runner woken, and logged."""

from __future__ import annotations

import collections
from typing import NamedTuple

from bgjob import clock, wake
from bgjob.console import paused
from bgjob.job import CANCELLED, COMPLETED, FAILED, PENDING
from bgjob.logs import Logs
from bgjob.store import upkeep
from bgjob.store.byhand import ByHand
from bgjob.store.connection import Database
from bgjob.store.jobs import JobStore
from bgjob.store.pause import PauseStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Generator, Mapping, Sequence

    from bgjob.config import Config
    from bgjob.job import Seen
    from bgjob.store.pause import Pause

LONGEST_REASON = 200  # characters: it stands in one line with much else


class Verb(NamedTuple):
    """One thing that can be done to jobs by hand, as a person and as the store know it."""

    name: str
    past: str  # "requeued"
    doing: str  # "requeueing"
    leaves: tuple[str, ...]  # the statuses of jobs that it may be done to
    unless_told: tuple[str, ...]  # those of them that filters mean where no status is named
    tells_processing: bool  # whether a person who filters may have meant jobs that are processing, too
    act: Callable[[ByHand, Sequence[Seen], dt.datetime], list[Seen]]
    tell: Callable[[Logs, Seen, dt.datetime], None]


def _requeue(store: ByHand, jobs: Sequence[Seen], now: dt.datetime) -> list[Seen]:
    return _woken(store, store.requeue(jobs, now))


def _run_now(store: ByHand, jobs: Sequence[Seen], now: dt.datetime) -> list[Seen]:
    return _woken(store, store.run_now(jobs, now))


def _woken(store: ByHand, done: list[Seen]) -> list[Seen]:
    if done:
        wake.ping(store.database.path)
    return done


# What was cancelled, was so on purpose: filters mean it only where a status says so.
REQUEUE = Verb(
    name="requeue",
    past="requeued",
    doing="requeueing",
    leaves=(FAILED, CANCELLED),
    unless_told=(FAILED,),
    tells_processing=False,
    act=_requeue,
    tell=Logs.requeue,
)
CANCEL = Verb(
    name="cancel",
    past="cancelled",
    doing="cancelling",
    leaves=(PENDING,),
    unless_told=(PENDING,),
    tells_processing=True,
    act=ByHand.cancel,
    tell=Logs.cancel,
)
# What waits was accepted and would be lost: filters mean it only where a status says so.
DELETE = Verb(
    name="delete",
    past="deleted",
    doing="deleting",
    leaves=(PENDING, COMPLETED, FAILED, CANCELLED),
    unless_told=(COMPLETED, FAILED, CANCELLED),
    tells_processing=True,
    act=ByHand.delete,
    tell=Logs.delete,
)
# No move of its own: a job that waits for its time is cancelled and requeued in one transaction.
RUN_NOW = Verb(
    name="run now",
    past="made due",
    doing="making due",
    leaves=(PENDING,),
    unless_told=(PENDING,),
    tells_processing=False,
    act=_run_now,
    tell=Logs.requeue,
)
VERBS = {verb.name: verb for verb in (REQUEUE, CANCEL, DELETE, RUN_NOW)}


class Paused(NamedTuple):
    """What became of the wish to pause."""

    before: Pause | None
    after: Pause | None
    is_changed: bool
    processing: int  # jobs that run on


def pause(config: Config, logs: Logs, *, who: str, reason: str) -> Paused:
    """Let no job be claimed any more, making the database if need be."""
    told = _bounded(reason)
    # Synced: after a power cut in the middle of a deploy the queue is still paused.
    database = Database(config.database, durability="full")
    try:
        store = PauseStore(database)
        with store.transaction():
            now = clock.now()  # once the write lock is ours, so that every job that runs has started before
            before = store.current()
            is_changed = store.pause(now, who=who, reason=told)
            after = store.current()
        wake.ping(database.path)  # so that a runner that lingers ends its idle workers, which hold the present code
        processing = JobStore(database).look(config.workers, now).processing
    finally:
        database.close()
    if is_changed:
        logs.pause(now, who=who, reason=told, running=processing)
    return Paused(before, after, is_changed, processing)


def _bounded(reason: str) -> str | None:
    """Return the reason as one line that the database can hold; None for an empty one."""
    line = " ".join(reason.encode("utf-8", "backslashreplace").decode().replace("\0", " ").split())
    return (line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…") or None


def resume(config: Config, logs: Logs, *, who: str) -> Pause | None:
    """Let jobs be claimed again, and return the pause that is over; None if there was none."""
    database = Database(config.database, durability="full")
    try:
        store = PauseStore(database)
        with store.transaction():
            now = clock.now()
            before = store.current()
            store.resume(now)
        wake.ping(database.path)
    finally:
        database.close()
    if before is not None:
        logs.resume(now, who=who, before=paused(*before, now=now))
    return before


def prune(
    database: Database, before: Mapping[str, str], logs: Logs, *, who: str
) -> Generator[Mapping[str, int], None, None]:
    """Prune all rows older than these cutoffs, a stretch in each step; yield how many of each status went.

    Close it: what was done until then is logged at its end.
    """
    counts: collections.Counter[str] = collections.Counter()
    try:
        for statuses in upkeep.prune(database, before):
            gone = collections.Counter(statuses)
            counts += gone
            yield gone
    finally:
        if counts:
            logs.prune(clock.now(), who=who, counts=counts)
