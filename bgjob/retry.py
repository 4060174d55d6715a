"""What follows a failed attempt: another one later, or the end. Pure rules, no clock, no dice."""

from __future__ import annotations

import sys

from bgjob.job import Crashed, Raised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from bgjob.config import ClassRules
    from bgjob.job import ClaimedJob, Failure

LARGEST_JITTER = 0.1


def ruling(
    error: type, rules: ClassRules, *, retry_on: Collection[type] = (), fail_on: Collection[type] = ()
) -> str | None:
    """Return why a job that raised `error` is not tried again, by the lists of its rules and those of its class.

    None if these lists let it be tried again. The nearest class of the exception that stands on a list decides, as in a
    row of `except` from the narrowest to the widest; on both lists, `fail_on`. Where there is a `retry_on`, whatever
    stands on no list is not tried again.
    """
    for kind in type.__dict__["__mro__"].__get__(error):
        if _stands_on(kind, rules.fail_on, fail_on):
            return f"not retried: {name_of(kind).removeprefix('builtins.')} stands on fail_on"
        if _stands_on(kind, rules.retry_on, retry_on):
            return None
    return "not retried: it does not stand on retry_on" if rules.retry_on or retry_on else None


def _stands_on(kind: type, names: Collection[str], classes: Collection[type]) -> bool:
    if any(each is kind for each in classes):
        return True
    if not names:
        return False
    # Its own name, or another that leads to it in a module that is loaded: json.JSONDecodeError is json.decoder's.
    return name_of(kind) in names or any(_leads_to(name, kind) for name in names)


def name_of(kind: type) -> str:
    """Return the dotted name of a class, whatever it answers when it is asked."""
    # Past the class's own metaclass, whose code is not ours to run.
    module, qualname = vars(type)["__module__"].__get__(kind), vars(type)["__qualname__"].__get__(kind)
    return f"{module}.{qualname}" if type(module) is str else f"?.{qualname}"


def _leads_to(name: str, kind: type) -> bool:
    module, _, attribute = name.rpartition(".")
    return getattr(sys.modules.get(module), "__dict__", {}).get(attribute) is kind


def seconds_until_retry(job: ClaimedJob, failure: Failure, rules: ClassRules | None, *, dice: float) -> float | None:
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
