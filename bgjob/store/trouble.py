"""What SQLite's errors mean for whoever queues or runs jobs, and the way out of each."""

from __future__ import annotations

import errno
import os
import sqlite3

from bgjob.errors import DatabaseBusyError, ForeignDatabaseError, StoreError

# https://sqlite.org/rescode.html
_BUSY_CODES = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,  # so many processes that SQLite gave up on the start of a read
)
_MEANINGS: dict[int | None, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_NOTADB: (
        ForeignDatabaseError,
        "it is no SQLite database; move it away or set another `database:` in the config",
    ),
    sqlite3.SQLITE_CORRUPT: (
        StoreError,
        "the file is damaged; stop all that uses it, keep a copy, and restore a backup or run `sqlite3 FILE .recover`",
    ),
    sqlite3.SQLITE_FULL: (
        StoreError,
        "the disk is full; nothing was written. Free some space; the queue then goes on by itself",
    ),
    sqlite3.SQLITE_IOERR: (
        StoreError,
        "the disk is failing or full, or the database was deleted while a program had it open; then restart that one",
    ),
    **dict.fromkeys(_BUSY_CODES, (DatabaseBusyError, "it is locked by another process")),
}
_DISK_CODES = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
)
_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
_NO_SHARED_MEMORY = (sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP)
_UNUSABLE_CODES = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


def explained(error: Exception, path: str) -> StoreError:
    """Return our error for one of SQLite or of the operating system, met while using the file at `path`."""
    text = f"{error}, {error.sqlite_errorname}" if hasattr(error, "sqlite_errorname") else str(error)
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in _MEANINGS:
        kind, meaning = _MEANINGS[primary]
        return kind(f"{path}: {meaning} ({text})")
    if isinstance(error, OSError) and error.errno not in _PERMISSION:
        return StoreError(f"{path} can't be used: {text}")
    if primary in _UNUSABLE_CODES or isinstance(error, OSError):
        return StoreError(f"{path} can't be used ({text}){_remedy(path)}")
    return StoreError(f"{path}: {text}")


def _remedy(path: str) -> str:
    """Say what stands in the way, or who owns the place and who we are: the usual cause is two users."""
    place = path
    while not os.path.exists(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    if os.path.isdir(path) or (place != path and not os.path.isdir(place)):
        kind = "a folder" if os.path.isdir(place) else "no folder"
        return f"; {place} is {kind}: move it away, or set another `database:` in the config"
    try:
        owner = os.stat(place).st_uid
        is_read_only = os.statvfs(place).f_flag & os.ST_RDONLY
    except OSError:
        return ""
    if is_read_only:
        return f"; {place} lies on a read-only file system: remount it (and look why it became so: dmesg)"
    return (
        f"; {place} belongs to user {owner}, this process runs as user {os.geteuid()}. Queue and run as the same user, "
        "or give both write permission to the file and its folder"
    )


def is_of_the_place(error: sqlite3.OperationalError) -> bool:
    """Return whether the place lets nobody write, or has no room for the file through which memory is shared."""
    code = getattr(error, "sqlite_errorcode", 0)
    return (code & 0xFF) in _UNUSABLE_CODES or code in _NO_SHARED_MEMORY


def is_of_the_disk(error: sqlite3.Error) -> bool:
    """Return whether the disk is full or fails, rather than the file system being unable to share memory for a WAL."""
    return getattr(error, "sqlite_errorcode", None) in _DISK_CODES


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Return whether another connection holds what was asked for, so that asking again may help."""
    code = getattr(error, "sqlite_errorcode", 0)
    return (code & 0xFF) in _BUSY_CODES
