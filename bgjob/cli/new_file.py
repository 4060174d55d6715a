"""A file is made whole where there is none; what is there already is never touched."""

from __future__ import annotations

import os

from bgjob.errors import BgjobError


def make(path: str, text: str) -> bool:
    """Write a file and the folders above it; return False if something of that name is there already.

    A link that leads nowhere counts as there: O_EXCL does not follow it. Raises BgjobError where it can't be written.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # As any program would make it: the umask says who may read it.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError as error:
        if error.filename == path:
            return False
        raise BgjobError(f"{error.filename} is there and no folder, so {path} can't be made") from None
    except NotADirectoryError:
        raise BgjobError(f"{path} can't be made: a part of its path is no folder") from None
    except OSError as error:
        raise BgjobError(f"{path} can't be made: {error.strerror or error}") from None
    try:
        with open(file, "w", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        os.unlink(path)  # half a file would be kept by the next try
        raise BgjobError(f"{path} can't be written: {error.strerror or error}") from None
    return True
