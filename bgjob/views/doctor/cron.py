"""Whether something starts the ticks, and whether what it starts can work under cron."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

from bgjob import files
from bgjob.config import PLACE, SCRIPT, VARIABLE
from bgjob.views.doctor.finding import NOTE, PROBLEM, WARNING, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgjob.config import Config
    from bgjob.views.doctor.finding import Case
    from bgjob.views.doctor.start import Start

_SECONDS = 10.0
# They find the Python by themselves.
_LAUNCHERS = ("conda", "hatch", "pdm", "pipenv", "pixi", "poetry", "pyenv", "uv")


def line_for(config: Config) -> str:
    """Return the crontab line that starts the ticks of `config` with this Python."""
    named = shlex.quote(config.path)
    variable, script = "", SCRIPT
    if not os.path.exists(os.path.join(config.root, SCRIPT)):
        script = f"-m bgjob --config {named} run"
    elif config.path != os.path.join(config.root, PLACE):
        variable = f"{VARIABLE}={named} "
    line = f"* * * * * cd {shlex.quote(config.root)} && {variable}{shlex.quote(sys.executable)} {script}"
    return line.replace("%", "\\%")


def something_starts_ticks(case: Case) -> Iterator[Finding]:
    """A crontab line or a systemd unit starts this queue's ticks, and only one does."""
    if len(case.starts) > 1:
        places = ", ".join(start.where for start in case.starts)
        yield Finding(NOTE, f"{len(case.starts)} lines start ticks of this queue ({places})", "one is enough")
    if case.starts:
        return
    if not case.is_silent:
        if case.ticks and case.ticks.facts.get("on_terminal"):
            what = f"ticks come from a terminal, and will end with it: {nothing_seen(case)}"
            yield Finding(WARNING, what, install(case))
            return
        mend = "none, if `--loop` or something else starts them"
        yield Finding(NOTE, f"ticks come, though {nothing_seen(case)}", mend)


def install(case: Case) -> str:
    """Return how to let cron start the ticks."""
    return f"bgjob install-cron, as the user whose jobs they are; or crontab -e, and add: {line_for(case.config)}"


def nothing_seen(case: Case) -> str:
    """Return in words that nothing starts this queue's ticks, and what may be the reason."""
    told = "no crontab line or systemd unit that starts them can be seen"
    if case.blind_spots:
        told += f" ({'; '.join(case.blind_spots)})"
    beside = os.path.dirname(os.path.realpath(case.config.root))
    for other in case.other_starts:
        if os.path.realpath(other.config).startswith(f"{beside}/"):
            return f"{told}; {other.where} starts those of {other.config}"
    return told


def lines_can_work(case: Case) -> Iterator[Finding]:
    """What stands in a crontab line is there, and its Python has bgjob."""
    for start in case.starts:
        for what, mend in _faults(start, case.config):
            yield Finding(PROBLEM, f"{start.where}: {what}", mend)


def _faults(start: Start, config: Config) -> Iterator[tuple[str, str]]:
    whole = f"bgjob install-cron writes one that works; or write {line_for(config)}"
    if not os.path.isdir(start.folder):
        yield f"it goes to {start.folder}, which is no folder", whole
        return
    for word in start.starters:
        if files.at(os.path.join(start.folder, word)) in _locks(config):
            yield (
                f"it locks {word}, which is the queue's own lock: the runner finds it taken, and no job runs",
                "leave flock out (a tick needs none), or name another file",
            )
    path = start.variables.get("PATH", "")
    if launcher := next((word for word in start.starters if os.path.basename(word) in _LAUNCHERS), None):
        if not shutil.which(launcher, path=path):
            yield f"cron finds no {launcher} in its PATH ({path})", whole
        return
    yield from _faults_of_program(start, whole)


def _faults_of_program(start: Start, whole: str) -> Iterator[tuple[str, str]]:
    path = start.variables.get("PATH", "")
    program = start.program()
    if not program:
        yield f"cron finds no {start.python or start.script} in its PATH ({path})", whole
    elif not os.path.exists(program):
        yield f"there is no {program}", whole
    elif not os.access(program, os.X_OK) or os.path.isdir(program):
        yield f"{program} can't be started", f"chmod +x {shlex.quote(program)}, or {whole}"
    elif os.path.basename(start.script) == SCRIPT and not os.path.exists(os.path.join(start.folder, start.script)):
        yield f"there is no {os.path.join(start.folder, start.script)}", whole
    elif start.python and (trouble := _lacks_bgjob(start, program)):
        yield f"{program} can't import bgjob ({trouble})", f"{program} -m pip install bgjob, or {whole}"


def _locks(config: Config) -> list[tuple[int, int] | None]:
    lock = files.at(os.path.realpath(config.database) + ".lock")
    return [lock] if lock else []


def _lacks_bgjob(start: Start, program: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # what the crontab line names
            [program, "-c", "import bgjob"],
            check=False,
            capture_output=True,
            cwd=start.folder,
            env=start.variables,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)[:200]
    told = done.stderr.decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else (told[-1][:200] if told else f"exit code {done.returncode}")
