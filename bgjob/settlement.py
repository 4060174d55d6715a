"""What is done about the outcome of an attempt: written to the store first, then told to the logs."""

from __future__ import annotations

from typing import NamedTuple

from bgjob import clock, hooks, retry
from bgjob.job import Postponed, Raised, Succeeded
from bgjob.store.intake import enqueue_along

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt

    from bgjob.config import Config
    from bgjob.console import Console
    from bgjob.job import ClaimedJob, Outcome
    from bgjob.logs import Logs
    from bgjob.store.jobs import JobStore


class Settlement(NamedTuple):
    """How a job was settled: `verb` is complete, retry, fail or postpone.

    `held` is False if it was no longer ours to settle.
    """

    job: ClaimedJob
    outcome: Outcome
    verb: str
    held: bool
    available_at: dt.datetime | None = None


def settle(
    store: JobStore, job: ClaimedJob, outcome: Outcome, now: dt.datetime, *, config: Config, output: str, dice: float
) -> Settlement:
    """Write the outcome of an attempt to the store, inside the caller's transaction."""
    if isinstance(outcome, Succeeded):
        return Settlement(job, outcome, "complete", store.complete(job, now, outcome=outcome, output=output))
    rules = config.classes.get(job.job_class)
    if isinstance(outcome, Postponed):
        most = rules.max_postponements if rules else 0
        if store.postponements(job) < most:
            available_at = clock.later(now, outcome.seconds)
            held = store.postpone(job, now, outcome=outcome, output=output, available_at=available_at)
            return Settlement(job, outcome, "postpone", held, available_at)
        outcome = Raised(f"{outcome.error}; that was once more than max_postponements ({most}) in a row", "")
    seconds = retry.seconds_until_retry(job, outcome, rules, dice=dice)
    if seconds is None:
        held = store.fail(job, now, failure=outcome, output=output)
        hook = hooks.on_failure(config, job, outcome, now) if held else None
        if hook is not None:
            enqueue_along(store.database, hook)
        return Settlement(job, outcome, "fail", held)
    available_at = clock.later(now, seconds)
    held = store.retry(job, now, failure=outcome, output=output, available_at=available_at)
    return Settlement(job, outcome, "retry", held, available_at)


def tell(settlement: Settlement, now: dt.datetime, *, logs: Logs, console: Console, duration: float) -> None:
    """Say what was committed, in the logs and at the terminal."""
    job, outcome, verb, held, available_at = settlement
    if not held:
        logs.trouble(now, what=f"job {job.id} was taken away from its worker while it ran; its outcome is dropped")
        return
    if isinstance(outcome, Succeeded):
        logs.complete(job, now, duration=duration)
        console.job(job, now, word="DONE", duration=duration)
    elif isinstance(outcome, Postponed):
        assert available_at is not None  # noqa: S101  # for the type checker alone
        logs.postpone(job, outcome, now, available_at=available_at, duration=duration)
        console.job(job, now, word="LATER", duration=duration)
    elif verb == "retry" and available_at is not None:
        logs.retry(job, outcome, now, available_at=available_at, duration=duration)
        console.job(job, now, word="RETRY", duration=duration)
    else:
        logs.fail(job, outcome, now, duration=duration)
        console.job(job, now, word="FAIL", duration=duration)
