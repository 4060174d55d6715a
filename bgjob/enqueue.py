"""The door for apps: `run_background_job` checks a job against the approved lists and writes its row."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Mapping

from bgjob import approval, clock, in_force, signature
from bgjob import params as params_json
from bgjob.errors import LONGEST_DELAY, BgjobError, InvalidJobError
from bgjob.intake import Intake
from bgjob.store.intake import available_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from bgjob.config import Config
    from bgjob.store.intake import NewJob

LARGEST_PRIORITY = 2**63 - 1


def run_background_job(
    job_class: type | str,
    method: str = "execute",
    params: Mapping[str, Any] | list[Any] | tuple[Any, ...] | None = None,
    priority: int = 0,
    delay: float | dt.timedelta = 0,
    *,
    connection: object = None,
) -> bool:
    """Queue one job and return True: its row is then committed and survives kill -9 and power cuts.

    `job_class`: an approved class or its dotted name. `method`: an approved method of it. `params`: a dict becomes
    keyword arguments, a list or tuple positional ones; JSON values only. `priority`: a whole number of 64 bits with
    sign, higher runs first. `delay`: seconds (int or float, 0 to a hundred years) or a timedelta before it is due.
    `connection`: your own connection to the same file (of sqlite3, Django or SQLAlchemy). The row then comes and goes
    with your transaction; it is durable once you have committed, as far as your connection's settings go.

    Raises NotApprovedError for a class or method that is not on the lists, InvalidJobError or InvalidParamsError for
    arguments that can't be queued, ConfigError for a wrong config, StoreError when the database can't be used; all are
    BgjobError, and then no row was written.
    """
    settings = in_force.configs.current()
    now = clock.now()
    job = checked(settings, now, job_class, method, params, priority, delay)
    queue_checked(settings, [job], now, lent=connection)
    return True


def run_background_jobs(
    jobs: Iterable[Mapping[str, Any] | tuple[Any, ...] | list[Any] | type | str], *, connection: object = None
) -> bool:
    """Queue many jobs in one transaction and return True: all of them are committed, or none.

    Each job is a mapping with the arguments of `run_background_job` by name, a tuple or list of them in order, or the
    class alone. `connection`, as there: all of them come and go with your own transaction.
    Raises what `run_background_job` raises; the message names the job by its place, counted from 0.
    """
    return queue_all(jobs, written=lambda new_jobs: new_jobs, connection=connection)


def queue_all(
    jobs: Iterable[Mapping[str, Any] | tuple[Any, ...] | list[Any] | type | str],
    *,
    written: Callable[[list[NewJob]], list[NewJob]],
    connection: object = None,
) -> bool:
    """Do what `run_background_jobs` does; `written` hands the checked jobs to the store, and may count them."""
    if isinstance(jobs, (str, bytes, Mapping, type)) or not hasattr(jobs, "__iter__"):
        message = f"jobs must be a list (or another iterable) of jobs, not one {type(jobs).__name__}"
        raise InvalidJobError(message)
    settings = in_force.configs.current()
    now = clock.now()
    new_jobs = []
    for index, job in enumerate(jobs):
        try:
            if type(job) is tuple and 1 <= len(job) <= len(_NAMES):
                new_jobs.append(checked(settings, now, *job))
            else:
                new_jobs.append(checked(settings, now, **_arguments(job)))
        except BgjobError as error:
            error.args = (f"jobs[{index}]: {error}", *error.args[1:])
            raise
    if new_jobs:
        queue_checked(settings, written(new_jobs), now, lent=connection)
    return True


_NAMES = ("job_class", "method", "params", "priority", "delay")


def _arguments(job: object) -> dict[str, Any]:
    if isinstance(job, (tuple, list)) and 1 <= len(job) <= len(_NAMES):
        return dict(zip(_NAMES, job, strict=False))
    if isinstance(job, (str, type)):
        return {"job_class": job}
    if isinstance(job, Mapping) and "job_class" in job and all(name in _NAMES for name in job):
        return dict(job)
    message = (
        "a job must be a mapping with job_class and any of method, params, priority, delay, or a tuple of these in "
        f"order; this is {type(job).__name__}"
    )
    if isinstance(job, Mapping):
        message += f" with the keys {', '.join(ascii(key)[:40] for key in list(job)[:10])}"
    raise InvalidJobError(message)


def checked(  # noqa: PLR0917  # a job has five parts
    settings: Config,
    now: dt.datetime,
    job_class: object,
    method: object = "execute",
    params: object = None,
    priority: object = 0,
    delay: object = 0,
) -> NewJob:
    """Return the job as it can be queued at `now`; raises what `run_background_job` raises."""
    name, method = approval.approved(settings, job_class, method)
    text = params_json.encode(params, limit=settings.max_params_size)
    signature.check(name, method, params)
    return {
        "job_class": name,
        "method": method,
        "params": text,
        "priority": _checked_priority(priority),
        "available_at": available_at(_checked_delay(delay), now),
        "created_at": clock.to_text(now),
    }


def check_options(priority: object, delay: object) -> None:
    """Raise InvalidJobError for what can't be a job's priority or delay."""
    _checked_priority(priority)
    _checked_delay(delay)


def queue_checked(settings: Config, jobs: list[NewJob], now: dt.datetime, *, lent: object = None) -> int | None:
    """Write the rows of the jobs, and return the id of one that comes alone: every door for apps ends here."""
    if recorder is not None:
        return recorder(jobs)
    if "opentelemetry.trace" in sys.modules:
        from bgjob import tracing

        return tracing.queue(jobs, lambda: _write_rows(settings, jobs, now, lent))
    return _write_rows(settings, jobs, now, lent)


def _write_rows(settings: Config, jobs: list[NewJob], now: dt.datetime, lent: object) -> int | None:
    if lent is not None:
        return _intake.enqueue_borrowing(settings, jobs, now, lent=lent)
    return _intake.enqueue(settings, jobs, now)


# A test's `bgjob.testing.fake`: it takes the checked jobs in the place of the database.
recorder: Callable[[list[NewJob]], int] | None = None


def disconnect() -> None:
    """Close this process's connection for queueing, if there is one; the next job opens another."""
    _intake.disconnect()


def _checked_priority(priority: object) -> int:
    if type(priority) is not int:
        message = f"priority must be a whole number, not {type(priority).__name__}"
        raise InvalidJobError(message)
    if not -LARGEST_PRIORITY - 1 <= priority <= LARGEST_PRIORITY:
        message = "priority must fit into 64 bits (-2**63 to 2**63 - 1)"
        raise InvalidJobError(message)
    return priority


def _checked_delay(delay: object) -> float:
    if isinstance(delay, dt.timedelta):
        seconds = delay.total_seconds()
    elif type(delay) is int or type(delay) is float:
        seconds = delay
    else:
        message = f"delay must be seconds (int or float) or a timedelta, not {type(delay).__name__}"
        raise InvalidJobError(message)
    if seconds != seconds:  # noqa: PLR0124  # NaN is what differs from itself
        message = "delay is NaN, not a number of seconds"
        raise InvalidJobError(message)
    if seconds < 0:
        message = "delay must not be negative; 0 means at once"
        raise InvalidJobError(message)
    if seconds > LONGEST_DELAY:
        message = f"delay must be at most a hundred years ({LONGEST_DELAY:,} seconds); it is given in seconds"
        raise InvalidJobError(message)
    return seconds


_intake = Intake()
