"""Why a job is not running yet, in words."""

from __future__ import annotations

from bgjob import approval, watch
from bgjob.console import ago, paused
from bgjob.errors import NotApprovedError
from bgjob.job import PENDING, POSTPONED, PROCESSING
from bgjob.views import signs
from bgjob.views.overview import instant

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt

    from bgjob.config import Config
    from bgjob.store.reading import JobRow, ReadStore

_ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")


def reasons(store: ReadStore, job: JobRow, config: Config, now: dt.datetime) -> list[str]:
    """Return what keeps the job from running at `now`, the weightiest first; nothing for a job that has ended."""
    if job.status == PROCESSING:
        return _why_it_stays(store, job, now)
    if job.status != PENDING:
        return []
    return [*_refused(config, job), *_why_it_waits(store, job, config, now)]


def _refused(config: Config, job: JobRow) -> list[str]:
    try:
        approval.approve(config, job.job_class, job.method)
    except (NotApprovedError, TypeError) as error:
        return [f"it would fail: {error}"]
    return []


def _why_it_waits(store: ReadStore, job: JobRow, config: Config, now: dt.datetime) -> list[str]:
    pause = store.pause()
    told = [paused(*pause, now=now)] if pause else []
    due_at = instant(job.available_at)
    if job.available_at is not None and due_at is None:
        return [f"its available_at is no time ({job.available_at!r})"]
    is_due = due_at is None or due_at <= now
    if due_at is not None and not is_due:
        told.append(f"due in {ago((due_at - now).total_seconds())}: {_because(store, job)}")
    tick = watch.last_tick(store.path)
    working = signs.is_at_work(store)
    if watch.is_silent(tick, now) and not working:
        told.append(_silence(tick, now))
    if not is_due:
        return told
    running = len(store.running())
    if working and running >= config.workers:
        told.append("the worker is busy" if config.workers == 1 else f"all {config.workers} workers are busy")
    ahead = store.ahead_of(job, now)
    if ahead:
        told.append(f"waits behind {ahead:,} {'job' if ahead == 1 else 'jobs'}")
    return told or ["it is the next one" if working else "it is the next one, and waits for the next tick"]


def _because(store: ReadStore, job: JobRow) -> str:
    if job.error and store.last_verdict(job.id) == POSTPONED:
        return str(job.error).splitlines()[0]
    retry = job.retry_count
    if not isinstance(retry, int) or retry <= 0:
        return "queued with a delay"
    return f"{_ORDINALS[retry]} retry" if retry < len(_ORDINALS) else f"retry {retry}"


def _silence(tick: dt.datetime | None, now: dt.datetime) -> str:
    silence = f"no tick for {ago((now - tick).total_seconds())}" if tick else "no tick ever came"
    return f"{silence}: {watch.HINT}"


def _why_it_stays(store: ReadStore, job: JobRow, now: dt.datetime) -> list[str]:
    if not isinstance(job.runner, int):
        return ["no runner has it; the next tick takes it back"]
    living = signs.living(store.path, {job.runner})
    if living is not None and not living:
        return [f"its runner ({job.runner}) is gone; the next tick takes the job back"]
    since = instant(job.started_at)
    lasting = f", for {ago((now - since).total_seconds())}" if since else ""
    return [f"it is being run by process {str(job.worker).split(' ', 1)[0]}{lasting}"]
