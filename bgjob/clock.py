"""The only module that reads the time, and the text in which an instant stands in the database.

An instant in the database is UTC text of fixed width, `YYYY-MM-DD HH:MM:SS.ffffff`, so that the order of texts is the
order of instants and SQLite's own date functions read it (https://sqlite.org/lang_datefunc.html).
"""

from __future__ import annotations

import datetime as dt
import time


def now() -> dt.datetime:
    """Return the present instant, aware, in UTC."""
    return dt.datetime.now(dt.UTC)


def monotonic() -> float:
    """Return seconds that only grow, whatever happens to the wall clock.

    `clock_gettime` rather than `time.monotonic`, which test tools freeze: a time-out must still pass then.
    """
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def to_text(instant: dt.datetime) -> str:
    """Return the database's text for an aware `instant` in UTC."""
    return instant.isoformat(" ", "microseconds")[:26]


def from_text(text: str) -> dt.datetime:
    """Return the aware UTC instant for a text of the database; ValueError for any other shape."""
    instant = dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
    if to_text(instant) != text:
        raise ValueError(f"not a time of the form YYYY-MM-DD HH:MM:SS.ffffff: {text[:40]!a}")
    return instant


def later(instant: dt.datetime, seconds: float) -> dt.datetime:
    """Return `instant` plus `seconds`, or the last instant that can be written where that is too far."""
    try:
        return instant + dt.timedelta(seconds=seconds)
    except OverflowError:
        return dt.datetime.max.replace(tzinfo=dt.UTC)
