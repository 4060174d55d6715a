"""Whether the file under a descriptor's number is still the one that we opened: a job may have closed it.

Linux keeps with each open file the number of a signal for O_ASYNC, which we never ask for (fcntl(2), F_SETSIG). So that
number serves as a seal: a file that comes to the descriptor later has none, another one of ours has another. To read it
takes a third of an fstat, of whose sixteen fields Python makes objects; and each job that is run asks for eight.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import signal

from bgjob import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_CAN_BE_SEALED = hasattr(fcntl, "F_SETSIG")
# Of a pipe: a job that asks for O_ASYNC on its output is sent the signal that the system would send without a seal.
PLAIN = signal.SIGIO
_GET = itertools.repeat(getattr(fcntl, "F_GETSIG", 0))
_numbers = itertools.cycle(number for number in range(1, 65) if number != PLAIN)  # signals that there are


class Seals:
    """The seals of several open files, which are looked at in one go."""

    def __init__(self, descriptors: Iterable[int]) -> None:
        """Remember what is open under these numbers. Files that are ours alone are sealed before, by `put_on`."""
        self._descriptors = [*descriptors]
        self._seals = [*map(of, self._descriptors)]

    def are_whole(self) -> bool:
        """Return whether each number still stands for its file."""
        try:  # all in one go where all are sealed; `of` is a call of Python's for each
            if _CAN_BE_SEALED and [*map(fcntl.fcntl, self._descriptors, _GET)] == self._seals:
                return True
        except OSError:
            pass
        return [*map(of, self._descriptors)] == self._seals


def put_on(descriptor: int, number: int | None = None) -> int | tuple[int, int] | None:
    """Seal an open file that is ours alone, once; return what `of` says as long as it stands there."""
    if _CAN_BE_SEALED:
        with contextlib.suppress(OSError):
            if not fcntl.fcntl(descriptor, fcntl.F_GETSIG):
                fcntl.fcntl(descriptor, fcntl.F_SETSIG, number or next(_numbers))
    return of(descriptor)


def of(descriptor: int) -> int | tuple[int, int] | None:
    """Return the seal of what is open under a number; device and inode where there is none, None if nothing is open."""
    try:
        return (_CAN_BE_SEALED and fcntl.fcntl(descriptor, fcntl.F_GETSIG)) or files.behind(descriptor)
    except OSError:
        return files.behind(descriptor)
