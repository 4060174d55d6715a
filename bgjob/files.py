"""Which file is meant: the one at a path, the one behind a descriptor, and a path as SQLite's URI wants it."""

from __future__ import annotations

import os


def at(path: str) -> tuple[int, int] | None:
    """Return device and inode of the file at `path`, or None."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def behind(descriptor: int) -> tuple[int, int] | None:
    """Return device and inode of the file that is open under a number, or None."""
    try:
        stat = os.fstat(descriptor)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def quoted(path: str) -> str:
    """Return `path` with the characters escaped that mean something in a URI (https://sqlite.org/uri.html)."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
