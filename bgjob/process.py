"""Who a process is, beyond its number, and how to be sure that all of its process group is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from bgjob import clock

# A process is known by its number, its start time and the boot it belongs to: numbers alone are used again.


def identity(pid: int) -> str:
    """Return `pid start boot` for a process; the last two are `0` and `-` where the system does not tell."""
    return f"{pid} {_started(pid) or 0} {_boot_id()}"


def is_alive(who: str) -> bool:
    """Return whether the very process `who` (an identity) still runs; False where the system does not tell."""
    pid = _pid_in(who)
    if pid is None or who.split()[2] != _boot_id():
        return False
    fields = _stat(pid)
    return fields is not None and fields[19] == who.split()[1] and _runs(fields)


def exit_code(child: int) -> int | None:
    """Return how a child of ours ended (negative: the signal), or None if it runs; it must still be waited for."""
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def death(code: int) -> str:
    """Return in words how a process ended, given its exit code (negative: the signal)."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name} (signal {-code})"
        return f"was killed by signal {-code}"
    return f"ended itself with exit code {code}"


def end_group(who: str, *, wait: float) -> bool:
    """Kill the process group led by the worker `who` (an identity); return whether all of it is gone by `wait` s.

    A group whose leader is not the process that was meant is left alone: the number is in use again, which the kernel
    allows only when nothing of the old group is left.
    """
    leader = _pid_in(who)
    if leader is None:
        return True
    started, boot_id = who.split()[1:]
    if boot_id != _boot_id() or (_started(leader) or started) not in (started, "0"):
        return True
    with contextlib.suppress(OSError):
        os.kill(leader, signal.SIGKILL)  # it may have left its group
    return kill_group(leader, wait=wait) and not _runs(_stat(leader))


def kill_group(leader: int, *, wait: float) -> bool:
    """Send SIGKILL to a process group and wait up to `wait` seconds until nothing of it runs any more."""
    deadline = clock.monotonic() + wait
    while True:
        with contextlib.suppress(OSError):
            os.killpg(leader, signal.SIGKILL)
        if not _group_runs(leader):
            return True
        if clock.monotonic() >= deadline:
            return False
        time.sleep(0.005)


def _pid_in(who: str) -> int | None:
    """Return the process number of an identity, or None for a text that is none (another program wrote it)."""
    parts = who.split() if type(who) is str else []
    if len(parts) != 3 or not (parts[0].isascii() and parts[0].isdigit()):  # noqa: PLR2004  # pid, start, boot
        return None
    pid = int(parts[0])
    return pid if 1 < pid < 2**31 and pid != os.getpgrp() else None


def _group_runs(leader: int) -> bool:
    """Return whether a process of the group still runs; a zombie runs no more."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if not os.path.isdir("/proc/self"):
        return True
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat(int(name))
            if fields and int(fields[2]) == leader and _runs(fields):
                return True
    return False


def _runs(fields: list[str] | None) -> bool:
    return fields is not None and fields[0] not in ("Z", "X")


def _started(pid: int) -> str | None:
    fields = _stat(pid)
    return fields[19] if fields else None


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third (the state) on; see proc(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            text = stat.read().decode("ascii", "replace")
    except OSError:
        return None
    # The second field is the program's name in brackets and may hold blanks and brackets itself.
    return text.rpartition(")")[2].split()


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
            return boot.read().strip()
    except OSError:
        return "-"
