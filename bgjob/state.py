"""What a job may have changed of its worker's process: looked at after each job, in microseconds."""

from __future__ import annotations

import _locale
import _signal  # type: ignore[import-not-found]  # signal.getsignal turns each handler into an enum, 4 µs a time
import _thread
import operator
import os
import resource
import signal
import sys
from functools import partial

from bgjob.seal import Seals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_HANDLERS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGALRM)
_TIMERS = (signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)  # the real one is our own, and set back after each job
_LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU)
_PAGE_KB = resource.getpagesize() // 1024
_NOW_AND_THEN = 64  # a dearer look is taken once in so many jobs
_MOST_LEAKED_DESCRIPTORS = 64
_MOST_GROWTH_KB = 256 * 1024


class ProcessState:
    """The process as it was when the worker was ready for its first job."""

    def __init__(self) -> None:
        """Take the picture that later ones are compared with."""
        self._jobs = 0
        self._streams = sys.stdin, sys.stdout, sys.stderr
        self._path = list(sys.path)
        self._environ = os.environ
        self._environment = dict(_environment())
        # The umask can only be read by setting it. To set what it was takes one call.
        restored_umask: Callable[[], object] = partial(os.umask, _umask())
        self._probes = (*_PROBES, restored_umask)
        self._picture: list[object] = [*map(operator.call, self._probes)]
        self._files_of_streams = Seals(range(3))
        self._handlers = [*map(_signal.getsignal, _HANDLERS)]
        self._lowest_free = _lowest_free_descriptor()
        self._memory = _memory()

    def has_changed(self) -> bool:
        """Return whether the job left the process different; then a fresh worker must take over.

        Python's own state (module globals, patched modules, random seeds) is not looked at: it lasts in a warm worker.
        What the job put in the place of something is compared by identity, for to ask it anything would run its code.
        """
        try:
            return self._is_different()
        except BaseException:  # noqa: BLE001  # the job may have deleted or replaced whatever we look at
            return True

    def _is_different(self) -> bool:
        if (
            not all(map(operator.is_, (sys.stdin, sys.stdout, sys.stderr), self._streams))
            or sys.stdin.closed
            or sys.stdout.closed
            or sys.stderr.closed
            or type(sys.path) is not list
            or len(sys.path) != len(self._path)
            or not all(map(operator.is_, sys.path, self._path))
            or os.environ is not self._environ
            or _environment() != self._environment
            or [*map(operator.call, self._probes)] != self._picture
            or not self._files_of_streams.are_whole()
            or not all(map(operator.is_, map(_signal.getsignal, _HANDLERS), self._handlers))
            or _has_children()
            or _lowest_free_descriptor() > self._lowest_free + _MOST_LEAKED_DESCRIPTORS
        ):
            return True
        self._jobs += 1
        return self._jobs % _NOW_AND_THEN == 0 and _memory() > self._memory + _MOST_GROWTH_KB


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


# Bound once, and called without a line of Python between: these calls are a good part of what a small job costs.
_PROBES: tuple[Callable[[], object], ...] = (
    _folder,
    _thread._count,  # noqa: SLF001  # threading's own count misses threads started below it
    sys.getrecursionlimit,
    sys.get_int_max_str_digits,
    os.getresuid,
    os.getresgid,
    os.getpgrp,
    partial(os.getpriority, os.PRIO_PROCESS, 0),
    partial(_locale.setlocale, _locale.LC_ALL),
    partial(_signal.pthread_sigmask, _signal.SIG_BLOCK, ()),
    *(partial(_signal.getitimer, timer) for timer in _TIMERS),
    *(partial(resource.getrlimit, limit) for limit in _LIMITS),
)


def _environment() -> dict[bytes, bytes]:
    return os.environ._data  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001  # a copy would cost 20 µs a job


def _has_children() -> bool:
    """Return whether the job left a child, which could go on printing into the next job's record."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _lowest_free_descriptor() -> int:
    lowest = os.dup(0)
    os.close(lowest)
    return lowest


def _memory() -> int:
    """Return the resident memory in KB; its peak where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE_KB
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
