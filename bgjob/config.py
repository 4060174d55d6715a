"""The config file: where it is found, and what it says, as a value or as one error with all that is wrong with it."""

from __future__ import annotations

import os
import stat

from bgjob.config_keys import read_settings
from bgjob.config_problems import Problems
from bgjob.config_values import ClassRules, Config, RetryDelay
from bgjob.config_yaml import MOST_BYTES, read_nodes, read_text
from bgjob.errors import ConfigError

__all__ = ["ClassRules", "Config", "RetryDelay", "find_config", "parse_config", "read_config"]

PLACE = os.path.join("config", "jobs.yaml")
VARIABLE = "BGJOB_CONFIG"
SCRIPT = "background_runner.py"  # what cron starts; it stands beside the folder of the config


def find_config(explicit: str | None = None) -> str:
    """Return the absolute path of the config: `explicit`, else $BGJOB_CONFIG, else the nearest config/jobs.yaml.

    The nearest is looked for in the working directory and the folders above it. A path that is named need not exist:
    `read_config` says so. Raises ConfigError when nothing is named and nothing found.
    """
    named = explicit or os.environ.get(VARIABLE)
    try:
        if named:
            return os.path.abspath(named)
        start = os.getcwd()
    except OSError:
        problem = f"the working directory is gone, so no config can be found from it; set {VARIABLE} to its full path"
        raise ConfigError([problem]) from None
    folder = start
    while not os.path.lexists(os.path.join(folder, PLACE)):
        above = os.path.dirname(folder)
        if above == folder:
            what = f"there is no {PLACE} in {start} or a folder above it, and {VARIABLE} is not set"
            raise ConfigError([f"{what}; create one, set {VARIABLE} to its path, or pass --config"])
        folder = above
    return os.path.join(folder, PLACE)


def read_config(path: str) -> Config:
    """Return the config in the file at `path`; raises ConfigError with all that is wrong with it."""
    try:
        path = os.path.abspath(path)
        with open(path, "rb", opener=_open_at_once) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError([f"{path}: this is no regular file; put the config there, or name another path"])
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: {_why_unreadable(error)}"]) from error
    warnings: tuple[str, ...] = ()
    if mode & stat.S_IWOTH:
        warnings = (f"{path}: every user of this machine can write it, and so approve any class; chmod o-w it",)
    return parse_config(content, path, warnings=warnings)


def parse_config(content: bytes, path: str, *, warnings: tuple[str, ...] = ()) -> Config:
    """Return the config whose bytes were read from `path`; raises ConfigError with all that is wrong with them."""
    path = os.path.abspath(path)
    root = os.path.dirname(os.path.dirname(path))
    problems = Problems(path)
    settings = read_settings(read_nodes(read_text(content, problems), problems), problems)
    for key in ("database", "log_directory", "metrics_file", "report_file"):
        settings[key] = settings[key] and os.path.join(root, settings[key])
    return Config(path=path, content=content, root=root, warnings=warnings, **settings)


def _open_at_once(path: str, flags: int) -> int:
    # Without O_NONBLOCK the opening of a named pipe would wait for a writer, for ever.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _why_unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; create it, or name another with --config or BGJOB_CONFIG"
    if isinstance(error, IsADirectoryError):
        return "this is a folder; name the file in it"
    if isinstance(error, PermissionError):
        return "this user may not read it; run as its owner, or give read permission (chmod, chown)"
    return f"it can't be read ({getattr(error, 'strerror', None) or error})"
