"""`bgjob init`: what a project needs to begin, made where it is missing; nothing is asked or overwritten."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

import bgjob
from bgjob.cli import page, starter
from bgjob.cli.exits import FINE, WrongUsageError
from bgjob.cli.new_file import make
from bgjob.config import PLACE, SCRIPT, VARIABLE, read_config
from bgjob.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

SCHEMA = "jobs.schema.json"
_EXAMPLE = "ExampleJob"
_IGNORED = {"storage", "storage/", "storage/*", "storage/**"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the project's folder."""
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="the project's folder (default: here)")


def run(arguments: argparse.Namespace) -> int:
    """Make what is missing and say what is there; raises BgjobError where a file can't be made."""
    if arguments.config is not None:
        raise WrongUsageError(f"init makes {PLACE} in a FOLDER; leave --config out")
    folder = os.path.abspath(arguments.folder)
    job, files = _files(folder)
    made: dict[str, bool] = {}
    for path, text in files.items():
        made[path] = make(os.path.join(folder, path), text)
        if not arguments.json:
            page.say(f"made   {path}" if made[path] else f"kept   {path}: it is there already")
    steps, remarks = _next_steps(folder, job), _remarks(folder)
    if arguments.json:
        page.document({"command": "init", "folder": folder, "files": made, "next": steps, "remarks": remarks})
        return FINE
    for remark in remarks:
        page.say()
        page.say(remark)
    page.say()
    page.say("next:")
    for step in steps:
        page.say(f"  {step}")
    return FINE


def _files(folder: str) -> tuple[str, dict[str, str]]:
    """Return the class of the example, empty if the project has its own, and the text of each file by its path."""
    module = _module(folder)
    job = f"{module.replace('/', '.')}.ExampleJob"
    there = _jobs_there(os.path.join(folder, module))
    if not _is_approved(os.path.join(folder, PLACE), job) or (there is not None and _EXAMPLE not in there):
        job = ""
    approved = f"approved_classes:\n  - {job}" if job else "approved_classes: []"
    config = starter.CONFIG.format(approved_classes=approved)
    files = {PLACE: config, os.path.join("config", SCHEMA): _schema(), SCRIPT: starter.SCRIPT}
    package = os.path.dirname(module)
    if job and package and not os.path.lexists(os.path.join(folder, package)):
        files[os.path.join(package, "__init__.py")] = ""
    if job and (there is None or os.path.lexists(os.path.join(folder, f"{module}.py"))):
        files[f"{module}.py"] = starter.JOBS
    return job, files


def _module(folder: str) -> str:
    """Return where jobs go: into the package app, but a folder app would take the place of an app.py."""
    return "custom_jobs" if os.path.lexists(os.path.join(folder, "app.py")) else "app/custom_jobs"


def _jobs_there(module: str) -> str | None:
    """Return what the module of the example says if there is one already."""
    for path in (f"{module}.py", os.path.join(module, "__init__.py")):
        if os.path.lexists(path):
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    return file.read()
            except OSError:
                return ""
    return "" if os.path.lexists(module) else None


def _is_approved(config: str, job: str) -> bool:
    """Return whether the config that is there, or is to be made, approves the example."""
    if not os.path.lexists(config):
        return True
    try:
        return job in read_config(config).classes
    except ConfigError:
        return False


def _schema() -> str:
    with open(os.path.join(os.path.dirname(bgjob.__file__), SCHEMA), encoding="utf-8") as file:
        return file.read()


def _remarks(folder: str) -> list[str]:
    """Return what a person should see to, beside the next steps."""
    remarks = []
    explicit = os.environ.get(VARIABLE)
    if explicit and os.path.abspath(explicit) != os.path.join(folder, PLACE):
        remarks.append(f"{VARIABLE} names another config, {explicit}: unset it, or all commands use that one")
    if os.path.lexists(os.path.join(folder, ".git")) or os.path.lexists(os.path.join(folder, ".gitignore")):
        try:
            with open(os.path.join(folder, ".gitignore"), encoding="utf-8", errors="replace") as file:
                lines = {line.strip().removeprefix("/") for line in file}
        except OSError:
            lines = set()
        if not lines & _IGNORED:
            remarks.append("add this line to .gitignore: storage/")
    return remarks


def _next_steps(folder: str, job: str) -> list[str]:
    """Return the commands that come next, as they can be pasted."""
    is_here = os.path.realpath(folder) == os.path.realpath(".")
    program = _program(is_here=is_here)
    queue = [f'{program} queue {job} \'{{"message": "hi"}}\''] if job else [f"{program} check"]
    return [*([] if is_here else [f"cd {shlex.quote(folder)}"]), *queue, f"{program} run", f"{program} install-cron"]


def _program(*, is_here: bool) -> str:
    """Return how this program is called from the project's folder."""
    typed = sys.argv[0]
    if os.path.basename(typed) != "bgjob":
        return f"{shlex.quote(sys.executable)} -m bgjob"
    found = shutil.which("bgjob")
    if found and os.path.realpath(found) == os.path.realpath(typed):
        return "bgjob"
    near = os.path.relpath(typed)
    return shlex.quote(near if is_here and not near.startswith("..") else os.path.abspath(typed))
