"""What starts ticks on this machine: lines of crontabs, and systemd services."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import re
import shutil
import subprocess

from bgjob.views.doctor.start import SETTING, Start, environment_of, taken_apart, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SYSTEM_CRONTABS = ("/etc/crontab", "/etc/cron.d/*")
_UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/etc/systemd/user")
_SECONDS = 5.0
_LARGEST = 1_000_000


def find(uids: Iterable[str]) -> tuple[list[Start], list[str]]:
    """Return what starts ticks: from the crontabs of this user and of `uids`, of the system, and from systemd's units.

    The second list tells what could not be read.
    """
    starts: list[Start] = []
    blind_spots: list[str] = []
    me = environment_of()["LOGNAME"]
    if shutil.which("crontab") is None:
        blind_spots.append("there is no command crontab here")
    else:
        for user in sorted({me, *_names(uids)}):
            text, trouble = _crontab_of(user, me)
            starts += in_crontab(text, where=f"the crontab of {user}", user=user)
            blind_spots += [trouble] if trouble else []
    for pattern in _SYSTEM_CRONTABS:
        for path in sorted(glob.glob(pattern)):
            starts += in_crontab(_read(path), where=path, user=None)
    folders = [*_UNIT_FOLDERS, os.path.join(environment_of()["HOME"], ".config/systemd/user")]
    for path in sorted(path for folder in folders for path in glob.glob(f"{folder}/*.service")):
        starts += in_unit(_read(path), where=path)
    return starts, blind_spots


def _names(uids: Iterable[str]) -> Iterator[str]:
    for uid in uids:
        with contextlib.suppress(KeyError, ValueError, OverflowError):
            yield pwd.getpwuid(int(uid)).pw_name


def _crontab_of(user: str, me: str) -> tuple[str, str]:
    """Return the text of a user's crontab, and why it can't be told; only root may ask for another's."""
    if user != me and os.geteuid() != 0:
        return "", f"the crontab of {user} can be read by root and {user} only"
    asked = ["crontab", "-l"] if user == me else ["crontab", "-l", "-u", user]
    try:
        done = subprocess.run(asked, check=False, capture_output=True, timeout=_SECONDS, stdin=subprocess.DEVNULL)  # noqa: S603  # a fixed command
    except (OSError, subprocess.SubprocessError) as error:
        return "", f"crontab -l can't be run ({error})"
    told = done.stderr.decode(errors="replace").strip()
    if done.returncode == 0 or not told or "no crontab" in told:
        return done.stdout.decode(errors="surrogateescape"), ""
    return "", f"the crontab of {user} can't be read ({told[:200]})"


def _read(path: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            return file.read(_LARGEST).decode(errors="surrogateescape")
    except (OSError, ValueError):
        return ""


def in_crontab(text: str, *, where: str, user: str | None) -> Iterator[Start]:
    """Yield the lines of a crontab that start ticks; without `user` each line names its own, as in /etc/crontab."""
    settings: dict[str, str] = {}
    for written in text.splitlines():
        line = written.strip()
        if not line or line.startswith("#"):
            continue
        if setting := SETTING.fullmatch(line):
            settings[setting[1]] = setting[2].strip().strip("\"'")
            continue
        schedule = 1 if line.startswith("@") else 5
        fields = line.split(None, schedule)
        if len(fields) <= schedule:
            continue
        who, command = user, fields[schedule]
        if who is None:
            who, _, command = command.partition(" ")
        # An unescaped % ends the command: what follows is its standard input.
        command = re.split(r"(?<!\\)%", command)[0].replace("\\%", "%").strip()
        variables = {**environment_of(who), **settings}
        if start := taken_apart(command, where=where, user=who, folder=variables["HOME"], variables=variables):
            yield start


def in_unit(text: str, *, where: str) -> Iterator[Start]:
    """Yield what a systemd service starts."""
    settings: dict[str, str] = {}
    variables: dict[str, str] = {}
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name == "ExecStart":
            commands.append(value.lstrip("-@:+!"))
        elif equals and name == "Environment":
            variables.update(word.partition("=")[::2] for word in words_of(value))
        elif equals:
            settings[name] = value
    user = settings.get("User", "root" if "/user" not in where else environment_of()["LOGNAME"])
    variables = {**environment_of(user), **variables}
    folder = settings.get("WorkingDirectory", "/").lstrip("-")
    for command in commands:
        start = taken_apart(command, where=where, user=user, folder=folder, variables=variables)
        if start:
            yield start._replace(is_plain=start.is_plain and "EnvironmentFile" not in settings)
