"""The config in force for this process, for whoever queues or looks jobs up: found as queueing finds it."""

from __future__ import annotations

import os
import time

from bgjob import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.config import Config


class Configs:
    """The config in force for this process: read once, and again when its file has changed."""

    def __init__(self, path: str | None = None) -> None:
        """Read nothing yet. With a `path` that config is in force, wherever the process is."""
        self._named = path
        # Who asked (variable, working directory), the path found, its stamp, the config: one value, so never half one.
        self._held: tuple[tuple[str | None, str | None], str, tuple[int, int, int] | None, Config] | None = None

    def current(self) -> Config:
        """Return the config; raises ConfigError when there is none, or what is wrong with it."""
        asked = os.environ.get("BGJOB_CONFIG"), _working_directory()
        if self._held is not None:
            held_for, path, held_stamp, settings = self._held
            if held_for == asked and held_stamp is not None and held_stamp == _stamp(path):
                return settings
        path = self._named or config.find_config()
        stamp = _stamp(path)
        settings = config.read_config(path)
        # A file that was written a moment ago may change again within one step of the file system's clock.
        fresh = stamp is None or time.time_ns() - stamp[0] < _CLOCK_STEP_NS  # noqa: TID251  # compared with a file's time
        self._held = asked, path, None if fresh else stamp, settings
        return settings


_CLOCK_STEP_NS = 50_000_000


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    # Not the time of the last write, which `cp -p` and rsync set back.
    return stat.st_ctime_ns, stat.st_size, stat.st_ino


configs = Configs()
