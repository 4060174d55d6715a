"""Imports as a worker does them, in a child process: a module that ends its process, or never ends, is told as that."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import NamedTuple

from bgjob import clock, execution, files, process
from bgjob.child import become_child
from bgjob.crew import SECONDS_FOR_A_GROUP_TO_END
from bgjob.worker import SECONDS_FOR_BOOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from bgjob.config import Config


class Imported(NamedTuple):
    """What came of an import: which approved methods the class has, or why it can't be used."""

    methods: list[str]
    problem: str = ""


BOOT = ""  # stands for the module `boot` among the names of the classes
EXCEPTION = "the exception "  # stands before the name of an exception among them


def find_all(config: Config) -> dict[str, Imported]:
    """Return what came of `BOOT`, each approved class and each exception; of `BOOT` alone if that can't be imported."""
    findings: dict[str, Imported] = {}
    while missing := [name for name in (BOOT, *config.classes, *_exceptions(config)) if name not in findings]:
        # After a class that ended the process, the others are looked at in a new one, which needs `boot` again.
        findings |= _find(config, list(dict.fromkeys((BOOT, *missing))))
        if findings[BOOT].problem:
            return {BOOT: findings[BOOT]}
    return findings


def _exceptions(config: Config) -> list[str]:
    """Return the exceptions on `retry_on` and `fail_on`; Python's own were looked up when the config was read."""
    listed = {name for rules in config.classes.values() for name in rules.retry_on | rules.fail_on}
    return [f"{EXCEPTION}{name}" for name in sorted(listed) if not name.startswith("builtins.")]


def _find(config: Config, names: list[str]) -> dict[str, Imported]:
    """Import the names in a process; return what came of each, up to the first that ended it or did not end."""
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _import_and_exit(config, names, writer=writer, parent=parent)
    os.close(writer)
    findings = {}
    try:
        for name in names:
            rules = config.classes.get(name)
            seconds = min(rules.timeout, SECONDS_FOR_BOOT) if rules else SECONDS_FOR_BOOT
            until = clock.monotonic() + seconds
            line = _line(reader, pid, until)
            findings[name] = _said(line) if line else Imported([], _ending(pid, until, seconds))
            if not line:
                break
    finally:
        os.close(reader)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        process.kill_group(pid, wait=SECONDS_FOR_A_GROUP_TO_END)
        os.waitpid(pid, 0)
    return findings


def _line(reader: int, pid: int, until: float) -> bytes:
    """Return the next line; nothing if there is none by then, or the process has ended.

    One byte at a time, with a look at the process between: what it left running may hold the pipe open, and a module
    may have written anything into it.
    """
    line = b""
    while not line.endswith(b"\n"):
        has_ended = process.exit_code(pid) is not None
        if select.select([reader], [], [], 0 if has_ended else 0.02)[0]:
            byte = os.read(reader, 1)
            if not byte:
                return b""
            line += byte
        elif has_ended:
            return b""
        if clock.monotonic() >= until:
            return b""
    return line


def _said(line: bytes) -> Imported:
    try:
        methods, problem = json.loads(line)
        return Imported(list(map(str, methods)), str(problem))
    except (ValueError, TypeError):
        return Imported([], ": its import writes into files that it did not open, so no more can be told")


def _ending(pid: int, until: float, seconds: float) -> str:
    while (ended := process.exit_code(pid)) is None:
        if clock.monotonic() >= until:
            return f": its import did not end within {seconds:g} s"
        time.sleep(0.005)
    return f": the process that imported it {process.death(ended)}"


def _import_and_exit(config: Config, names: list[str], *, writer: int, parent: int) -> NoReturn:
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        become_child(parent, None, keep={writer})
        execution.open_the_way(config.root)
        ours = files.behind(writer)
        for name in names:
            if name == BOOT:
                finding = _boot(config)
            elif name.startswith(EXCEPTION):
                finding = _exception(name.removeprefix(EXCEPTION))
            else:
                finding = _class(config, name)
            if files.behind(writer) != ours:  # closed by the module, and maybe a file of its own by now
                break
            os.write(writer, json.dumps(finding).encode() + b"\n")
        sys.stdout.flush()
    finally:
        os._exit(0)


def _boot(config: Config) -> Imported:
    try:
        execution.import_boot(config)
    except BaseException as error:  # noqa: BLE001  # the edge of user code
        return Imported([], f" can't be imported: {execution.described(error).error}")
    return Imported([])


def _class(config: Config, name: str) -> Imported:
    try:
        job_class = execution.find_class(name)
    except execution.NotRunnableError as error:
        return Imported([], f": {error}")
    except BaseException as error:  # noqa: BLE001  # the edge of user code
        return Imported([], f" can't be imported: {execution.described(error).error}")
    found = []
    for method in sorted(config.classes[name].methods):
        with contextlib.suppress(execution.NotRunnableError):
            execution.check_method(job_class, method)
            found.append(method)
    return Imported(found)


def _exception(name: str) -> Imported:
    try:
        execution.find_exception(name)
    except execution.NotRunnableError as error:
        return Imported([], f": {error}")
    except BaseException as error:  # noqa: BLE001  # the edge of user code
        return Imported([], f" can't be imported: {execution.described(error).error}")
    return Imported([])
