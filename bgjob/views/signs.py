"""Signs of life from outside the database: when a tick came, which runner lives, who holds the queue lock."""

from __future__ import annotations

import datetime as dt
import fcntl
import os

from bgjob.errors import LockError
from bgjob.life import LifeFile


def last_tick(database: str) -> dt.datetime | None:
    """Return when the last tick came, or None if none ever did; each leaves its time on a file."""
    try:
        return dt.datetime.fromtimestamp(os.stat(f"{database}.tick").st_mtime, dt.UTC)
    except (OSError, ValueError, OverflowError):
        return None


def living(database: str, runners: set[int]) -> set[int] | None:
    """Return which of these runners live; None if this user can't tell."""
    path = f"{database}.life"
    if not runners or not os.path.exists(path):
        return set()
    try:
        life = LifeFile(path)
    except LockError:
        return None
    try:
        return {number for number in runners if life.is_held(number)}
    except LockError:
        return None
    finally:
        life.close()


def is_lock_held(database: str) -> bool:
    """Return whether somebody holds the queue lock.

    Found out by trying, as the doorman does: a tick that is turned away in this moment tries again for two seconds.
    """
    try:
        lock = os.open(f"{database}.lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def lock_holder(database: str) -> int | None:
    """Return the process that holds the queue lock, from the kernel's list; None where it does not tell (not Linux)."""
    try:
        inode = str(os.stat(f"{database}.lock").st_ino)
        with open("/proc/locks", encoding="ascii") as locks:
            lines = [line.split() for line in locks]
    except (OSError, ValueError):
        return None
    # 12: FLOCK  ADVISORY  WRITE 4242 fe:01:262147 0 EOF
    for line in lines:
        if len(line) > _INODE and line[1] == "FLOCK" and line[_INODE].rpartition(":")[2] == inode:
            return int(line[4]) if line[4].isdigit() else None
    return None


_INODE = 5
