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

from bgjob import clock, execution, process
from bgjob.child import become_child
from bgjob.crew import SECONDS_FOR_A_GROUP_TO_END
from bgjob.worker import SECONDS_FOR_BOOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import FileIO
    from typing import NoReturn

    from bgjob.config import Config


class Finding(NamedTuple):
    """What came of an import: which approved methods the class has, or why it can't be used."""

    methods: list[str]
    problem: str = ""


BOOT = ""  # stands for the module `boot` among the names of the classes


def find_all(config: Config) -> dict[str, Finding]:
    """Return what came of `BOOT` and of each approved class; of `BOOT` alone if that can't be imported."""
    findings: dict[str, Finding] = {}
    while missing := [name for name in (BOOT, *config.classes) if name not in findings]:
        # After a class that ended the process, the others are looked at in a new one, which needs `boot` again.
        findings |= _find(config, list(dict.fromkeys((BOOT, *missing))))
        if findings[BOOT].problem:
            return {BOOT: findings[BOOT]}
    return findings


def _find(config: Config, names: list[str]) -> dict[str, Finding]:
    """Import the names in a process; return what came of each, up to the first that ended it or did not end."""
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _import_and_exit(config, names, writer=writer, parent=parent)
    os.close(writer)
    findings = {}
    try:
        with open(reader, "rb", buffering=0) as lines:
            for name in names:
                rules = config.classes.get(name)
                seconds = min(rules.timeout, SECONDS_FOR_BOOT) if rules else SECONDS_FOR_BOOT
                until = clock.monotonic() + seconds
                line = _line(lines, seconds)
                findings[name] = Finding(*json.loads(line)) if line else Finding([], _ending(pid, until, seconds))
                if not line:
                    break
    finally:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        process.kill_group(pid, wait=SECONDS_FOR_A_GROUP_TO_END)
        os.waitpid(pid, 0)
    return findings


def _line(lines: FileIO, seconds: float) -> bytes:
    """Return the next line; nothing if there is none after so many seconds, or the process has ended."""
    return lines.readline() if select.select([lines], [], [], seconds)[0] else b""


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
        for name in names:
            finding = _boot(config) if name == BOOT else _class(config, name)
            os.write(writer, json.dumps(finding).encode() + b"\n")
        sys.stdout.flush()
    finally:
        os._exit(0)


def _boot(config: Config) -> Finding:
    try:
        execution.import_boot(config)
    except BaseException as error:  # noqa: BLE001  # the edge of user code
        return Finding([], f" can't be imported: {execution.described(error).error}")
    return Finding([])


def _class(config: Config, name: str) -> Finding:
    try:
        job_class = execution.find_class(name)
    except execution.NotRunnableError as error:
        return Finding([], f": {error}")
    except BaseException as error:  # noqa: BLE001  # the edge of user code
        return Finding([], f" can't be imported: {execution.described(error).error}")
    found = []
    for method in sorted(config.classes[name].methods):
        with contextlib.suppress(execution.NotRunnableError):
            execution.check_method(job_class, method)
            found.append(method)
    return Finding(found)
