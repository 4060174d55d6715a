"""What cron or systemd is to start each minute: folder, interpreter and config, by absolute paths that last."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from bgjob import users
from bgjob.cli.exits import NoMatchError
from bgjob.config import PLACE, SCRIPT, VARIABLE
from bgjob.console import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.config import Config


class TickCommand(NamedTuple):
    """How a tick of one project is started."""

    root: str
    python: str
    config: str  # empty where the runner finds it by itself

    @property
    def name(self) -> str:
        """What tells this project from the others of the same user."""
        return project_name(self.root, self.config)

    @property
    def variables(self) -> dict[str, str]:
        """What must stand in the environment of the tick."""
        return {VARIABLE: self.config} if self.config else {}


def owner(command: TickCommand, config: Config) -> str:
    """Return whose the project's database is, or the folder while there is none; empty if that is this user."""
    place = config.database if os.path.exists(config.database) else command.root
    found = os.stat(place).st_uid
    return "" if found == os.getuid() else users.name_of(found)


def project_name(root: str, config: str) -> str:
    """Return the folder, or the config where that is not the one that belongs to the folder."""
    return config or root


def place_of(config_path: str) -> tuple[str, str]:
    """Return the folder above `config/` as the user sees it, and the config's path unless it is the folder's own."""
    physical = os.path.dirname(os.path.dirname(os.path.abspath(config_path)))
    root = _as_entered(physical)
    is_own = os.path.abspath(config_path) == os.path.join(physical, PLACE)
    return root, "" if is_own else os.path.join(root, os.path.relpath(config_path, physical))


def _as_entered(folder: str) -> str:
    """Return `folder` through the links by which the shell came here: /srv/app/current outlives releases/42."""
    entered = os.environ.get("PWD", "")
    try:
        seen = os.path.normpath(os.path.join(entered, os.path.relpath(folder, os.getcwd())))
        return seen if os.path.isabs(seen) and os.path.samefile(seen, folder) else folder
    except OSError:
        return folder


def tick_command(config_path: str) -> TickCommand:
    """Return how a tick of the project with this config is started; NoMatchError when that can't be."""
    root, config = place_of(config_path)
    if not os.path.isfile(os.path.join(root, SCRIPT)):
        raise NoMatchError(f"there is no {SCRIPT} in {root}; bgjob init makes one")
    if not sys.executable:
        raise NoMatchError("Python does not know its own path; start bgjob by its full path")
    real = os.path.realpath(root)
    # Not resolved: the link in .venv/bin is what makes Python use that environment.
    python = os.path.abspath(sys.executable)
    if python.startswith(f"{real}/"):
        python = root + python[len(real) :]
    for path in (root, python, config):
        # A backslash means something else in each of the crons; a line break ends their line.
        if any(letter < " " or letter in "\\\x7f" for letter in path):
            raise NoMatchError(f"cron can't start what has a backslash or a line break in its path: {shown(path)}")
    return TickCommand(root=root, python=python, config=config)
