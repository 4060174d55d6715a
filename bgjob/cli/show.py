"""`bgjob show ID`: everything of one job, and why it is not running yet."""

from __future__ import annotations

import json

from bgjob import clock
from bgjob.cli import colours, page
from bgjob.cli.exits import FINE, NoMatchError
from bgjob.cli.kinds import job_id
from bgjob.console import lasting
from bgjob.job import COMPLETED, GAVE_UP, POSTPONED
from bgjob.store import reading
from bgjob.views import log_lines
from bgjob.views.overview import instant
from bgjob.views.waiting import reasons

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import datetime as dt

    from bgjob.config import Config
    from bgjob.store.reading import AttemptRow, JobRow, ProgressRow
    from bgjob.views.log_lines import LogLines

_TIMES = ("created_at", "available_at", "started_at", "finished_at", "updated_at")
_TOLD_APART = ("id", "job_class", "method", "params", "status", "error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the job's id."""
    parser.add_argument("id", type=job_id, metavar="ID", help="the job's id")


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Print all that is known of a job; raises NoMatchError if there is no such job."""
    now = clock.now()
    if not reading.exists(config.database):
        raise NoMatchError(f"there is no job {arguments.id}: no job was ever queued in {config.database}")
    with reading.ReadStore(config.database) as store:
        job = store.job(arguments.id)
        if job is None:
            raise NoMatchError(
                f"there is no job {arguments.id} in {store.path}: it was never queued here, or deleted or pruned"
            )
        attempts = store.attempts(job.id)
        why = reasons(store, job, config, now)
        progress = store.progress(job.id)
    logged = log_lines.of_job(config, job.id)
    if arguments.json:
        page.document(_document(job, attempts, why, progress) | {"log": logged.lines})
    else:
        _show(job, attempts, why, progress, now)
        _show_log(logged)
    for trouble in logged.trouble:
        page.remark(trouble)
    return FINE


def _show(
    job: JobRow, attempts: list[AttemptRow], why: list[str], progress: ProgressRow | None, now: dt.datetime
) -> None:
    page.say(f"job {job.id}  {job.job_class}.{job.method}", colour=colours.BOLD)
    _field("status", str(job.status), colour=colours.OF_STATUS.get(job.status))
    for number, reason in enumerate(why):
        _field("" if number else "why", reason)
    if progress:
        _field("progress", f"{page.how_far(progress)} ({page.age(progress.updated_at, now)})")
    for name, value in job._asdict().items():
        if name in _TIMES and value is not None:
            _field(name, page.time_and_age(value, now))
        elif name not in (*_TOLD_APART, *_TIMES) and value is not None:
            _field(name, str(value))
    if job.error:
        # The whole of it stands with its attempt, if that is still there.
        is_told_below = any(attempt.error == job.error for attempt in attempts)
        error = str(job.error).splitlines()[0] if is_told_below else str(job.error)
        _field("error", error, colour=colours.RED)
    _field("params", "" if job.params is not None else "none")
    if job.params is not None:
        _block(_laid_out(job.params))
    recorded = {attempt.attempt for attempt in attempts if attempt.verdict != POSTPONED}
    for attempt in attempts:
        _show_attempt(attempt, now)
    number = _attempt_of(job)
    if job.status == COMPLETED and number not in recorded:
        page.say(f"attempt {number}: succeeded{_lasted(job.started_at, job.finished_at)}", colour=colours.GREEN)


def _field(name: str, text: str, *, colour: str | None = None) -> None:
    page.told(name, text, indent=14, colour=colour)


def _attempt_of(job: JobRow) -> int:
    return job.retry_count + 1 if isinstance(job.retry_count, int) else 1


def _laid_out(params: str) -> str:
    try:
        return json.dumps(json.loads(params), indent=2, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):  # written by another program
        return str(params)


def _show_attempt(attempt: AttemptRow, now: dt.datetime) -> None:
    when = page.time_and_age(attempt.finished_at, now)
    lasted = _lasted(attempt.started_at, attempt.finished_at)
    colour = colours.YELLOW if attempt.verdict == POSTPONED else colours.OF_OUTCOME.get(attempt.outcome)
    came_to, why = attempt.outcome, attempt.verdict
    if why in (POSTPONED, GAVE_UP):
        came_to, why = str(why), None
    page.say(f"attempt {attempt.attempt}: {came_to}{lasted}; {when}", colour=colour)
    if why:
        _block(why)
    if attempt.traceback or attempt.error:
        _block(str(attempt.traceback or attempt.error))
    if attempt.output:
        page.say("  output:")
        _block(str(attempt.output), indent=4)


def _show_log(logged: LogLines) -> None:
    if logged.lines:
        page.say("log")
        for line in logged.lines:
            page.say(f"  {line}")


def _lasted(start: str | None, end: str | None) -> str:
    seconds = _seconds(start, end)
    return "" if seconds is None else f" after {lasting(seconds)}"


def _seconds(start: str | None, end: str | None) -> float | None:
    began, ended = instant(start), instant(end)
    return max((ended - began).total_seconds(), 0.0) if began and ended else None


def _block(text: str, *, indent: int = 2) -> None:
    # Tabs as they are meant; all else that could move a cursor is escaped.
    for line in text.expandtabs(4).splitlines():
        page.say(" " * indent + line)


def _document(
    job: JobRow, attempts: list[AttemptRow], why: list[str], progress: ProgressRow | None
) -> dict[str, object]:
    return {
        "job": {name: page.json_time(value) if name in _TIMES else value for name, value in job._asdict().items()},
        "attempts": [
            {
                **attempt._asdict(),
                "started_at": page.json_time(attempt.started_at),
                "finished_at": page.json_time(attempt.finished_at),
                "seconds": _seconds(attempt.started_at, attempt.finished_at),
            }
            for attempt in attempts
        ],
        "why_not_running": why,
        "progress": page.progress_document(progress),
    }
