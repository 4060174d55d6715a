"""The time-out of a job, as an exception inside the job's own code; the runner's SIGKILL stands behind it."""

from __future__ import annotations

import signal

from bgjob.errors import JobTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_armed = False
_fired = False
_seconds = 0.0


def start(seconds: float) -> None:
    """Raise JobTimeout in the main thread after `seconds`, unless `stop` comes first.

    An interval timer of the kernel's, so no clock that someone sets or freezes matters.
    """
    global _armed, _fired, _seconds  # one for the process, as its SIGALRM is
    _armed, _fired, _seconds = True, False, seconds
    signal.setitimer(signal.ITIMER_REAL, seconds)


def stop() -> None:
    """Take the time-out back: from here on JobTimeout is not raised any more."""
    global _armed  # noqa: PLW0603  # as above
    _armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)


def seconds_left() -> float | None:
    """Return how many seconds are left until JobTimeout, 0.0 once it was raised; None where no time-out runs."""
    if _armed:
        return signal.getitimer(signal.ITIMER_REAL)[0]
    return 0.0 if _fired else None


def has_fired() -> bool:
    """Return whether JobTimeout was raised since the last `start`; a job may raise one of its own."""
    return _fired


def on_alarm(_number: int, _frame: FrameType | None) -> None:
    """Handle SIGALRM: raise JobTimeout, once, and only while the job's own code runs."""
    global _armed, _fired  # as above
    if _armed:
        _armed, _fired = False, True
        raise JobTimeout(f"the job ran longer than its timeout of {_seconds:g} s")
