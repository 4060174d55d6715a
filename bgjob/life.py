"""The life file (`<db>.life`), in which each runner shows that it lives.

It holds one locked byte for each living runner: asking who lives has no side effect, a forked child does not inherit
the lock, and any death frees it. Apart from the queue lock, so that the doorman can ask without importing filelock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys

from bgjob.errors import LockError

# Byte 0 is held by the newcomer that waits for the queue; byte n by the runner with the number n while it lives.
NEXT_IN_LINE = 0


class LifeFile:
    """The bytes that tell which runners live. One object for each process: closing a second one frees the locks."""

    def __init__(self, path: str) -> None:
        """Open the file at `path`, making it if need be; raises LockError if it can't be used."""
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        except OSError as error:
            raise unusable(path, error) from error

    def hold(self, number: int) -> bool:
        """Lock byte `number` for this process; return False if another process has it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise unusable(self.path, error) from error
        return True

    def free(self, number: int) -> None:
        """Unlock byte `number`."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    def is_held(self, number: int) -> bool:
        """Return whether another living process holds byte `number`; our own bytes don't count."""
        if type(number) is not int or not 0 <= number < _LARGEST_OFFSET:
            return False
        asked = _pack(fcntl.F_WRLCK, number)
        try:
            answer = fcntl.fcntl(self._file, fcntl.F_GETLK, asked)
        except OSError as error:
            raise unusable(self.path, error) from error
        return _type_of(answer) != fcntl.F_UNLCK

    def close(self) -> None:
        """Close the file; all our bytes are free then."""
        os.close(self._file)


_LARGEST_OFFSET = 2**62

# struct flock: Linux puts type and whence first, the BSDs and macOS last.
_LINUX = sys.platform.startswith("linux")


def _pack(kind: int, start: int) -> bytes:
    if _LINUX:
        return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, 1, 0)
    return struct.pack("qqihh", start, 1, 0, kind, os.SEEK_SET)


def _type_of(answer: bytes) -> int:
    kind: int = struct.unpack("hhqqi4x", answer)[0] if _LINUX else struct.unpack("qqihh", answer)[3]
    return kind


def unusable(path: str, error: Exception) -> LockError:
    """Return the error for a lock or life file that can't be used, with the reason and the way out."""
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        reason = "it is a symbolic link, which a lock must not be; remove the link"
    elif os.path.isdir(path):
        reason = "it is a folder; move it away"
    elif isinstance(error, PermissionError):
        reason = (
            f"{error.strerror or error}; this process runs as user {os.geteuid()}. Run as the user who owns the file, "
            "or give that user write permission to the file and its folder"
        )
    else:
        reason = str(error)
    return LockError(f"the lock file {path} can't be used: {reason}")
