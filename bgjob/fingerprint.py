"""Who uses a queue: the Python, the user, the environment and the files of this process, as facts to compare.

A tick and a process that queues each leave theirs in the database, and `bgjob doctor` looks for what they don't share.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time

from bgjob import files, mounts, version

try:
    from _blake2 import blake2s  # hashlib loads OpenSSL, which costs a process that queues once 4 ms
except ImportError:
    from hashlib import blake2s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bgjob.config import Config

TICK, QUEUEING = "tick", "queueing"

is_tick = False  # set in a tick, and so in its workers: a job that queues is no side of its own


class Fingerprint:
    """The facts of one process, and a digest of those that last."""

    __slots__ = ("digest", "facts")

    def __init__(self, facts: dict[str, Any]) -> None:
        """Take the facts, all of JSON's kinds; `hashed` counts for nothing in the digest."""
        # Else a variable that differs in each process would make a row of each.
        self.digest = _hash(repr([(name, facts[name]) for name in sorted(facts) if name != "hashed"]), digits=16)
        self.facts = facts


def take(config: Config) -> Fingerprint:
    """Return the fingerprint of this process, which uses the queue of `config`."""
    return Fingerprint(
        {
            "python": sys.executable,
            "prefix": sys.prefix,
            "python_version": ".".join(map(str, sys.version_info[:3])),
            "bgjob": version.__version__,
            "bgjob_at": os.path.dirname(os.path.abspath(__file__)),
            "sqlite": sqlite3.sqlite_version,
            "uid": os.geteuid(),
            "gid": os.getegid(),
            "groups": sorted(os.getgroups()),
            "umask": _umask(),
            "zone": "/".join(time.tzname),
            "config": config.path,
            "database": config.database,
            "real_path": os.path.realpath(config.database),
            "inode": files.at(config.database),
            "filesystem": mounts.kind_of(config.database),
            "approved": approved(config),
            "on_terminal": any(_is_terminal(stream) for stream in (0, 1, 2)),
            "clear": _clear(),
            "hashed": _hashed(),
        }
    )


def approved(config: Config) -> str:
    """Return a hash of the approved classes and their methods."""
    return _hash(repr([(name, sorted(rules.methods)) for name, rules in sorted(config.classes.items())]), digits=16)


# Their values are of use to whoever compares, and no secrets.
_CLEAR = {
    "APP_ENV", "BGJOB_CONFIG", "DJANGO_SETTINGS_MODULE", "ENVIRONMENT", "FLASK_APP", "FLASK_ENV", "HOME", "LANG",
    "LANGUAGE", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR", "TZ", "VIRTUAL_ENV",
}  # fmt: skip
# They belong to a session, a shell, a unit or a request rather than to the app.
_PASSING = {
    "_", "COLORTERM", "COLUMNS", "DISPLAY", "DOCUMENT_ROOT", "HOSTNAME", "INVOCATION_ID", "JOURNAL_STREAM", "LINES",
    "LOGNAME", "LS_COLORS", "MAIL", "MAINPID", "NOTIFY_SOCKET", "OLDPWD", "PORT", "PWD", "QUERY_STRING", "SHELL",
    "SHLVL", "STY", "UNIQUE_ID", "USER", "USERNAME", "WINDOW", "WINDOWID",
}  # fmt: skip
_PASSING_PREFIXES = (
    "CONTENT_", "DBUS_", "GATEWAY_", "GPG_", "HTTP_", "LESS", "LISTEN_", "MEMORY_PRESSURE_", "PATH_", "PYTEST_",
    "REMOTE_", "REQUEST_", "SCRIPT_", "SERVER_", "SSH_", "SUDO_", "SYSTEMD_", "TERM", "TMUX", "VTE_", "WATCHDOG_",
    "XDG_",
)  # fmt: skip
_MOST_NAMES = 300
_LONGEST_VALUE = 2_000


def _clear() -> dict[str, str]:
    return {name: value[:_LONGEST_VALUE] for name, value in sorted(os.environ.items()) if _is_clear(name)}


def _is_clear(name: str) -> bool:
    return name in _CLEAR or name.startswith("LC_")


def _hashed() -> dict[str, str]:
    """Return four digits for the value of each variable: they tell two values apart, and are too few to find one by."""
    lasting = [
        name
        for name in sorted(os.environ)
        if not _is_clear(name) and name not in _PASSING and not name.startswith(_PASSING_PREFIXES)
    ]
    return {name[:_LONGEST_VALUE]: _hash(os.environ[name], digits=4) for name in lasting[:_MOST_NAMES]}


def _hash(text: str, *, digits: int) -> str:
    hashed: str = blake2s(text.encode("utf-8", "surrogateescape"), digest_size=digits // 2).hexdigest()
    return hashed


def _umask() -> str | None:
    """Return the umask; from the kernel, since to ask the system for it means to set it, under other threads' feet."""
    try:
        with open("/proc/self/status", "rb") as status:
            lines = status.read(400).split(b"\n")
    except OSError:
        return None
    return next((line.split()[1].decode() for line in lines if line.startswith(b"Umask:")), None)


def _is_terminal(stream: int) -> bool:
    try:
        return os.isatty(stream)
    except OSError:
        return False
