"""A courtesy among writers: one at a time, so that none of them starves.

SQLite does not queue those who wait for its write lock. One that writes again and again can keep another waiting for
seconds, and their attempts in vain cost more than the writing. So before it writes, a process takes a lock of our own
beside the database; one that syncs nothing does so only after it met another writer. It is only a courtesy: nothing
depends on it, other programs don't know it, and nobody waits for long for a process that was stopped while it had its
turn. Nobody waits in the kernel, for that has no time limit without a signal or a thread, in a process not ours.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import time

from bgjob import clock, seal

# How long a writer waits for its turn; and, once that was in vain, how long it doesn't wait again.
LONGEST_WAIT = 1.0
NO_COURTESY_FOR = 30.0
# How long a writer that may try first takes turns once it has met another one.
IN_TURNS_FOR = 0.1
# At first whoever waits looks again and again, for a tenth of a millisecond: a write that syncs nothing is over sooner
# than a nap would be, and two workers that take turns would spend their time being woken.
_LOOKS = 40
# A nap is as long as a few writes, so that whoever waits hardly slows whoever writes; longer where the wait is long.
_NAP, _LONG_NAP = 0.00025, 0.01
_LONG = 0.1

_give_way = getattr(os, "sched_yield", None) or functools.partial(time.sleep, 0)

# Until when nobody waits any more, by path: each connection has a Turn of its own.
_rude_until: dict[str, float] = {}


class Turn:
    """This process's view of the lock file at a path, opened when it is first asked for.

    A lock of fcntl(2), which a fork does not inherit: what a job leaves running can't keep the turn.
    """

    def __init__(self, path: str) -> None:
        """Open nothing yet."""
        self._path = path
        self._file: int | None = None
        self._seal: int | tuple[int, int] | None = None
        self._is_ours = False
        self.tries_first = False  # whether to write at once, and ask for the turn only after that was in vain
        self._may_try_first = False
        self._tries_again_at = 0.0

    def allow_trying_first(self) -> None:
        """Say that our writing syncs nothing: nobody waits for it for long, and nearly always there is nobody else.

        The file is made all the same, for its age tells how long this queue has been in use (watch.py).
        """
        self.tries_first = self._may_try_first = True
        if self._file is None:
            self._open()

    def take(self) -> None:
        """Wait for our turn, for a second at most; then go on without it."""
        if self._may_try_first:
            self._note_meeting()
        if self._file is None or seal.of(self._file) != self._seal:
            self._open()
        self._is_ours = self._lock() or self._waited()

    def _note_meeting(self) -> None:
        """Take turns for a while after an attempt in vain: two that write again and again would be in each other's way.

        The first turn after that while is still taken; the next write tries first again.
        """
        now = clock.monotonic()
        if self.tries_first:
            self.tries_first, self._tries_again_at = False, now + IN_TURNS_FOR
        else:
            self.tries_first = now >= self._tries_again_at

    def _open(self) -> None:
        # Not closed first: if somebody else has closed it, the number may be a stranger's file by now.
        self._file = None
        flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(OSError):  # there can be no such file: then there is no courtesy
            self._file = os.open(self._path, flags, 0o666)
            self._seal = seal.put_on(self._file)

    def _lock(self) -> bool:
        """Try to take the lock; where there can be none, nobody has it."""
        if self._file is None:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EAGAIN)
        return True

    def _waited(self) -> bool:
        started = now = clock.monotonic()
        if now < _rude_until.get(self._path, 0.0):
            return False
        for _ in range(_LOOKS):
            _give_way()
            if self._lock():
                return True
        while now - started < LONGEST_WAIT:
            time.sleep(_NAP if now - started < _LONG else _LONG_NAP)
            if self._lock():
                return True
            now = clock.monotonic()
        _rude_until[self._path] = now + NO_COURTESY_FOR
        return False

    def pass_on(self) -> None:
        """Let others write."""
        if self._is_ours and self._file is not None:
            try:  # noqa: SIM105  # contextlib.suppress would take a microsecond of each job
                fcntl.lockf(self._file, fcntl.LOCK_UN)
            except OSError:
                pass  # whoever closed the file has given it back
        self._is_ours = False

    def close(self) -> None:
        """Close the file, which also ends our turn; closing twice is fine."""
        file, self._file, self._is_ours = self._file, None, False
        if file is not None and seal.of(file) == self._seal:
            os.close(file)
