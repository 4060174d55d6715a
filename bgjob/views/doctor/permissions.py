"""Who may write what: the config, the database with all that stands beside it, the logs."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import stat

from bgjob import logs, memo, users
from bgjob.views.doctor.finding import PROBLEM, WARNING, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgjob.views.doctor.finding import Case, Side


def config_is_protected(case: Case) -> Iterator[Finding]:
    """Not everybody can change what is approved."""
    for warning in case.config.warnings:
        yield Finding(WARNING, warning, f"chmod o-w {shlex.quote(case.config.path)}")


_BESIDE = ("", "-wal", "-shm", ".lock", ".life", ".turn", ".wake", ".tick")


def files_can_be_written(case: Case) -> Iterator[Finding]:
    """Those who queue, the ticks, and this user may write all that they must."""
    database = case.database
    kept = os.path.dirname(database), os.path.dirname(memo.path_of(case.config.path)), case.config.log_directory
    folders = [folder for folder in dict.fromkeys(kept) if os.path.isdir(folder)]
    # An admin who only looks need not be able to write.
    if os.geteuid() in {_identity(side)[0] for side in case.sides()} or not case.ticks:
        for folder in folders:
            yield from _try_folder(folder)
    rotated = [os.path.join(case.config.log_directory, name) for name in (logs.MAIN, logs.ERRORS)]
    paths = [*folders, *(database + ending for ending in _BESIDE), *rotated]
    for path in paths:
        yield from _refused(path, case)


def _try_folder(folder: str) -> Iterator[Finding]:
    """Make a file in the folder, and remove it: permission bits do not tell of read-only mounts and the like."""
    scratch = os.path.join(folder, f".bgjob-doctor-{secrets.token_hex(8)}")
    try:
        os.close(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        what = f"{users.name_of(os.geteuid())} can't make a file in {folder} ({error.strerror})"
        yield Finding(PROBLEM, what, _chown(folder, os.geteuid()))
        return
    with contextlib.suppress(OSError):
        os.unlink(scratch)


def _refused(path: str, case: Case) -> Iterator[Finding]:
    try:
        found = os.stat(path)
    except OSError:
        return
    told = set()
    us = (os.geteuid(), [os.getegid(), *os.getgroups()])
    for uid, groups in [_identity(side) for side in case.sides()] or [us]:
        if uid in told or _may_write(path, found, uid, groups):
            continue
        told.add(uid)
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        what = (
            f"{users.name_of(uid)} may not write {path}, which belongs to {users.name_of(found.st_uid)} (mode {mode})"
        )
        yield Finding(PROBLEM, what, _chown(path, uid))


def _identity(side: Side) -> tuple[int, list[int]]:
    facts = side.facts
    return int(facts.get("uid", 0)), [int(facts.get("gid", -1)), *map(int, facts.get("groups") or [])]


def _may_write(path: str, found: os.stat_result, uid: int, groups: list[int]) -> bool:
    wanted = 0o3 if stat.S_ISDIR(found.st_mode) else 0o2
    if uid == 0 or _has_access_list(path):
        return True
    if found.st_uid == uid:
        return (found.st_mode >> 6) & wanted == wanted
    if found.st_gid in groups:
        return (found.st_mode >> 3) & wanted == wanted
    return found.st_mode & wanted == wanted


def _has_access_list(path: str) -> bool:
    """Return whether more than the mode tells who may write."""
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except (OSError, AttributeError):  # the latter where it is not Linux
        return False


def _chown(path: str, uid: int) -> str:
    return f"chown {users.name_of(uid)} {shlex.quote(path)}, and queue and run as that user alone"
