"""What the two logs tell of one job, read from their ends back."""

from __future__ import annotations

import os
from itertools import islice
from typing import NamedTuple

from bgjob.logs import ERRORS, MAIN

MOST_LINES = 50  # the newest of each log
MOST_BYTES = 32 * 1024 * 1024  # looked at of each log: some 20 ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgjob.config import Config


class LogLines(NamedTuple):
    """The lines that name a job, the oldest first, and which logs could not be read."""

    lines: list[str]
    trouble: list[str]


def of_job(config: Config, job_id: int) -> LogLines:
    """Return the newest lines of both logs about a job; tracebacks are left out, for they stand with the attempts."""
    found: list[str] = []
    trouble: list[str] = []
    for name in (MAIN, ERRORS):
        path = os.path.join(config.log_directory, name)
        try:
            found += _newest(path, config.log_files, f" job={job_id} ".encode())
        except OSError as error:
            trouble.append(f"{path} can't be read: {error.strerror or error}")
    return LogLines(sorted(found), trouble)  # a line begins with its time


def _newest(path: str, files: int, name: bytes) -> list[str]:
    lines: list[str] = []
    room = MOST_BYTES
    for file in (path, *(f"{path}.{number}" for number in range(1, files))):
        try:
            with open(file, "rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(size - room, 0))
                text = log.read(room)
        except FileNotFoundError:
            break
        lines += islice(_lines(text, name), MOST_LINES - len(lines))
        room -= len(text)
        if room <= 0 or len(lines) >= MOST_LINES:
            break
    return lines


def _lines(text: bytes, name: bytes) -> Iterator[str]:
    """Yield the lines in which `name` stands at its place, from the last one back."""
    end = len(text)
    while (at := text.rfind(name, 0, end)) >= 0:
        end = text.rfind(b"\n", 0, at) + 1
        stop = text.find(b"\n", at)
        line = text[end : stop if stop >= 0 else len(text)]
        # date, time, level, verb, job: what looks like it behind these is a value; the lines of a traceback have a tab.
        if not line.startswith(b"\t") and line.split(b" ", 5)[4:5] == [name.strip()]:
            yield line.decode("utf-8", "backslashreplace")
