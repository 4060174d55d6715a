"""How a freshly forked process becomes one that jobs can run in."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import random
import resource
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from bgjob.output import Capture

_PR_SET_PDEATHSIG = 1


def become_child(runner_pid: int, capture: Capture | None, *, keep: set[int]) -> None:
    """Turn a freshly forked process into one that jobs can run in.

    It is alone in its process group, does not outlive its runner, and has no open files but its own (`keep`).
    """
    os.setpgid(0, 0)
    _die_with(runner_pid)
    close_all_but(keep)
    # Whoever started the runner may have blocked signals, and with them the time-out.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A core dump of a crashed job can take seconds.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if capture:
        capture.worker_side()
        sys.stdin, sys.stdout, sys.stderr = _text(0, "r"), _text(1, "w"), _text(2, "w")
        # A job that writes to the original streams means these.
        vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)
    # What the runner loaded stays as it is: the collector need not walk (and so copy) those pages in each child.
    gc.freeze()
    random.seed()


def _text(descriptor: int, mode: str) -> TextIO:
    # Line by line, so that a crash loses no line; never an error for a character that can't be encoded.
    return open(descriptor, mode, encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # type: ignore[return-value]  # lives as long as the process


def close_all_but(keep: set[int]) -> None:
    """Close what was inherited: the runner's files, and those of whoever started the runner (a lock of the user's)."""
    try:
        files = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        files = list(range(3, 256))
    for file in files:
        if file > 2 and file not in keep:  # noqa: PLR2004  # standard error
            with contextlib.suppress(OSError):
                os.close(file)


def _die_with(runner_pid: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != runner_pid:
        os._exit(1)


@contextlib.contextmanager
def memory_limited_to(size: int) -> Iterator[None]:
    """Limit the address space of this process to `size` bytes while the block runs; children inherit the limit."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = size if before[1] == resource.RLIM_INFINITY else min(size, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        # A job that lowered the hard limit leaves a worker that can't raise it again; it is then replaced.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, before)
