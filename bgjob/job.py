"""A job as a worker holds it, the moves between its statuses, and what can come of an attempt."""

from __future__ import annotations

from typing import NamedTuple

PENDING = "pending"
PROCESSING = "processing"
COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"

# Verdicts of a job about itself, which stand with the attempt.
POSTPONED = "postponed"
GAVE_UP = "gave up"

# Every move there is, by its verb: from one of these statuses, to that one. docs/architecture.md draws it.
TRANSITIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "enqueue": ((), PENDING),
    "claim": ((PENDING,), PROCESSING),
    "complete": ((PROCESSING,), COMPLETED),
    "retry": ((PROCESSING,), PENDING),
    "fail": ((PROCESSING,), FAILED),
    "postpone": ((PROCESSING,), PENDING),
    "release": ((PROCESSING,), PENDING),
    "requeue": ((FAILED, CANCELLED), PENDING),
    "cancel": ((PENDING,), CANCELLED),
}


class ClaimedJob(NamedTuple):
    """One row of `custom_jobs` as a worker holds it that has claimed it; programs are told of one as a `bgjob.Job`."""

    id: int
    job_class: str
    method: str
    params: str | None
    priority: int
    retry_count: int
    crash_count: int
    runner: int
    worker: str
    context: str | None = None  # the trace of whoever queued it, of a job that was claimed

    @property
    def attempt(self) -> int:
        """The number of the attempt that is running, from 1."""
        return self.retry_count + 1


class Seen(NamedTuple):
    """One row of `custom_jobs` as a person saw it; nobody holds it, and it may have changed since."""

    id: int
    job_class: str
    method: str
    status: str


# Outcomes, told apart by type and by `kind`. No dataclasses: their import would cost each command 6 ms.


class Succeeded(NamedTuple):
    """The method returned."""

    kind: str = "succeeded"


class Raised(NamedTuple):
    """The job ended with an exception; `final` where another attempt could not help.

    `verdict` tells why there is none, where the job itself or a rule said so: it `gave up`, or it was `not retried`.
    """

    error: str
    traceback: str
    final: bool = False
    kind: str = "raised"
    verdict: str | None = None


class Postponed(NamedTuple):
    """The job raised RetryLater: it asks for another attempt after `seconds`, and none is counted."""

    seconds: float
    error: str
    traceback: str = ""
    kind: str = "raised"
    verdict: str = POSTPONED


class Crashed(NamedTuple):
    """The worker went away in the middle of the job: a signal, an exit, or its runner died."""

    error: str
    traceback: str = ""
    kind: str = "crashed"


class TimedOut(NamedTuple):
    """The job ran longer than its `timeout`: it ended by JobTimeout, or its worker was killed after the grace."""

    error: str
    traceback: str = ""
    kind: str = "timed out"


Outcome = Succeeded | Postponed | Raised | TimedOut | Crashed
Failure = Raised | TimedOut | Crashed
