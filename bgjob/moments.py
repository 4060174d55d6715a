"""The times that a person types."""

from __future__ import annotations

import datetime as dt

from bgjob import clock
from bgjob.config_texts import DURATION_UNITS, parse_duration
from bgjob.console import shown
from bgjob.errors import BgjobError


class WrongTimeError(BgjobError):
    """The text is no time, or could be read in more than one way."""


def read_time(text: str, now: dt.datetime) -> dt.datetime:
    """Return the instant that a person wrote: ISO 8601, else what python-dateutil reads in one way only.

    A time without a zone is local time. Raises WrongTimeError for a text that is no time or that could mean several.
    """
    try:
        return _aware(dt.datetime.fromisoformat(text.strip()))
    except ValueError:
        pass
    from dateutil import parser as dateutil_parser  # noqa: PLC0415  # 30 ms that hardly any text needs

    # A field that the text leaves out is filled from the default; read with two defaults, it shows.
    try:
        readings = [
            dateutil_parser.parse(text, default=dt.datetime(year, month, day), dayfirst=first)  # noqa: DTZ001  # made aware below
            for year, month, day in ((2001, 1, 2), (2004, 12, 31))
            for first in (False, True)
        ]
    except (ValueError, OverflowError, TypeError):
        message = f"{shown(text)!r} is no time; write it like {clock.to_text(now)[:16]} or 2026-12-31T08:00+01:00"
        raise WrongTimeError(message) from None
    try:
        several = len(set(readings)) > 1
    except ValueError:  # a zone of a day or more away can't be compared
        several = True
    if several:
        message = (
            f"{shown(text)!r} can be read in more than one way; write year, month and day, "
            f"like {clock.to_text(now)[:16]}"
        )
        raise WrongTimeError(message)
    return _aware(readings[0])


def read_past(text: str, now: dt.datetime, *, option: str) -> dt.datetime:
    """Return the instant that is meant by a span before now, such as `2h`, or by a time; raises WrongTimeError.

    A span has its unit here, for a bare number would hide what `read_time` says of it.
    """
    if text.endswith(tuple(DURATION_UNITS)):
        try:
            return clock.later(now, -parse_duration(text))
        except ValueError:
            pass
    try:
        return read_time(text, now)
    except WrongTimeError as error:
        raise WrongTimeError(f"{option}: {error}; or a span before now, such as 2h") from None


def _aware(moment: dt.datetime) -> dt.datetime:
    try:
        return moment.astimezone(dt.UTC)
    except (OverflowError, ValueError):
        return moment.replace(tzinfo=dt.UTC)
