"""Users by name: of a number, and the one who types."""

from __future__ import annotations

import os
import pwd

_LONGEST = 200  # characters: it stands in one line with much else


def name_of(uid: int) -> str:
    """Return the name of a user, or the number where there is none, as in many a container."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def person() -> str:
    """Return who types, and where, as far as that is known: behind sudo, who called it."""
    name = os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER") or name_of(os.getuid())
    told = f"{name}@{os.uname().nodename}"
    return told.encode("utf-8", "backslashreplace").decode()[:_LONGEST]
