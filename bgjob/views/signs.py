"""Signs of life from outside the database: which runner lives, who holds the queue lock, whether cron runs."""

from __future__ import annotations

import fcntl
import glob
import os

from bgjob.errors import LockError
from bgjob.life import LifeFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.store.reading import ReadStore


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


def is_at_work(store: ReadStore) -> bool | None:
    """Return whether the newest runner lives and has not ended; None if this user can't tell."""
    runner = store.last_runner()
    if runner is None or runner.ended:
        return False
    alive = living(store.path, {runner.id})
    return None if alive is None else bool(alive)


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


_CRONS = {"anacron", "busybox", "cron", "crond", "cronie", "fcron", "supercronic"}


def is_cron_running() -> bool | None:
    """Return whether there is a process with the name of a cron daemon; None where processes can't be seen."""
    if not os.access("/proc/1/comm", os.R_OK):
        return None
    return any(_command(path) in _CRONS for path in glob.iglob("/proc/[0-9]*/comm"))


def _command(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:  # it has ended meanwhile
        return ""
