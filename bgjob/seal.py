"""Whether the file under a descriptor's number is still the one that we opened: a job may have closed it.

Linux keeps an owner with each open file, for the signal of O_ASYNC, which we never ask for (fcntl(2), F_SETOWN). So the
number of our process serves as a seal, which a file that comes to that descriptor later does not have. To read it takes
a third of an fstat, of whose sixteen fields Python makes objects; and each job that is run asks for ten.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys

from bgjob import files

_CAN_BE_OWNED = sys.platform == "linux"


def put_on(descriptor: int) -> int | tuple[int, int] | None:
    """Seal an open file that is ours alone; return what `of` says as long as it stands there."""
    if _CAN_BE_OWNED:
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    return of(descriptor)


def of(descriptor: int) -> int | tuple[int, int] | None:
    """Return the seal of what is open under a number; device and inode where there is none, None if nothing is open."""
    try:
        return (_CAN_BE_OWNED and fcntl.fcntl(descriptor, fcntl.F_GETOWN)) or files.behind(descriptor)
    except OSError:
        return files.behind(descriptor)
