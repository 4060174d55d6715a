"""One command that starts ticks, taken apart as a shell would, but leniently."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
from typing import NamedTuple

from bgjob.config import PLACE, SCRIPT, VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SETTING = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(.*)")

_CRON_PATH = "/usr/bin:/bin"


class Start(NamedTuple):
    """One line that starts ticks, taken apart."""

    where: str  # which crontab or unit
    line: str  # the command as it is written
    user: str
    folder: str  # where the command starts the script
    python: str  # as it is written; empty where the script or `bgjob` itself is started
    script: str  # as it is written
    config: str  # the config that its ticks take, absolute
    variables: dict[str, str]  # the environment that the line sees, and no other
    is_plain: bool  # nothing else in the line can change the environment
    starters: tuple[str, ...] = ()  # what stands before the Python, such as `flock -n /tmp/lock`

    def program(self) -> str:
        """Return the path of what is started, as cron finds it; empty where it does not."""
        named = self.python or self.script
        if "/" in named:
            return os.path.join(self.folder, named)
        return shutil.which(named, path=self.variables.get("PATH", _CRON_PATH)) or ""


def environment_of(user: str | None = None) -> dict[str, str]:
    """Return the environment in which cron starts the commands of a user (by default of this one)."""
    try:
        entry = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
        name, home = entry.pw_name, entry.pw_dir
    except KeyError:
        name, home = user or str(os.geteuid()), "/"
    return {"HOME": home, "LOGNAME": name, "SHELL": "/bin/sh", "PATH": _CRON_PATH}


def taken_apart(command: str, *, where: str, user: str, folder: str, variables: dict[str, str]) -> Start | None:
    """Return what a shell command starts, if that is a tick."""
    is_plain = True
    for words in _simple_commands(command):
        variables, words = _assigned(variables, words)  # noqa: PLW2901  # what is left of them
        if not words:
            continue
        place = next((place for place, word in enumerate(words) if _starts_ticks(words, place)), None)
        if place is None:
            if words[0] == "cd" and len(words) > 1:
                folder = os.path.join(folder, _expanded(words[-1], variables))
            elif words[0] not in ("umask", "exec", "nice", "ulimit", "["):
                is_plain = False
            continue
        before = next((at for at, word in enumerate(words[:place]) if "python" in os.path.basename(word)), None)
        script = _expanded(words[place], variables)
        return Start(
            where=where,
            line=command,
            user=user,
            folder=folder,
            python=_expanded(words[before], variables) if before is not None else "",
            script=script,
            config=_config(words[place + 1 :], folder, script, variables),
            variables=variables,
            is_plain=is_plain,
            starters=tuple(words[: place if before is None else before]),
        )
    return None


def _starts_ticks(words: list[str], place: int) -> bool:
    name = os.path.basename(words[place])
    return name == SCRIPT or (name == "bgjob" and "run" in words[place + 1 :])


def _simple_commands(command: str) -> Iterator[list[str]]:
    words: list[str] = []
    for word in words_of(command):
        if word and set(word) <= set("&|;()<>"):
            yield words
            words = []
        else:
            words.append(word)
    yield words


def words_of(command: str) -> list[str]:
    """Return the words and operators of a shell command; never an error."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:  # a quote that is not closed
        return command.split()


def _assigned(variables: dict[str, str], words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the variables with those that stand before a command, and the rest of it."""
    rest = words[1:] if words[:1] == ["env"] else words
    while rest and (setting := SETTING.fullmatch(rest[0])) and "/" not in rest[0].partition("=")[0]:
        variables = {**variables, setting[1]: _expanded(setting[2], variables)}
        rest = rest[1:]
    return variables, rest


def _expanded(word: str, variables: dict[str, str]) -> str:
    home = variables.get("HOME", "/")
    if word == "~" or word.startswith("~/"):
        word = home + word[1:]
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda name: variables.get(name[1] or name[2], name[0]), word)


def _config(options: list[str], folder: str, script: str, variables: dict[str, str]) -> str:
    """Return the config that the ticks of a line take, absolute."""
    named = variables.get(VARIABLE, "")
    for option, value in zip(options, [*options[1:], ""], strict=False):
        if option == "--config":
            named = _expanded(value, variables)
        elif option.startswith("--config="):
            named = _expanded(option.partition("=")[2], variables)
    if named:
        return os.path.join(folder, named)
    if os.path.basename(script) != SCRIPT:
        return os.path.join(folder, PLACE)
    path = os.path.join(folder, script)
    beside = os.path.join(os.path.dirname(path), PLACE)
    if not os.path.exists(beside) and os.path.islink(path):
        return os.path.join(os.path.dirname(os.path.realpath(path)), PLACE)
    return beside
