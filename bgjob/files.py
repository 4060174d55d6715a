"""Which file is meant: at a path, behind a descriptor, in a URI of SQLite's; and how one is replaced."""

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


def replace(path: str, content: bytes) -> None:
    """Write a file in one step for whoever reads it; until then it has a name that nobody looks for."""
    scratch = f"{path}.{os.getpid()}.new"
    _remove(scratch)
    try:
        file = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            while content:
                content = content[os.write(file, content) :]
        finally:
            os.close(file)
        os.replace(scratch, path)
    except OSError as error:
        _remove(scratch)
        raise OSError(error.errno, error.strerror, path) from error  # the other name means nothing to anybody


def _remove(path: str) -> None:
    try:  # noqa: SIM105  # each idle tick loads this module, and contextlib with it otherwise
        os.unlink(path)
    except OSError:
        pass
