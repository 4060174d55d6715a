"""The crontab of this user: one block of lines for each project, and every other byte as it was."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shlex
import shutil
import subprocess
import time

from bgjob import clock, users
from bgjob.config import SCRIPT
from bgjob.errors import BgjobError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgjob.cli.tick_command import TickCommand

_BEGIN, _END = b"# begin bgjob ", b"# end bgjob "
_ABOUT = """\
# Written, and overwritten, by bgjob install-cron; removed by uninstall-cron.
# A tick prints nothing unless a person must act: let cron's mail arrive."""


class CrontabError(BgjobError):
    """The crontab can't be read or written, or its marker lines don't belong together."""


def block(command: TickCommand) -> bytes:
    """Return the lines that start a tick of the project each minute."""
    name = command.name
    lines = f"{_ABOUT}\n* * * * *  {shell_text(command, escape=True)}\n"
    return _BEGIN + os.fsencode(f"{name}\n{lines}") + _END + os.fsencode(f"{name}\n")


def shell_text(command: TickCommand, *, escape: bool = False) -> str:
    r"""Return what a shell is to run; for a crontab `escape` each %, which means a line break there.

    Outside of quotes, so that a cron that knows nothing of % leaves a \% that the shell reads as a plain one.
    """

    def quoted(path: str) -> str:
        return "\\%".join(map(shlex.quote, path.split("%"))) if escape and "%" in path else shlex.quote(path)

    variables = "".join(f"{name}={quoted(value)} " for name, value in command.variables.items())
    return f"cd {quoted(command.root)} && {variables}{quoted(command.python)} {SCRIPT}"


def with_block(content: bytes, name: str, lines: bytes) -> bytes:
    """Return the crontab with the project's block, in its old place or at the end; raises CrontabError."""
    place = _find(content, name)
    if place:
        return content[: place[0]] + lines + content[place[1] :]
    newline = b"\n" if content and not content.endswith(b"\n") else b""  # cron ignores a last line without one
    return content + newline + lines


def without_block(content: bytes, name: str) -> bytes:
    """Return the crontab without the project's block; raises CrontabError."""
    place = _find(content, name)
    return content[: place[0]] + content[place[1] :] if place else content


def block_in(content: bytes, name: str) -> bytes:
    """Return the project's block as it stands in the crontab, empty if there is none; raises CrontabError."""
    place = _find(content, name)
    return content[place[0] : place[1]] if place else b""


def _find(content: bytes, name: str) -> tuple[int, int] | None:
    """Return from which byte to which the block stands."""
    begins, ends, marks = [], [], []
    at = 0
    for number, line in enumerate(content.split(b"\n"), 1):
        text = line.rstrip(b"\r")
        if text == _BEGIN + os.fsencode(name):
            begins.append((number, at))
        elif text == _END + os.fsencode(name):
            ends.append((number, min(at + len(line) + 1, len(content))))
        if text.startswith((_BEGIN, _END)):
            marks.append(number)
        at += len(line) + 1
    if not begins and not ends:
        return None
    numbers = sorted(number for number, _ in begins + ends)
    is_pair = len(begins) == len(ends) == 1 and begins[0][0] < ends[0][0]
    if is_pair and not any(numbers[0] < mark < numbers[1] for mark in marks):
        return begins[0][1], ends[0][1]
    raise CrontabError(
        f"the lines that mark the block of {name} in the crontab don't belong together (line "
        f"{', '.join(map(str, numbers))}): there must be one '# begin bgjob', and one '# end bgjob' below it with no "
        f"other between; remove them and what is left of the block with crontab -e, then try again"
    )


def other_lines(content: bytes, command: TickCommand) -> list[str]:
    """Return the lines outside the block that seem to start a tick of the same project."""
    rest = os.fsdecode(without_block(content, command.name)).splitlines()
    folders = (command.root, os.path.realpath(command.root))
    return [
        line
        for line in rest
        if not line.lstrip().startswith("#") and SCRIPT in line and any(f in line for f in folders)
    ]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep this user's other calls of bgjob waiting from the reading of the crontab to its writing: cron has no lock.

    What is locked is a folder, so nothing is left behind. It is a courtesy, and not waited for for long.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder = os.open(_home(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
            _lock(folder)
        yield


def _home() -> str:
    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        home = ""
    return home if os.path.isdir(home) else "/"


def _lock(folder: int) -> None:
    until = clock.monotonic() + _LONGEST_WAIT
    while clock.monotonic() < until:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return


_LONGEST_WAIT = 10.0


def read() -> bytes:
    """Return the user's crontab, empty if there is none; raises CrontabError with cron's own words."""
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout
    told = _words(done)
    is_missing = "no crontab" in told or ("can't open" in told and "No such file" in told)  # the latter says Alpine's
    if is_missing and not done.stdout:
        return b""
    raise CrontabError(f"the crontab of {users.name_of(os.getuid())} can't be read: {told}")


def write(content: bytes) -> None:
    """Make this the user's crontab, or remove it where nothing is left; raises CrontabError with cron's own words."""
    done = _crontab("-", content) if content else _crontab("-r")
    if done.returncode != 0:
        raise CrontabError(f"the crontab of {users.name_of(os.getuid())} can't be written: {_words(done)}")
    if read() != content:
        raise CrontabError("another program changed the crontab in the same moment; look at crontab -l and try again")


def _crontab(option: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("crontab")
    if program is None:
        raise CrontabError(
            "there is no command crontab here; install cron (Debian, Ubuntu: apt install cron; Fedora: dnf install "
            "cronie), or take systemd (bgjob install-cron --systemd), or in a container background_runner.py --loop"
        )
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run([program, option], input=content, capture_output=True, check=False, env=environment)  # noqa: S603


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    told = " ".join(done.stderr.decode("utf-8", "replace").split())
    return told or f"crontab ended with exit code {done.returncode} and said nothing"
