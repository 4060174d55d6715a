"""The watch that a queueing process keeps on the ticks, at the cost of one stat a second.

Each tick leaves its time on `<database>.tick`. One that finds a job overdue though ticks come leaves a mark there, the
file's size, so that the same stat tells of that, too. Only then it is worth a look at the database.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os

from bgjob import clock

HINT = "is cron running? bgjob doctor looks for the reason"
LOOK_EVERY = 10.0  # seconds of this process between two looks at the database

# Two minutes without a tick are no delay of cron's any more.
_SILENT_AFTER = dt.timedelta(minutes=2)

_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)
_AT_ONCE, _A_SECOND = dt.timedelta(), dt.timedelta(seconds=1)

# A machine that was just started has not had the first minute yet in which cron starts a tick.
_FIRST_MINUTES = 120.0


class Watch:
    """The watch of one process."""

    def __init__(self) -> None:
        """Have looked at nothing yet."""
        self._next_look = 0.0
        self._seen_quiet = "", _LONG_AGO

    def is_quiet(self, database: str, now: dt.datetime, *, alarm_after: float) -> bool:
        """Return whether a tick came lately and left no mark, or this process looked at the database a moment ago."""
        # An outage is told of after minutes: a second more or less is nothing to it, and a stat is to each job.
        seen_at, seen = self._seen_quiet
        if seen_at == database and _AT_ONCE <= now - seen < _A_SECOND:
            return True
        # Where no tick ever came, the turn's file tells when somebody first wrote to the database: it is made then, and
        # never written.
        sign = _stat(f"{database}.tick") or _stat(f"{database}.turn")
        # A time to come is that of a clock which was set back since; the next tick mends it.
        if sign is not None and not sign.st_size and now.timestamp() - sign.st_mtime < alarm_after:
            self._seen_quiet = database, now
            return True
        since_boot = clock.monotonic()
        if since_boot < max(self._next_look, _FIRST_MINUTES):
            return True
        self._next_look = since_boot + LOOK_EVERY
        return False


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def last_tick(database: str) -> dt.datetime | None:
    """Return when the last tick came, or None if none ever did."""
    sign = _stat(f"{database}.tick")
    try:
        return dt.datetime.fromtimestamp(sign.st_mtime, dt.UTC) if sign else None
    except (ValueError, OverflowError):  # no time that a clock could have told
        return None


def is_silent(last_tick: dt.datetime | None, now: dt.datetime) -> bool:
    """Return whether no tick has come for so long that cron must have stopped."""
    return last_tick is None or now - last_tick > _SILENT_AFTER


def leave_mark(database: str, *, marked: bool) -> None:
    """Mark the sign of life for the queueing processes, or take the mark away; the time of the last tick stays."""
    _set_mark(database, marked=marked)


def take_mark(database: str) -> bool:
    """Take the mark away and return True, for one process of all that saw it."""
    return _set_mark(database, marked=False)


def _set_mark(database: str, *, marked: bool) -> bool:
    """Set the mark; return whether that changed it."""
    try:
        sign = os.open(f"{database}.tick", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(sign, fcntl.LOCK_EX | fcntl.LOCK_NB)
        before = os.fstat(sign)
        if bool(before.st_size) == marked:
            return False
        os.ftruncate(sign, int(marked))
        with contextlib.suppress(OSError):  # may be another user's file
            os.utime(sign, ns=(before.st_atime_ns, before.st_mtime_ns))
    except OSError:
        return False
    finally:
        os.close(sign)
    return True
