"""The disk: is there room, and do the files have their usual sizes."""

from __future__ import annotations

import os
import shlex

from bgjob import logs
from bgjob.views.doctor.finding import PROBLEM, WARNING, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgjob.views.doctor.finding import Case

_MB = 1024 * 1024
_LITTLE, _TOO_LITTLE = 200 * _MB, 20 * _MB
_FEW_FILES = 500


def disk_has_room(case: Case) -> Iterator[Finding]:
    """There is room for more jobs and logs."""
    seen = set()
    for folder in (os.path.dirname(case.database), case.config.log_directory):
        there = _nearest(folder)
        device = os.stat(there).st_dev
        if device in seen:
            continue
        seen.add(device)
        room = os.statvfs(there)
        free = room.f_bavail * room.f_frsize
        if free < _LITTLE:
            what = f"the disk of {there} has {free // _MB} MB left: when it is full, nothing can be queued or logged"
            mend = "free some space; bgjob prune makes room within the database, but leaves the file as long as it is"
            yield Finding(PROBLEM if free < _TOO_LITTLE else WARNING, what, mend)
        if room.f_files and room.f_favail < _FEW_FILES:
            what = f"the disk of {there} has room for {room.f_favail} more files, however small"
            yield Finding(WARNING, what, "remove files that nobody needs (caches, sessions)")


def _nearest(folder: str) -> str:
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


_LARGE_WAL = 64 * _MB


def files_have_usual_sizes(case: Case) -> Iterator[Finding]:
    """The logs are rotated, and the write-ahead log is brought back."""
    for name in (logs.MAIN, logs.ERRORS):
        path = os.path.join(case.config.log_directory, name)
        size = _size(path)
        if size > max(2 * case.config.log_max_size, case.config.log_max_size + 8 * _MB):
            what = f"{path} has {size // _MB or 1} MB, though `log_max_size` is {case.config.log_max_size // _MB} MB"
            mend = f"let the ticks' user rename files in {case.config.log_directory}: the runner rotates its logs there"
            yield Finding(WARNING, what, mend)
    wal = case.database + "-wal"
    if _size(wal) > _LARGE_WAL:
        what = f"{wal} has grown to {_size(wal) // _MB} MB: some program keeps a read transaction open on the database"
        yield Finding(WARNING, what, f"find it (fuser -v {shlex.quote(wal)}) and let it end its transaction")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
