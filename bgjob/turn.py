"""A courtesy among those who write: who has waited too long for SQLite's write lock is let through first.

SQLite does not queue its writers, so one that writes again and again can keep another waiting for seconds. Whoever has
waited too long locks a file of its own beside the database, and who comes later waits until it is free again. It is
only a courtesy: nothing depends on it, and nobody waits long for a process that was stopped while it had its turn.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from bgjob import clock

# How long a writer stands back for others; and, once that was in vain, how long it doesn't ask again.
LONGEST_COURTESY = 1.0
_NO_COURTESY_FOR = 30.0
_NAP = 0.00025


class Turn:
    """This process's view of the lock file at a path, opened when it is first asked for."""

    def __init__(self, path: str) -> None:
        """Open nothing yet."""
        self._path = path
        self._file: int | None = None
        self._is_ours = False
        self._rude_until = 0.0

    def wait(self) -> None:
        """Stand back, for a second at most, while another writer has been waiting too long."""
        if self._file is None and not self._open():
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # type: ignore[arg-type]  # open, as just seen
        except OSError:
            self._stand_back()
        else:
            fcntl.flock(self._file, fcntl.LOCK_UN)  # type: ignore[arg-type]

    def _stand_back(self) -> None:
        now = clock.monotonic()
        until = now + LONGEST_COURTESY
        if now < self._rude_until:
            return
        while not self._locked(fcntl.LOCK_SH):
            if clock.monotonic() >= until:
                self._rude_until = until + _NO_COURTESY_FOR
                return
            time.sleep(_NAP)
        self._unlock()

    def take(self) -> None:
        """Let the others stand back, if nobody else has them do so already."""
        self._is_ours = self._is_ours or (self._open() and self._locked(fcntl.LOCK_EX))

    def pass_on(self) -> None:
        """Let the others go on."""
        if self._is_ours:
            self._is_ours = False
            self._unlock()

    def close(self) -> None:
        """Close the file, which also gives up the turn; closing twice is fine."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._is_ours = None, False

    def _open(self) -> bool:
        if self._file is None:
            with contextlib.suppress(OSError):
                self._file = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        return self._file is not None

    def _locked(self, how: int) -> bool:
        assert self._file is not None  # noqa: S101  # for the type checker alone
        try:
            fcntl.flock(self._file, how | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _unlock(self) -> None:
        assert self._file is not None  # noqa: S101  # for the type checker alone
        fcntl.flock(self._file, fcntl.LOCK_UN)
