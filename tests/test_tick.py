"""The doorman: an idle tick costs next to nothing and changes nothing; on any doubt the runner is started in full."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job
from tests.conftest import Project, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

JOBS = """
import os, time

def trace(text):
    with open("trace", "a") as file:
        file.write(f"{text}\\n")

class Job:
    def execute(self, name="job"):
        trace(name)

    def wait(self):
        trace("begin")
        while not os.path.exists("go"):
            time.sleep(0.005)
        trace("end")
"""
HEAVY = {
    "argparse", "bgjob.cli.run", "bgjob.config", "bgjob.runner", "contextlib", "ctypes", "dataclasses", "dateutil",
    "enum", "filelock", "inspect", "json", "logging", "pathlib", "random", "re", "sqlite3", "subprocess", "tempfile",
    "threading", "traceback", "typing", "yaml",
}  # fmt: skip


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure(methods="execute, wait")
    project.write_jobs(JOBS)


def become_idle(project: Project) -> None:
    """Run one job and one tick in full, so that the next tick has nothing to do and knows where to look."""
    run_background_job("app.jobs.Job")
    project.tick()


def imported(done: subprocess.CompletedProcess[str] | str) -> set[str]:
    """Return the modules that a Python started with `-X importtime` tells of."""
    told = done if isinstance(done, str) else done.stderr
    lines = [line for line in told.splitlines() if line.startswith("import time:")]
    assert lines
    return {line.rpartition("|")[2].strip() for line in lines}


def test_an_idle_tick_imports_next_to_nothing(project: Project) -> None:
    become_idle(project)
    bare = imported(project.python("", options=["-X", "importtime"]))

    done = project.tick(python=["-X", "importtime"])

    assert imported(done) & HEAVY <= bare
    assert len(imported(done) - bare) < 30
    assert done.stdout == ""


def test_the_list_of_heavy_imports_would_be_seen(project: Project) -> None:
    become_idle(project)
    run_background_job("app.jobs.Job")

    done = project.tick(python=["-X", "importtime"])

    assert {"filelock", "yaml", "bgjob.runner", "sqlite3", "typing"} <= imported(done)


def test_an_idle_tick_leaves_the_sign_of_life_and_nothing_else(project: Project) -> None:
    become_idle(project)
    sign = project.folder / "storage" / "jobs.sqlite3.tick"
    os.utime(sign, (1, 1))
    before = picture_of(project.folder / "storage")

    done = project.tick()

    after = picture_of(project.folder / "storage")
    assert (done.stdout, done.stderr) == ("", "")
    assert sign.stat().st_mtime > 1
    assert {name for name in before | after if before.get(name) != after.get(name)} == {"jobs.sqlite3.tick"}


def picture_of(folder: Path) -> dict[str, tuple[bytes, float]]:
    # The log of SQLite's shared memory belongs to whoever has the database open.
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime)
        for path in folder.iterdir()
        if path.is_file() and not path.name.endswith("-shm")
    }


def test_an_idle_tick_does_not_take_the_lock(project: Project) -> None:
    become_idle(project)
    lock = project.folder / "storage" / "jobs.sqlite3.lock"
    lock.unlink()

    project.tick()

    assert not lock.exists()


def test_an_idle_tick_does_not_wait_for_a_writer(project: Project) -> None:
    become_idle(project)
    writer = sqlite3.connect(project.database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    done = project.tick(python=["-X", "importtime"])

    writer.close()
    assert "yaml" not in imported(done)


def test_a_tick_before_the_first_job_makes_a_database_and_is_content(project: Project) -> None:
    done = project.tick()

    assert (done.stdout, done.stderr) == ("", "")
    assert project.database.exists()
    assert "yaml" not in imported(project.tick(python=["-X", "importtime"]))


def test_a_job_that_is_due_is_never_overlooked(project: Project) -> None:
    become_idle(project)
    run_background_job("app.jobs.Job", "execute", ["delayed"], delay=3600)
    project.tick()
    project.sql("UPDATE custom_jobs SET available_at = '2026-01-01 00:00:00.000000' WHERE status = 'pending'")

    project.tick()

    assert project.trace() == ["job", "delayed"]


def test_a_row_that_another_program_inserted_is_seen(project: Project) -> None:
    become_idle(project)
    project.sql("INSERT INTO custom_jobs (job_class, method) VALUES ('app.jobs.Job', 'execute')")

    project.tick()

    assert project.jobs() == [(1, "completed"), (2, "completed")]


def test_an_edited_config_is_read_even_by_an_idle_tick(project: Project) -> None:
    become_idle(project)
    config = project.folder / "config" / "jobs.yaml"
    stat = config.stat()
    config.write_bytes(config.read_bytes().replace(b"max", b"mox").replace(b"approved_methods", b"approved_muthods"))
    os.utime(config, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    done = project.tick(check=False)

    assert done.returncode == 78
    assert "approved_muthods" in done.stderr


def test_a_config_that_names_another_database_is_followed_at_once(project: Project) -> None:
    become_idle(project)
    run_background_job("app.jobs.Job", "execute", ["in the old one"])
    project.configure("database: storage/other.sqlite3", methods="execute, wait")
    run_background_job("app.jobs.Job", "execute", ["in the new one"])

    project.tick()

    assert project.trace() == ["job", "in the new one"]
    assert project.jobs() == [(1, "completed"), (2, "pending")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path, _: path.write_bytes(b""),
        lambda path, good: path.write_bytes(good[:20]),
        lambda path, good: path.write_bytes(good[:-1]),
        lambda path, good: path.write_bytes(good + b"\n"),
        lambda path, good: path.write_bytes(b"\xff" * len(good)),
        lambda path, good: path.write_bytes(good * 50_000),
        lambda path, _: path.mkdir(),
        lambda path, _: os.mkfifo(path),
    ],
    ids=["empty", "cut in its head", "shorter", "longer", "garbage", "huge", "a folder", "a named pipe"],
)
def test_a_memo_that_is_damaged_is_not_trusted(project: Project, damage: Callable[[Path, bytes], object]) -> None:
    become_idle(project)
    (memo,) = (project.folder / "storage").glob(".*.memo")
    good = memo.read_bytes()
    memo.unlink()
    damage(memo, good)
    run_background_job("app.jobs.Job")

    project.tick()
    project.tick()

    assert project.jobs() == [(1, "completed"), (2, "completed")]


def test_a_database_that_is_gone_is_made_anew(project: Project) -> None:
    become_idle(project)
    for path in (project.folder / "storage").glob("jobs.sqlite3*"):
        path.unlink()

    done = project.tick()

    assert (done.stdout, done.stderr) == ("", "")
    assert project.jobs() == []


def test_a_database_that_is_damaged_is_told_and_left_alone(project: Project) -> None:
    become_idle(project)
    for path in (project.folder / "storage").glob("jobs.sqlite3-*"):
        path.unlink()
    project.database.write_bytes(b"this is no database at all, " * 1000)

    done = project.tick(check=False)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (69, "", 1)
    assert str(project.database) in done.stderr
    assert project.database.read_bytes().startswith(b"this is no database at all")


def test_while_a_runner_works_a_second_tick_ends_before_any_heavy_import(project: Project) -> None:
    run_background_job("app.jobs.Job", "wait")
    run_background_job("app.jobs.Job")
    first = project.start_tick()
    wait_until(project.trace)

    second = project.tick(python=["-X", "importtime"])

    assert {"filelock", "yaml", "bgjob.cli.run", "bgjob.runner"} & imported(second) == set()
    assert [line for line in second.stderr.splitlines() if not line.startswith("import time:")] == []
    assert (second.stdout, project.trace(), project.jobs()) == ("", ["begin"], [(1, "processing"), (2, "pending")])
    (project.folder / "go").touch()
    assert first.communicate(timeout=60) == ("", "")
    assert (first.returncode, project.trace()) == (0, ["begin", "end", "job"])


@pytest.mark.parametrize("others", [0, 1], ids=["and nothing else is due", "and another job is due"])
def test_on_a_terminal_a_second_tick_says_who_works_since_when(project: Project, others: int) -> None:
    run_background_job("app.jobs.Job", "wait")
    for _ in range(others):
        run_background_job("app.jobs.Job")
    first = project.start_tick()
    wait_until(project.trace)

    code, shown = project.tick_on_terminal()

    assert code == 0
    assert re.search(rf"another runner is at work: process {first.pid}, since \d+ s\n", shown)


def test_ticks_that_pile_up_run_each_job_once(project: Project) -> None:
    for number in range(100):
        run_background_job("app.jobs.Job", "execute", [number])

    ticks = [project.start_tick() for _ in range(8)]

    assert [(tick.communicate(timeout=60), tick.returncode) for tick in ticks] == [(("", ""), 0)] * 8
    assert project.trace() == [str(number) for number in range(100)]


def test_a_lock_that_someone_else_holds_is_respected(project: Project) -> None:
    become_idle(project)
    run_background_job("app.jobs.Job")
    with (project.folder / "storage" / "jobs.sqlite3.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        done = project.tick()

    assert (done.stdout, done.stderr) == ("", "")
    assert project.jobs() == [(1, "completed"), (2, "pending")]


def test_the_config_beside_the_script_is_used_from_any_folder_and_through_a_link(
    project: Project, tmp_path: Path
) -> None:
    run_background_job("app.jobs.Job")
    link = tmp_path / "somewhere" / "runner.py"
    link.parent.mkdir()
    link.symlink_to(project.runner)
    project.runner = link

    project.tick(cwd="/")

    assert project.jobs() == [(1, "completed")]


def test_the_config_named_in_the_environment_comes_before_the_one_beside_the_script(
    project: Project, tmp_path: Path
) -> None:
    other = Project(tmp_path / "other")
    other.write_jobs(JOBS)
    run_background_job("app.jobs.Job")
    other.python("import bgjob; bgjob.run_background_job('app.jobs.Job')")

    project.tick(env=project.environment(BGJOB_CONFIG="../other/config/jobs.yaml"))

    assert project.jobs() == [(1, "pending")]
    assert other.jobs() == [(1, "completed")]
