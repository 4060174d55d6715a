"""`--dry-run`: what would run, in order, and why the other jobs would not."""

from __future__ import annotations

import os
import sys

from bgjob import approval, clock
from bgjob.console import ago, held_up, shown, write_line
from bgjob.errors import NotApprovedError
from bgjob.moments import read_time
from bgjob.runner import FINE
from bgjob.store import reading
from bgjob.store.connection import Database
from bgjob.store.jobs import JobStore
from bgjob.store.pause import PauseStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt

    from bgjob.config import Config
    from bgjob.job import ClaimedJob


_MOST_ON_A_TERMINAL = 40
_NO_RUNNER = 0  # runners are numbered from 1: every one is another than this


def dry_run(config: Config, at: str | None) -> int:
    """Print the jobs that a tick would run at the time `at` (now if None), then those it would not; return FINE."""
    now = clock.now()
    instant = read_time(at, now) if at is not None else now
    if not reading.exists(config.database):
        _say("no job was ever queued: there is no database yet")
        return FINE
    database = Database(config.database, read_only=True)
    try:
        _show(config, JobStore(database), instant, now)
    finally:
        database.close()
    return FINE


def _show(config: Config, store: JobStore, instant: dt.datetime, now: dt.datetime) -> None:
    when = "now" if instant == now else f"at {clock.to_text(instant)[:19]} UTC"
    pause = PauseStore(store.database).current()
    if pause:
        _say(held_up(pause, now))
        _say("without the pause:")
    most = _MOST_ON_A_TERMINAL if os.isatty(1) else sys.maxsize
    _show_due(config, store, instant, when, most)
    _show_waiting(store, instant, most)
    for job in store.held_by_others(_NO_RUNNER):
        _say(f"  {_named(job)}: is being run")


def _show_due(config: Config, store: JobStore, instant: dt.datetime, when: str, most: int) -> None:
    place = 0
    for place, (job, _) in enumerate(store.due_at(instant), 1):
        if place == 1:
            _say(f"would run {when}, in this order:")
        if place <= most:
            _say(f"  {place}. {_named(job)}{_refusal(config, job)}")
    if place == 0:
        _say(f"nothing would run {when}")
    _tell_rest(place - most)


def _show_waiting(store: JobStore, instant: dt.datetime, most: int) -> None:
    waiting = 0
    for waiting, (job, available_at) in enumerate(store.not_due_at(instant), 1):
        if waiting == 1:
            _say("would not run:")
        if waiting > most:
            continue
        try:
            seconds = (clock.from_text(available_at or "") - instant).total_seconds()
        except (ValueError, TypeError):  # written past the CHECKs
            _say(shown(f"  {_named(job)}: its available_at is no time ({available_at!r})"))
            continue
        why = f"retry {job.retry_count}" if job.retry_count else "delayed"
        _say(f"  {_named(job)}: due in {ago(seconds)} ({why} until {(available_at or '')[:19]} UTC)")
    _tell_rest(waiting - most)


def _tell_rest(jobs: int) -> None:
    if jobs > 0:
        _say(f"  and {jobs:,} more (a pipe or a file gets all of them)")


def _named(job: ClaimedJob) -> str:
    return shown(f"job {job.id} {job.job_class}.{job.method} priority {job.priority}")


def _refusal(config: Config, job: ClaimedJob) -> str:
    try:
        approval.approve(config, job.job_class, job.method)
    except NotApprovedError as error:
        return shown(f" -- would fail: {error}")
    return ""


def _say(text: str) -> None:
    write_line(1, text)
