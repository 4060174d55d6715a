"""What a tick leaves behind: for the next one's doorman where the database is, for people the sign that it came.

So the doorman reads no YAML. The memo holds no approvals, and is trusted only while the config's bytes are exactly
those that it was made from.
"""

from __future__ import annotations

import os
import time

_TRUSTED_FOR = 3600.0  # after that a tick takes the full way, which also keeps house

_MAGIC = b"bgjob tick memo 1\n"


def path_of(config_path: str) -> str:
    """Return where the memo for a config stands: in `storage/` beside the folder of the config."""
    folder, name = os.path.split(os.path.abspath(config_path))
    return os.path.join(os.path.dirname(folder), "storage", f".{name}.memo")


def write(config_path: str, content: bytes, *, database: str, always_start: bool) -> None:
    """Leave the memo, making `storage/` if need be; without it the next tick takes the full way."""
    path = path_of(config_path)
    text = _MAGIC + (b"always" if always_start else b"look") + b"\n" + os.fsencode(database) + b"\n" + content
    if read_bytes(path) == text:
        try:
            os.utime(path)
        except OSError:
            return
        return
    scratch = f"{path}.new"
    try:
        if not os.path.isdir(os.path.dirname(path)):
            os.mkdir(os.path.dirname(path))
        file = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            os.write(file, text)
        finally:
            os.close(file)
        os.replace(scratch, path)
    except OSError:
        return


def read(config_path: str) -> tuple[str, bool] | None:
    """Return the database's path and whether each tick must start the runner; None if the memo can't be trusted."""
    path = path_of(config_path)
    try:
        age = time.time() - os.stat(path).st_mtime  # noqa: TID251  # compared with a file's time
    except OSError:
        return None
    if not 0 <= age < _TRUSTED_FOR:
        return None
    remembered = read_bytes(path)
    content = read_bytes(config_path)
    if remembered is None or content is None or not remembered.startswith(_MAGIC):
        return None
    flag, _, rest = remembered[len(_MAGIC) :].partition(b"\n")
    database, newline, told = rest.partition(b"\n")
    if not newline or told != content or flag not in (b"always", b"look"):
        return None
    return os.fsdecode(database), flag == b"always"


def leave_sign_of_life(database: str) -> None:
    """Note that a tick came, as the time of a file beside the database; nothing is written to the database."""
    sign = f"{database}.tick"
    try:
        os.utime(sign)
    except OSError:
        try:
            os.close(os.open(sign, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666))
        except OSError:
            return


def read_bytes(path: str) -> bytes | None:
    """Return the bytes of a regular file of at most 2 MB, or None."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        data = os.read(file, _LARGEST + 1)
        return data if len(data) <= _LARGEST else None
    except OSError:
        return None
    finally:
        os.close(file)


_LARGEST = 2_000_000
