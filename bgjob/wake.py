"""The FIFO by which whoever queues a job wakes the runner: the kernel does the waiting, nobody polls.

A ping is a hint. A lost one costs at most the second until the runner's next look, a doubled one costs a look.
"""

from __future__ import annotations

import contextlib
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def path_of(database: str) -> str:
    """Return where the FIFO of a database (its real path) stands."""
    return f"{database}.wake"


def ping(database: str) -> None:
    """Wake the runner of a database, if one is listening; never waits and never fails."""
    path = path_of(database)
    try:
        listener = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # nobody listens
    with contextlib.suppress(OSError):
        try:
            if stat.S_ISFIFO(os.fstat(listener).st_mode):
                with _held_open(database):
                    os.write(listener, b".")
        finally:
            os.close(listener)


@contextlib.contextmanager
def _held_open(database: str) -> Iterator[None]:
    # With a reading end of our own the write can't raise SIGPIPE, which would kill a program that does not ignore it.
    end = os.open(path_of(database), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield
    finally:
        os.close(end)


class Ear:
    """The runner's end of the FIFO."""

    def __init__(self, database: str) -> None:
        """Listen for pings, making the FIFO if need be; where there can be none, we look each second."""
        self.file: int | None = None
        path = path_of(database)
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, 0o666)
            # Opened for both: with a writer of our own the FIFO never reports the end of a file.
            file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            if stat.S_ISFIFO(os.fstat(file).st_mode):
                self.file = file
            else:
                os.close(file)

    def drain(self) -> None:
        """Take all pings that have come."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                os.read(self.file, 65_536)

    def close(self) -> None:
        """Listen no more."""
        if self.file is not None:
            os.close(self.file)
            self.file = None
