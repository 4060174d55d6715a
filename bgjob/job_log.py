"""The logger of the jobs: what they log lands in the record of the attempt, beside what they print.

It goes the way of the output: through the pipe to the runner, so that a kill loses no line.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import sys

from bgjob import clock, reporting

NAME = "bgjob.job"
_STANDARD_ERROR = 2


def logger() -> logging.Logger:
    """Return the logger whose lines, from INFO on, stand with the attempt of the job: time (UTC), level, text.

    It is a logger of the standard library, a child of the root: the app's own handlers get the lines, too. Outside of a
    job they alone do. `setLevel` on it says from which level on it tells.
    """
    found = logging.getLogger(NAME)
    if found.level == logging.NOTSET:
        found.setLevel(logging.INFO)  # that of the root is WARNING, unless the app says otherwise
    if reporting.is_worker and not any(type(handler) is IntoRecord for handler in found.handlers):
        found.addHandler(IntoRecord())
    return found


class IntoRecord(logging.Handler):
    """Writes to what is kept of the job, unless a handler of the app's writes there already."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line at once, past all that the job may have put in the place of its standard streams."""
        if _is_told_anyway(record):
            return
        try:
            time = clock.to_text(dt.datetime.fromtimestamp(record.created, dt.UTC))
            line = f"{time} {record.levelname} {self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001  # wrong arguments for the text, or a value whose own code fails
            self.handleError(record)
            return
        with contextlib.suppress(OSError):  # the job has closed it
            os.write(_STANDARD_ERROR, line)


def _is_told_anyway(record: logging.LogRecord) -> bool:
    """Return whether the app writes the line to a standard stream, as `logging.basicConfig()` makes it do."""
    at: logging.Logger | None = logging.getLogger(NAME)
    while at is not None:
        for handler in at.handlers:
            stream = getattr(handler, "stream", None)
            if (
                stream is not None
                and (stream is sys.stderr or stream is sys.stdout)
                and record.levelno >= handler.level
            ):
                return True
        at = at.parent if at.propagate else None
    return False
