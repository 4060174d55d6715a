"""A courtesy among writers: one at a time, so that none of them starves.

SQLite does not queue those who wait for its write lock. One that writes again and again can keep another waiting for
seconds, and their attempts in vain cost more than the writing. So before it writes, a process takes a lock of our own
beside the database. It is only a courtesy: nothing depends on it, other programs don't know it, and nobody waits for
long for a process that was stopped while it had its turn.
"""

from __future__ import annotations

import fcntl
import os
import time

from bgjob import clock

# How long a writer waits for its turn; and, once that was in vain, how long it doesn't wait again.
LONGEST_WAIT = 1.0
NO_COURTESY_FOR = 30.0
# A nap is as long as a few writes, so that whoever waits hardly slows whoever writes; longer where the wait is long.
_NAP, _LONG_NAP = 0.00025, 0.01
_LONG = 0.1

_TAKE = fcntl.LOCK_EX | fcntl.LOCK_NB


class Turn:
    """This process's view of the lock file at a path, opened when it is first asked for."""

    def __init__(self, path: str) -> None:
        """Open nothing yet."""
        self._path = path
        self._file: int | None = None
        self._is_ours = False
        self._rude_until = 0.0

    def take(self) -> None:
        """Wait for our turn, for a second at most; then go on without it."""
        try:
            if self._file is None:
                self._file = os.open(
                    self._path, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
                )
            fcntl.flock(self._file, _TAKE)
            self._is_ours = True
        except BlockingIOError:
            self._is_ours = self._waited()
        except OSError:
            pass  # there is no such file, and can be none

    def _waited(self) -> bool:
        assert self._file is not None  # noqa: S101  # for the type checker alone
        started = now = clock.monotonic()
        if now < self._rude_until:
            return False
        while now - started < LONGEST_WAIT:
            time.sleep(_NAP if now - started < _LONG else _LONG_NAP)
            try:
                fcntl.flock(self._file, _TAKE)
            except BlockingIOError:
                now = clock.monotonic()
            else:
                return True
        self._rude_until = now + NO_COURTESY_FOR
        return False

    def pass_on(self) -> None:
        """Let others write."""
        if self._is_ours:
            self._is_ours = False
            fcntl.flock(self._file, fcntl.LOCK_UN)  # type: ignore[arg-type]  # ours, so open

    def close(self) -> None:
        """Close the file, which also ends our turn; closing twice is fine."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._is_ours = None, False
