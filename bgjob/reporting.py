"""What a job can ask and tell while it runs: which job it is, and how far. Outside of a job: nothing."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

from bgjob import deadline
from bgjob.board import Board

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import SupportsFloat

    from bgjob.config import ClassRules
    from bgjob.job import ClaimedJob

_ROUNDING = 1e-9  # what sums of fractions may be beyond the bounds

# One for the process, which runs one job at a time: so it is there in the job's threads and coroutines, too.
running: tuple[ClaimedJob, ClassRules] | None = None
is_worker = False  # whether this process runs jobs
board = Board()  # a worker puts one in its place that it shares with its runner


class CurrentJob(NamedTuple):
    """The job that is being run."""

    id: int
    job_class: str
    method: str
    priority: int
    attempt: int  # from 1
    is_last_attempt: bool  # if this one fails, the job has failed for good

    @property
    def seconds_left(self) -> float | None:
        """The seconds until JobTimeout is raised; 0.0 after that. None where there is no time-out, as in tests."""
        return deadline.seconds_left()


def current_job() -> CurrentJob | None:
    """Return the job that is being run in this process, or None outside of a job.

    It is the same in all threads and coroutines of the job. A process that the job starts is not the job.
    """
    if running is None:
        return None
    job, rules = running
    return CurrentJob(
        id=job.id,
        job_class=job.job_class,
        method=job.method,
        priority=job.priority,
        attempt=job.attempt,
        is_last_attempt=job.retry_count >= rules.max_retries,
    )


def set_progress(fraction: float | None, text: str | None = None) -> None:
    """Tell how far the running job is: a share from 0 to 1, or None where nobody knows, and in words.

    Of the `text` 200 characters are kept. People see both within a second. Call it as often as you like, from any
    thread; it never waits. Outside of a job it does nothing. Raises TypeError or ValueError, also there, for what is
    no share or no text.
    """
    if type(fraction) is not float or not 0.0 <= fraction <= 1.0:
        fraction = _share(fraction)
    if text is not None and type(text) is not str:
        if not isinstance(text, str):
            raise TypeError(f"the text of a job's progress is a str or None, not {type(text).__name__}")
        text = str.__str__(text)
    if running is not None:
        board.note(running[0].id, fraction, text)


def _share(number: SupportsFloat | None) -> float:
    """Return a share that is no float between 0 and 1 as one that is; None as NaN."""
    if number is None:
        return math.nan
    if type(number) is bool or not hasattr(number, "__float__"):
        raise TypeError(f"the progress of a job is a share from 0 to 1, or None, not {type(number).__name__}")
    try:
        share = float(number)
    except OverflowError:
        share = math.inf
    if not -_ROUNDING <= share <= 1 + _ROUNDING:
        raise ValueError(f"the progress of a job is a share from 0 to 1, or None, not {share:.12g}; 40 % is 0.4")
    return min(max(share, 0.0), 1.0)


def _forget() -> None:
    global running  # noqa: PLW0603  # as above
    running = None


# A child that the job forks shares its memory, and would speak for it.
os.register_at_fork(after_in_child=_forget)
