"""The jobs that bgjob itself queues, where the config names a class for them: `on_failure` and `on_alarm`.

They are told facts, never the params of a job: these may be large or secret, and whoever may see them has the id.
"""

from __future__ import annotations

from bgjob import clock, params
from bgjob.config_keys import HOOK_METHOD

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt

    from bgjob.config import Config
    from bgjob.job import ClaimedJob, Failure
    from bgjob.store.alarms import OldestDue
    from bgjob.store.intake import NewJob

_LONGEST_TEXT = 2_000  # characters of an error or of a name that another program wrote
_FOREMOST = 2**63 - 1


def on_failure(config: Config, job: ClaimedJob, failure: Failure, now: dt.datetime) -> NewJob | None:
    """Return the job that tells of one that has failed for good; None without a hook, or if the hook itself failed."""
    if config.on_failure is None or job.job_class == config.on_failure:
        return None
    priority = job.priority if type(job.priority) is int else 0  # another program may have written anything
    facts = {
        "id": job.id,
        "job_class": _bounded(job.job_class),
        "method": _bounded(job.method),
        "priority": priority,
        "attempt": job.attempt,
        "outcome": failure.kind,
        "error": _bounded(failure.error),
        "failed_at": clock.to_text(now),
    }
    return _new_job(config.on_failure, {"job": facts}, now, priority=priority)


def on_alarm(
    config: Config, *, alarm: int, kind: str, told: str, database: str, oldest: OldestDue | None, now: dt.datetime
) -> NewJob | None:
    """Return the job that tells of an outage, to be run before all others; None without a hook."""
    if config.on_alarm is None:
        return None
    due = oldest and {
        "id": oldest.id,
        "job_class": _bounded(oldest.job_class),
        "method": _bounded(oldest.method),
        "since": clock.to_text(oldest.since),
    }
    facts = {"id": alarm, "kind": kind, "told": told, "raised_at": clock.to_text(now)}
    facts |= {"database": _bounded(database), "oldest_due": due}
    return _new_job(config.on_alarm, {"alarm": facts}, now, priority=_FOREMOST)


def _new_job(job_class: str, facts: dict[str, object], now: dt.datetime, *, priority: int) -> NewJob:
    return {
        "job_class": job_class,
        "method": HOOK_METHOD,
        "params": params.encode(facts, limit=1_000_000),
        "priority": priority,
        "available_at": None,
        "created_at": clock.to_text(now),
    }


def _bounded(text: object) -> str:
    """Return `text` so short, and without halves of characters, that it can be a param."""
    clean = str(text).encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= _LONGEST_TEXT else f"{clean[:_LONGEST_TEXT]}…"
