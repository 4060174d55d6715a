"""The only module that reads the time, and the text in which an instant stands in the database.

An instant in the database is UTC text of fixed width, `YYYY-MM-DD HH:MM:SS.ffffff`, so that the order of texts is the
order of instants and SQLite's own date functions read it (https://sqlite.org/lang_datefunc.html).
"""

from __future__ import annotations

import datetime as dt
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


_pinned: tuple[Callable[[dt.tzinfo], dt.datetime], Callable[[int], float]] | None = None
_last: tuple[dt.datetime | None, str] = None, ""
_TEXT = "%04d-%02d-%02d %02d:%02d:%02d.%06d"


def now() -> dt.datetime:
    """Return the present instant, aware, in UTC."""
    return _pinned[0](dt.UTC) if _pinned else dt.datetime.now(dt.UTC)


def monotonic() -> float:
    """Return seconds that only grow, whatever happens to the wall clock.

    `clock_gettime` rather than `time.monotonic`, which test tools freeze: a time-out must still pass then.
    """
    return _pinned[1](time.CLOCK_MONOTONIC) if _pinned else time.clock_gettime(time.CLOCK_MONOTONIC)


def pin() -> None:
    """Read the clocks of this moment from now on, whatever a job does to the modules behind them (a worker's need)."""
    global _pinned  # noqa: PLW0603  # one for the process
    _pinned = (dt.datetime.now, time.clock_gettime)


def freeze(instant: dt.datetime) -> Callable[[], None]:
    """Let `now` return the aware `instant`, while `monotonic` goes on (a test's need); return what undoes that."""
    global _pinned  # noqa: PLW0603  # as above
    before = _pinned
    _pinned = instant.astimezone, time.clock_gettime

    def thaw() -> None:
        global _pinned  # noqa: PLW0603  # as above
        _pinned = before

    return thaw


def to_text(instant: dt.datetime) -> str:
    """Return the database's text for an aware `instant` in UTC."""
    global _last  # noqa: PLW0603  # settling a job asks for the same one four times
    last, text = _last
    if instant is not last:
        text = _TEXT % (
            instant.year,
            instant.month,
            instant.day,
            instant.hour,
            instant.minute,
            instant.second,
            instant.microsecond,
        )
        _last = instant, text
    return text


def from_text(text: str) -> dt.datetime:
    """Return the aware UTC instant for a text of the database; ValueError for any other shape."""
    instant = dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
    if to_text(instant) != text:
        raise ValueError(f"not a time of the form YYYY-MM-DD HH:MM:SS.ffffff: {text[:40]!a}")
    return instant


def later(instant: dt.datetime, seconds: float) -> dt.datetime:
    """Return `instant` plus `seconds`, or the first or last instant that can be written where that is too far."""
    try:
        return instant + dt.timedelta(seconds=seconds)
    except OverflowError:
        if seconds < 0:
            return dt.datetime.min.replace(tzinfo=dt.UTC)
        return dt.datetime.max.replace(tzinfo=dt.UTC)
