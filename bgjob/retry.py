"""What follows a failed attempt: another one later, or the end. Pure rules, no clock, no dice."""

from __future__ import annotations

from bgjob.job import Crashed, Raised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.config import ClassRules
    from bgjob.job import Failure, Job

LARGEST_JITTER = 0.1


def seconds_until_retry(job: Job, failure: Failure, rules: ClassRules | None, *, dice: float) -> float | None:
    """Return how many seconds the job waits for its next attempt, or None if it has failed for good.

    `rules` is None for a job that is not approved. `dice` (0 to 1) spreads retries by 0 to 10 %, so that jobs which
    failed together don't come back together.
    """
    if rules is None or job.retry_count >= rules.max_retries:
        return None
    if isinstance(failure, Crashed):
        if job.crash_count + 1 >= rules.max_crashes:
            return None
    elif isinstance(failure, Raised) and failure.final:
        return None
    return rules.retry_delay.seconds(job.retry_count + 1) * (1 + LARGEST_JITTER * dice)
