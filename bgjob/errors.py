"""Every error that bgjob raises: each says what happened, what was expected and how to mend it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt

LONGEST_DELAY = 3_155_760_000  # seconds, a hundred years: more is a slip of units


class BgjobError(Exception):
    """The root of all errors of bgjob: catch this one to catch them all."""


class ConfigError(BgjobError):
    """The config file is missing or wrong; `problems` holds one line for each thing to mend."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems, one text each, in the order of the file."""
        super().__init__("\n".join(problems))
        self.problems = problems


class NotApprovedError(BgjobError):
    """The class or the method does not stand on the approved lists."""


class InvalidJobError(BgjobError, ValueError):
    """What was to be queued can't be a job: its class, method, priority or delay is of the wrong kind or size."""


class InvalidParamsError(InvalidJobError):
    """The params can't be kept as JSON and come back as they went in, are too large, or don't fit the method."""


class StoreError(BgjobError):
    """The database can't be used."""


class DatabaseBusyError(StoreError):
    """Another process or an open transaction kept the database locked for longer than we wait."""


class ForeignDatabaseError(StoreError):
    """The file is no SQLite database, belongs to another program, or is newer than this code."""


class LockError(BgjobError):
    """The lock file or the life file can't be used."""


class RetryLater(Exception):  # noqa: N818  # no error: what a job says
    """Raise it inside a job to have it run again after a while: no failure, and no retry is counted.

    `delay`: seconds (int or float, 0 or more) or a timedelta. `reason`: why, for people. After `max_postponements` in a
    row it counts as a failed attempt. Raises TypeError or ValueError for a delay that is none.
    """

    def __init__(self, delay: float | dt.timedelta, reason: str = "") -> None:
        """Take the delay, and why."""
        super().__init__(delay, reason)
        self.delay = seconds_of(delay)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.reason) or f"again in {self.delay:g} s"


def seconds_of(delay: object) -> float:
    """Return the seconds of a delay; raises TypeError or ValueError for what is none."""
    seconds = delay.total_seconds() if hasattr(delay, "total_seconds") else delay
    if type(seconds) is not int and type(seconds) is not float:
        raise TypeError(f"a delay is seconds (int or float) or a timedelta, not {type(delay).__name__}")
    if not 0 <= seconds <= LONGEST_DELAY:  # NaN is neither
        raise ValueError(f"a delay is from 0 to {LONGEST_DELAY:,} seconds (a hundred years), not {seconds!r:.40}")
    return float(seconds)


class GiveUp(Exception):  # noqa: N818  # no error: what a job says
    """Raise it inside a job to fail at once, whatever retries are left: `raise GiveUp("the account is closed")`.

    The reason becomes the job's error, without a traceback; `raise GiveUp(...) from error` keeps that of the error.
    """


class JobTimeout(BaseException):  # the name users catch, as fixed in the design
    """Raised inside a job that has run longer than its `timeout`.

    No Exception, so that a job's own `except Exception` does not swallow it; its `finally` blocks run.
    """
