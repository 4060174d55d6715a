"""A systemd timer and its service, which start a tick each minute where there is no cron."""

from __future__ import annotations

import os
import re

from bgjob.cli import page
from bgjob.cli.exits import NoMatchError
from bgjob.cli.new_file import make
from bgjob.cli.tick_command import owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.cli.tick_command import TickCommand
    from bgjob.config import Config

# Type=oneshot: the service is active while its runner works; a timer that elapses meanwhile starts no second one.
# KillMode=mixed: only the runner gets SIGTERM, for it hands its workers' jobs back; what is left after it is killed.
_SERVICE = """\
[Unit]
Description=Background jobs of {description}

[Service]
Type=oneshot
{user}WorkingDirectory={root}
{variables}ExecStart={python} background_runner.py
KillMode=mixed
TimeoutStartSec=infinity
TimeoutStopSec={seconds_to_stop}
"""
# AccuracySec: the default lets systemd put a start off for a minute, to save current.
_TIMER = """\
[Unit]
Description=Each minute, the background jobs of {description}

[Timer]
OnCalendar=minutely
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
_LEAST_TO_STOP = 90  # systemd's own default


_SYSTEM, _USER = "/etc/systemd/system", "~/.config/systemd/user"


def install(command: TickCommand, config: Config, *, folder: str, as_json: bool) -> None:
    """Print the units, or write those that are missing into `folder`; raises NoMatchError where others are there."""
    texts = units(command, config)
    made = _write(texts, os.path.abspath(os.path.expanduser(folder))) if folder else {}
    if as_json:
        page.document({"command": "install-cron", "units": texts, "files": made})
        return
    place = _SYSTEM if os.getuid() == 0 else _USER
    for number, (name, text) in enumerate(texts.items()):
        if folder:
            path = os.path.join(os.path.abspath(os.path.expanduser(folder)), name)
            page.say(f"{'made' if made[path] else 'kept'}   {path}")
        else:
            if number:
                page.say()
            page.say(f"# {place}/{name}")
            page.lines(text)
    page.remark("")
    page.remark(f"next{'' if folder else f', when they stand in {place}'}:")
    for step in _next_steps(f"{unit_name(command)}.timer"):
        page.remark(f"  {step}")


def _write(texts: dict[str, str], folder: str) -> dict[str, bool]:
    """Return for each path whether it was made; false: it is there already, and the same."""
    made = {}
    for name, text in texts.items():
        path = os.path.join(folder, name)
        made[path] = make(path, text)
        with open(path, encoding="utf-8", errors="replace") as file:
            if file.read() != text:
                raise NoMatchError(f"{path} is there already, and another one; remove it, then try again")
    return made


def _next_steps(timer: str) -> list[str]:
    if os.getuid() == 0:
        return ["systemctl daemon-reload", f"systemctl enable --now {timer}", f"systemctl list-timers {timer}"]
    return [
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {timer}",
        "loginctl enable-linger  # or the timer runs only while you are logged in",
        f"systemctl --user list-timers {timer}",
    ]


def unit_name(command: TickCommand) -> str:
    """Return how the units of the project are called, without `.service` and `.timer`."""
    return "bgjob-" + re.sub(r"[^A-Za-z0-9_.-]+", "-", os.path.basename(command.root)).strip("-")


def units(command: TickCommand, config: Config) -> dict[str, str]:
    """Return the text of each unit by its file's name; NoMatchError where systemd can't start such a path."""
    if any(letter in command.python for letter in "\"'"):
        raise NoMatchError(f"systemd starts no program with a quote in its path: {command.python}")
    # Each job has its grace, and after that its own to end; half a minute for what comes then.
    seconds = max(_LEAST_TO_STOP, int(config.shutdown_grace + config.timeout_grace) + 30)
    name, values = unit_name(command), {"description": _plain(command.name)}
    service = _SERVICE.format(
        **values,
        user=f"User={user}\n" if (user := _user_for(command, config)) else "",
        root=_plain(command.root),
        variables="".join(f"Environment={_quoted(f'{key}={value}')}\n" for key, value in command.variables.items()),
        # The colon turns variables off: a $ is a $.
        python=(":" if "$" in command.python else "") + _quoted(command.python),
        seconds_to_stop=seconds,
    )
    return {f"{name}.service": service, f"{name}.timer": _TIMER.format(**values)}


def _user_for(command: TickCommand, config: Config) -> str:
    """Return under whom a service of the system is to run, if not root: whoever has the project's files."""
    return "" if os.getuid() else owner(command, config)


def _plain(text: str) -> str:
    """Return a text for a line that takes it as it is, but for specifiers (systemd.unit(5))."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """Return one word of a line that is split into words (systemd.syntax(7))."""
    if re.fullmatch(r"[\w@+=:,./-]+", text):
        return text
    return '"' + _plain(text).replace('"', '\\"') + '"'
