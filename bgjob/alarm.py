"""The silence alarm: raised once for each outage, by whoever sees it first, and ended by the ticks that come again.

There are two kinds. `no tick`: jobs are due and no tick came for `alarm_after`; a process that queues sees it.
`overdue`: ticks come, and yet a job has been due for `alarm_after`; the ticks see it.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from bgjob import clock, hooks, process, watch
from bgjob.console import ago, shown
from bgjob.logs import Logs
from bgjob.store.alarms import NO_TICK, OVERDUE, AlarmStore
from bgjob.store.intake import enqueue_along
from bgjob.store.runners import RunnerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.config import Config
    from bgjob.console import Console
    from bgjob.store.alarms import OldestDue, OpenAlarm
    from bgjob.store.connection import Database


def notice(database: Database, config: Config, now: dt.datetime) -> str | None:
    """Look, for a process that has just queued, whether there is an outage; return what it must tell, if anything.

    Waits for nobody: where somebody writes just now, a later call looks again.
    """
    store = AlarmStore(database)
    alarms = store.open()
    if OVERDUE in alarms and watch.take_mark(database.path):
        # A tick has raised it; the processes that queue are told here.
        return f"{database.path}: {alarms[OVERDUE].told}"
    outage = None if NO_TICK in alarms else _no_tick(database, store, config, now)
    number = outage and _raised(database, config, outage, now)
    if outage is None or number is None:
        return None
    logs = Logs.of(config)
    logs.alarm(now, alarm=number, kind=NO_TICK, told=outage.told)
    logs.close()
    return f"{database.path}: {outage.told}"


def look_after(database: Database, config: Config, now: dt.datetime, *, logs: Logs, console: Console) -> bool:
    """Raise and end alarms, for a tick; return whether a job is overdue though ticks come."""
    store = AlarmStore(database)
    alarms = store.open()
    if NO_TICK in alarms and _has_ticked_since(alarms[NO_TICK], database.path, now):
        _end(store, alarms[NO_TICK], now, logs=logs)
    if OVERDUE not in alarms and not store.is_tended_since(now - _patience(config)):
        return False
    outage = _overdue(store, config, now)
    if OVERDUE in alarms and outage is None:
        watch.leave_mark(database.path, marked=False)
        _end(store, alarms[OVERDUE], now, logs=logs)
    elif OVERDUE not in alarms and outage is not None:
        number = _raised(database, config, outage, now)
        if number is not None:
            watch.leave_mark(database.path, marked=True)
            logs.alarm(now, alarm=number, kind=OVERDUE, told=outage.told)
            console.warn(f"{database.path}: {outage.told}")
    return outage is not None


class Outage(NamedTuple):
    """What is wrong, and the job that waits the longest, as far as that is known."""

    kind: str
    told: str
    oldest: OldestDue | None


def _no_tick(database: Database, store: AlarmStore, config: Config, now: dt.datetime) -> Outage | None:
    """Return the outage that jobs are due and no tick comes, if that is so."""
    if store.is_paused():
        return None
    silence = _silence(database.path, now)
    if silence is not None and (silence < _patience(config) or not store.is_anything_due(now)):
        return None
    oldest = store.oldest_due(now)
    waits = now - oldest.since if oldest else dt.timedelta()
    # In a queue that never saw a tick, cron may just be about to be set up; one that somebody works on needs none.
    if waits < _patience(config) and (silence is None or _is_somebody_at_work(database)):
        return None
    return Outage(NO_TICK, _no_tick_told(silence, oldest, now), oldest)


def _overdue(store: AlarmStore, config: Config, now: dt.datetime) -> Outage | None:
    """Return the outage that a job waits for too long, if that is so."""
    oldest = None if store.is_paused() else store.oldest_due(now)
    if oldest is None or now - oldest.since < _patience(config):
        return None
    return Outage(OVERDUE, _overdue_told(oldest, now), oldest)


def _patience(config: Config) -> dt.timedelta:
    return dt.timedelta(seconds=config.alarm_after)


def warn(told: str) -> None:
    """Tell the app that queues, whose log may reach somebody sooner than ours."""
    import logging  # noqa: PLC0415  # 10 ms, and only an outage needs it

    logging.getLogger("bgjob").warning("%s", told)


def _silence(database: str, now: dt.datetime) -> dt.timedelta | None:
    last = watch.last_tick(database)
    return None if last is None else now - last


_AT_ONCE = dt.timedelta(minutes=1)  # another process may have raised it while this one began to look


def _has_ticked_since(alarm: OpenAlarm, database: str, now: dt.datetime) -> bool:
    last, raised_at = watch.last_tick(database), clock.from_text(alarm.raised_at)
    # A time to come is of a clock that was set back since: no tick would end that outage, and no other one begin.
    return last is not None and (last > raised_at or raised_at > now + _AT_ONCE)


def _is_somebody_at_work(database: Database) -> bool:
    """Return whether a runner works without ticks, started by hand.

    Not asked of the life file: a job that queues in its runner's own process would free its runner's byte.
    """
    runners = RunnerStore(database)
    newest = runners.newest()
    return newest is not None and not newest.ended and process.is_alive(runners.process_of(newest.id))


def _raised(database: Database, config: Config, outage: Outage, now: dt.datetime) -> int | None:
    """Enter the outage and queue the hook's job, both or neither; None if another process was quicker, or writes."""
    kind, told, oldest = outage
    try:
        if not database.begin_if_free():
            return None
        number = AlarmStore(database).begin(kind, now, told=told)
        if number is not None:
            job = hooks.on_alarm(
                config, alarm=number, kind=kind, told=told, database=database.path, oldest=oldest, now=now
            )
            if job is not None:
                enqueue_along(database, job)
        database.commit()
    except BaseException as error:
        database.undo(error)
        raise
    return number


def _end(store: AlarmStore, alarm: OpenAlarm, now: dt.datetime, *, logs: Logs) -> None:
    if store.end(alarm, now):
        logs.end_alarm(now, alarm=alarm.id, kind=alarm.kind, lasted=now - clock.from_text(alarm.raised_at))


def _no_tick_told(silence: dt.timedelta | None, oldest: OldestDue | None, now: dt.datetime) -> str:
    since = "no tick ever came" if silence is None else f"no tick for {ago(silence.total_seconds())}"
    return f"{since}, and jobs are due{_longest(oldest, now)}: {watch.HINT}"


def _overdue_told(oldest: OldestDue, now: dt.datetime) -> str:
    waits = ago((now - oldest.since).total_seconds())
    name = shown(f"{oldest.job_class}.{oldest.method}"[:_LONGEST_NAME])
    return (
        f"job {oldest.id} {name} has been due for {waits} though ticks come: a runner hangs, or there is more work "
        "than time (bgjob status)"
    )


_LONGEST_NAME = 200


def _longest(oldest: OldestDue | None, now: dt.datetime) -> str:
    seconds = (now - oldest.since).total_seconds() if oldest else 0
    return f", one of them for {ago(seconds)}" if seconds >= 1 else ""
