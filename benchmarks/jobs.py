"""What the jobs do, the same in every system; each leaves its traces in the working directory."""

from __future__ import annotations

import os
import time

MILLISECOND = 0.001


def nothing() -> None:
    """Do nothing."""


def compute() -> None:
    """Use a millisecond of processor time."""
    end = time.thread_time() + MILLISECOND
    while time.thread_time() < end:
        pass


def mark() -> None:
    """Write down when this job began."""
    _append("marks", time.monotonic())


def wait(queued: float) -> None:
    """Write down how long this job has waited since it was `queued`."""
    _append("waits", time.monotonic() - queued)


class Jobs:
    """The same as methods, for a queue whose jobs are classes."""

    nothing = staticmethod(nothing)
    compute = staticmethod(compute)
    mark = staticmethod(mark)
    wait = staticmethod(wait)


def _append(name: str, seconds: float) -> None:
    file = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, b"%.6f\n" % seconds)
    os.close(file)
