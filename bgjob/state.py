"""What a job may have changed of its worker's process: looked at after each job, in microseconds."""

from __future__ import annotations

import _locale
import _signal  # type: ignore[import-not-found]  # signal.getsignal turns each handler into an enum, 4 µs a time
import _thread
import os
import resource
import signal
import sys

_HANDLERS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGALRM)
_NOW_AND_THEN = 64  # the dearer looks are taken once in so many jobs
_MOST_LEAKED_DESCRIPTORS = 64
_MOST_GROWTH_KB = 256 * 1024


class ProcessState:
    """The process as it was when the worker was ready for its first job."""

    def __init__(self) -> None:
        """Take the picture that later ones are compared with."""
        self._jobs = 0
        self._path = list(sys.path)
        self._environment = dict(_environment())
        self._quick = self._look()
        self._descriptors = _descriptors()
        self._memory = _memory()

    def has_changed(self) -> bool:
        """Return whether the job left the process different; then a fresh worker must take over.

        Python's own state (module globals, patched modules, random seeds) is not looked at: it lasts in a warm worker.
        """
        if self._look() != self._quick or sys.path != self._path or _environment() != self._environment:
            return True
        self._jobs += 1
        if self._jobs % _NOW_AND_THEN:
            return False
        return (
            _descriptors() > self._descriptors + _MOST_LEAKED_DESCRIPTORS or _memory() > self._memory + _MOST_GROWTH_KB
        )

    def _look(self) -> tuple[object, ...]:
        umask = os.umask(0)
        os.umask(umask)
        try:
            folder = os.getcwd()
        except OSError:
            folder = ""
        streams = sys.stdout, sys.stderr, sys.stdin
        return (
            folder,
            umask,
            _thread._count(),  # noqa: SLF001  # threading's own count misses threads started below it
            sys.getrecursionlimit(),
            _locale.setlocale(_locale.LC_ALL),
            *map(_signal.getsignal, _HANDLERS),
            *map(id, streams),
            *[getattr(stream, "closed", True) for stream in streams],
            *map(_file_behind, range(3)),
        )


def _environment() -> dict[bytes, bytes]:
    return os.environ._data  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001  # a copy would cost 20 µs a job


def _file_behind(descriptor: int) -> tuple[int, int] | None:
    try:
        stat = os.fstat(descriptor)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
