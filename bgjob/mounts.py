"""On which kind of file system a path lies, as the kernel tells it."""

from __future__ import annotations

import os


def kind_of(path: str) -> str | None:
    """Return the type of the file system that holds the real `path` (`ext4`, `nfs4`, …); None where nobody tells."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return None
    real = os.fsencode(os.path.realpath(path))
    deepest, kind = -1, None
    # 36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/sda1 rw (proc_pid_mountinfo(5))
    for line in lines:
        before, _, after = line.partition(b" - ")
        fields = before.split(b" ")
        if len(fields) < 5 or not after:  # noqa: PLR2004  # as above
            continue
        point = _plain(fields[4]).rstrip(b"/")
        # A later mount at the same place hides the earlier one.
        if (real == point or real.startswith(point + b"/")) and len(point) >= deepest:
            deepest, kind = len(point), after.split(b" ", 1)[0].decode("ascii", "replace")
    return kind


def _plain(field: bytes) -> bytes:
    for escaped, character in ((rb"\040", b" "), (rb"\011", b"\t"), (rb"\012", b"\n"), (rb"\134", b"\\")):
        field = field.replace(escaped, character)
    return field
