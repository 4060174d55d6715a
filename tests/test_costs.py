"""What an idle tick, a queued job and a drained job cost, counted instead of timed: counts are the same on any machine.

A bound is what was counted when it was written, and a little more. Whoever must raise one has made every tick, or every
job, dearer: docs/performance.md tells what each step is worth.
"""

from __future__ import annotations

import collections
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import CODE
from tests.warm import require_strace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Project

JOB = "app.jobs.Job"
JOBS = """
import json, sys

class Job:
    def execute(self):
        pass

    def note(self):
        with open("counts", "a") as file:
            file.write(json.dumps(sys.counts) + "\\n")
"""

# Counts calls of bgjob's own functions and SQL statements, also in forked children. Comprehensions are left out: newer
# Pythons make no function of them.
COUNTING = f"""
import _sqlite3, atexit, json, os, sys

sys.counts = {{"calls": 0, "statements": 0}}

def count(frame, event, _):
    code = frame.f_code
    if event == "call" and code.co_filename.startswith({str(CODE / "bgjob")!r}) and code.co_name[0] != "<":
        sys.counts["calls"] += 1

def count_statement(_):
    sys.counts["statements"] += 1

def connect(*arguments, connect=_sqlite3.connect, **named):
    connection = connect(*arguments, **named)
    connection.set_trace_callback(count_statement)
    return connection

def write_counts(code=0, exit=os._exit):
    sys.setprofile(None)
    with open("counts", "a") as file:
        file.write(json.dumps(sys.counts) + "\\n")
    exit(code)

_sqlite3.connect = connect
sys.setprofile(count)
"""
TICK = "from bgjob.tick import main\nmain(__file__)\n"
QUEUE = f"from bgjob import run_background_job as queue\nfor _ in range({{}}): queue({JOB!r})\n"


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure(methods="execute, note")
    project.write_jobs(JOBS)


def become_idle(project: Project) -> None:
    """Run one job, so that all files are there, and the next tick knows where to look."""
    project.python(QUEUE.format(1))
    project.tick()


def counts(project: Project) -> list[dict[str, int]]:
    return [json.loads(line) for line in project.trace("counts")]


# Which modules are imported


HEAVY = {
    "argparse", "asyncio", "concurrent", "ctypes", "dataclasses", "dateutil", "difflib", "email", "filelock", "http",
    "importlib.metadata", "inspect", "logging", "multiprocessing", "pathlib", "platform", "shutil", "socket", "ssl",
    "subprocess", "tempfile", "traceback", "typing", "unittest", "uuid", "xml", "zoneinfo",
}  # fmt: skip
# What the runner needs: filelock brings most of it along.
OF_THE_RUNNER = {
    "ctypes", "dataclasses", "filelock", "inspect", "logging", "pathlib", "platform", "shutil", "traceback", "typing",
}  # fmt: skip
LOOK = "import sys; before = set(sys.modules)\n{}\nprint(*sorted(set(sys.modules) - before), sep='\\n')"


def test_queueing_in_a_fresh_process_imports_nothing_heavy(project: Project) -> None:
    become_idle(project)

    imported = set(project.python(LOOK.format(QUEUE.format(1))).stdout.split())

    assert imported & HEAVY == set()
    assert "yaml" in imported, "the look at sys.modules sees nothing"
    assert {name for name in imported if name.startswith("bgjob.")} <= OF_QUEUEING


OF_QUEUEING = {
    "bgjob.approval", "bgjob.clock", "bgjob.config", "bgjob.config_keys", "bgjob.config_kinds", "bgjob.config_problems",
    "bgjob.config_syntax", "bgjob.config_texts", "bgjob.config_values", "bgjob.config_yaml", "bgjob.enqueue",
    "bgjob.errors", "bgjob.files", "bgjob.fingerprint", "bgjob.in_force", "bgjob.intake", "bgjob.mounts",
    "bgjob.params", "bgjob.seal", "bgjob.signature", "bgjob.sql", "bgjob.store",
    "bgjob.store.connection", "bgjob.store.fingerprints", "bgjob.store.intake", "bgjob.store.schema",
    "bgjob.store.trouble", "bgjob.turn", "bgjob.version", "bgjob.wake", "bgjob.watch",
}  # fmt: skip


# argparse, and what it brings.
OF_A_COMMAND = {"argparse", "shutil", "typing"}
COMMAND = "import sys; sys.argv = ['bgjob', *{!r}.split()]; from bgjob.cli.main import main; main(); sys.stdout.flush()"


@pytest.mark.parametrize("command", ["status", "list", "list --status failed --since 1h", "show 1"])
def test_a_command_that_only_reads_imports_nothing_heavy(project: Project, command: str) -> None:
    become_idle(project)

    lines = project.python(LOOK.format(COMMAND.format(command))).stdout.splitlines()

    imported = set(lines[lines.index("__future__") :])
    assert imported & {*HEAVY, "rich", "ast", "dis"} <= OF_A_COMMAND
    assert (
        imported & {"bgjob.runner", "bgjob.worker", "bgjob.store.jobs", "bgjob.store.intake", "bgjob.enqueue"} == set()
    )
    assert "bgjob.store.reading" in imported, "the look at sys.modules sees nothing"


def test_a_runner_imports_nothing_needless_before_it_forks(project: Project) -> None:
    become_idle(project)
    project.python(QUEUE.format(1))
    project.runner.write_text(AT_FORK + TICK)

    project.tick()

    imported = set(project.trace("modules"))
    assert imported & HEAVY <= OF_THE_RUNNER
    assert imported & {"app", "app.jobs", "bgjob.cli.arguments", "bgjob.cli.check", "bgjob.cli.dry_run"} == set()
    assert "bgjob.crew" in imported, "the look at sys.modules sees nothing"


AT_FORK = """
import os, sys

def fork(fork=os.fork, before=frozenset(sys.modules)):
    if not os.path.exists("modules"):
        with open("modules", "w") as file:
            file.write("\\n".join(set(sys.modules) - before))
    return fork()

os.fork = fork
"""


# How often functions are called, and statements run


def test_an_idle_tick_makes_two_statements_and_few_calls(project: Project) -> None:
    become_idle(project)
    project.runner.write_text(f"{COUNTING}\nos._exit = write_counts\n{TICK}")

    project.tick()

    [counted] = counts(project)
    assert counted["statements"] == 2  # is anything due, is anything processing
    assert counted["calls"] <= 17  # counted: 15; the bounds leave a tenth


def test_a_queued_job_is_one_statement_and_few_calls(project: Project) -> None:
    become_idle(project)
    warm = QUEUE.format(1) + "import time; time.sleep(0.1); queue('app.jobs.Job')\n"  # a config this old is kept

    project.python(f"{COUNTING}{warm}for _ in range(10): queue({JOB!r})\nwrite_counts()")
    project.python(f"{COUNTING}{warm}write_counts()")

    after, before = counts(project)
    assert after["statements"] - before["statements"] == 10  # each inserts, and commits by itself
    assert (after["calls"] - before["calls"]) / 10 <= 35  # counted: 34


def test_a_drained_job_is_few_statements_and_few_calls(project: Project) -> None:
    become_idle(project)
    project.python(
        "from bgjob import run_background_jobs as queue\n"
        f"queue([({JOB!r}, 'note'), *[({JOB!r}, 'execute')] * 10, ({JOB!r}, 'note')])"
    )
    project.runner.write_text(COUNTING + TICK)

    project.tick()

    before, after = counts(project)
    assert (after["statements"] - before["statements"]) / 11 <= 4  # begin, complete, claim, commit
    assert (after["calls"] - before["calls"]) / 11 <= 75  # counted: 71


# How often the system is called


def test_a_queued_job_is_one_sync_and_no_look_at_the_log(project: Project, tmp_path: Path) -> None:
    require_strace()
    become_idle(project)

    few, many = (system_calls(project, tmp_path, ["-c", QUEUE.format(count)]) for count in (20, 120))

    each = {name: (many[name] - few[name]) / 100 for name in many}
    assert 1 <= each.pop(SYNC) <= 1.1  # one each, and those of a checkpoint
    # From Linux 6.13 on, who asks for a file's times makes the next sync write them: 50 µs.
    assert each.pop(LOOK_AT_LOG, 0) == 0
    assert stats(each) <= 3.1, each  # is it the same config, the same database, the same log; a second's one for a tick
    assert sum(each.values()) <= 23, each  # counted: 21


def test_a_drained_job_is_not_synced_and_makes_few_calls(project: Project, tmp_path: Path) -> None:
    require_strace()
    become_idle(project)
    counted = []
    for count in (20, 120):
        project.python(QUEUE.format(count))
        counted.append(system_calls(project, tmp_path, [str(project.runner)]))

    few, many = counted

    each = {name: (many[name] - few[name]) / 100 for name in many if name not in (READ, LOOK_AT_LOG)}
    assert each.pop(SYNC) <= 0.1  # a checkpoint's, or of the runner's sign of life
    assert stats(each) <= 2.1, each  # of the database's log and of ours, at most once in a millisecond
    assert sum(each.values()) <= 46, each  # counted: 43


SYNC, LOOK_AT_LOG = "fdatasync", "a look at the log"
READ = "pread64"  # left out: whoever opens a log first reads all of it, once


def stats(each: dict[str, float]) -> float:
    """Return how often a file's state is asked for: of each answer Python makes sixteen objects."""
    return sum(count for name, count in each.items() if name in {"stat", "fstat", "lstat", "newfstatat", "statx"})


def system_calls(project: Project, folder: Path, arguments: list[str]) -> collections.Counter[str]:
    """Return how often a Python process and its children call the system, by the names of the calls."""
    seen = folder / "seen"
    subprocess.run(
        ["strace", "-f", "-qq", "-y", "-o", str(seen), sys.executable, *arguments],
        check=True,
        cwd=project.folder,
        env=project.environment(),
        timeout=120,
    )
    return collections.Counter(_names(seen.read_text(errors="replace").splitlines()))


def _names(lines: list[str]) -> Iterator[str]:
    for line in lines:
        called = re.match(r"\d+ +(\w+)\(", line)
        if called:
            yield called[1]
            if "stat" in called[1] and "sqlite3-wal" in line:
                yield LOOK_AT_LOG
