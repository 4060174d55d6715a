"""A runner whose database was deleted or replaced notices, and leaves the new file at the path alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bgjob import enqueue, run_background_jobs
from tests.conftest import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.conftest import Project

JOBS = """
import os, time

def trace(text):
    file = os.open("trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, f"{text}\\n".encode())
    os.close(file)

class Job:
    def execute(self, name="job"):
        trace(name)

    def wait(self, name):
        "Runs until there is a file with its name."
        trace(f"begin {name}")
        while not os.path.exists(name):
            time.sleep(0.005)
        trace(f"end {name}")
"""

OF_DATABASE = ("", "-wal", "-shm")
SOON = 2.0  # s; about a second, and some time to end


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure(methods="execute, wait")
    project.write_jobs(JOBS)


def queue(project: Project, method: str, name: str) -> None:
    """Queue over a process of its own, which has nothing open from before."""
    project.python(f"import bgjob; bgjob.run_background_job('app.jobs.Job', {method!r}, [{name!r}])")


def delete_database(project: Project) -> None:
    for ending in OF_DATABASE:
        Path(f"{project.database}{ending}").unlink(missing_ok=True)


def delete_all(project: Project) -> None:
    for path in project.database.parent.glob("jobs.sqlite3*"):
        path.unlink()


def move_database(project: Project) -> None:
    (project.folder / "elsewhere").mkdir()
    for ending in OF_DATABASE:
        path = Path(f"{project.database}{ending}")
        if path.exists():
            path.rename(project.folder / "elsewhere" / path.name)


def replace_database(project: Project) -> None:
    """Put an older database in its place: a copy made before anything was queued."""
    delete_database(project)
    (project.folder / "backup").rename(project.database)


WAYS = [delete_database, delete_all, move_database, replace_database]


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Start a tick; return when its job has begun."""
    project.python("import bgjob; bgjob.run_background_job('app.jobs.Job')")
    project.tick()
    connection = f"sqlite3.connect({str(project.database)!r})"
    project.python(f"import sqlite3; {connection}.execute('VACUUM INTO ?', ['backup'])")
    queue(project, "wait", "first")
    tick = project.start_tick(*arguments)
    wait_until(lambda: "begin first" in project.trace())
    return tick


def end_of(tick: subprocess.Popen[str], *, within: float) -> str:
    """Wait for the end of a tick and return what it said."""
    _, told = tick.communicate(timeout=within)
    assert tick.returncode == 0, told
    return told


def runners(project: Project) -> list[int]:
    return [pid for (pid,) in project.sql("SELECT pid FROM runners ORDER BY id")]


@pytest.mark.parametrize("way", WAYS)
def test_a_runner_that_lingers_ends_once_its_database_is_gone_and_makes_no_new_one(
    project: Project, way: Callable[[Project], None]
) -> None:
    tick = start(project, "--linger", "60s")
    (project.folder / "first").touch()
    wait_until(lambda: project.jobs()[-1][1] == "completed")
    known = runners(project)
    assert tick.pid in known

    way(project)
    told = end_of(tick, within=SOON)

    assert f"{project.database} was deleted or replaced" in told
    if way is replace_database:
        assert runners(project) == known[:1]
    else:
        assert not project.database.exists()


@pytest.mark.parametrize("linger", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_the_next_tick_serves_the_new_file_while_a_long_job_of_the_old_one_goes_on(
    project: Project, way: Callable[[Project], None], *, linger: bool
) -> None:
    tick = start(project, *(["--linger", "60s"] if linger else []))

    way(project)
    queue(project, "execute", "new")
    following = project.start_tick()
    end_of(following, within=10)

    assert "new" in project.trace()
    assert tick.poll() is None
    assert tick.pid not in runners(project)
    (project.folder / "first").touch()
    told = end_of(tick, within=10)
    assert "was deleted or replaced" in told
    assert project.trace()[-1] == "end first"
    assert tick.pid not in runners(project)
    assert project.jobs("status")[-1] == ("completed",)


@pytest.mark.parametrize("way", [delete_database, delete_all, move_database])
def test_a_worker_whose_job_ends_after_its_database_is_gone_makes_no_new_one(
    project: Project, way: Callable[[Project], None]
) -> None:
    tick = start(project)

    way(project)
    (project.folder / "first").touch()
    end_of(tick, within=10)

    assert project.trace()[-1] == "end first"
    assert not project.database.exists()
    if way is move_database:
        project.database = project.folder / "elsewhere" / project.database.name
        assert project.jobs("status") == [("completed",), ("completed",)]


def test_a_job_of_a_deleted_database_still_has_its_timeout(project: Project) -> None:
    project.configure("timeout: 3s\ntimeout_grace: 0.1s\nshutdown_grace: 60s", methods="execute, wait")
    project.write_jobs(
        JOBS.replace('trace(f"begin {name}")', "import signal; signal.pthread_sigmask(0, [14]); trace(f'begin {name}')")
    )
    tick = start(project)

    delete_database(project)
    end_of(tick, within=20)

    assert "end first" not in project.trace()
    assert not project.database.exists()


def test_a_runner_works_on_while_its_database_is_where_it_was(project: Project) -> None:
    tick = start(project, "--linger", "60s")
    (project.folder / "first").touch()
    wait_until(lambda: project.jobs()[-1][1] == "completed")

    os.utime(project.database)
    project.database.chmod(0o600)
    queue(project, "execute", "second")

    wait_until(lambda: "second" in project.trace())
    tick.terminate()
    assert end_of(tick, within=10) == ""


def test_after_a_job_that_deleted_the_write_ahead_log_another_process_goes_on(project: Project) -> None:
    project.configure(methods="execute, lose")
    project.write_jobs(
        "import os, sqlite3\n"
        "class Job:\n"
        "    def execute(self):\n"
        "        with open('trace', 'a') as file:\n"
        "            file.write(f'{os.getpid()}\\n')\n"
        "    def lose(self, path):\n"
        "        other = sqlite3.connect(path)\n"
        "        other.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()\n"
        "        other.close()\n"
        "        os.unlink(path + '-wal')\n"
        "        os.unlink(path + '-shm')\n"
    )
    execute, lose = ["app.jobs.Job"], ["app.jobs.Job", "lose", [str(project.database)]]
    run_background_jobs([execute, execute, lose, execute])
    enqueue.disconnect()

    project.tick()

    first, second, third = project.trace()
    assert first == second != third
    assert {status for _, status in project.jobs()} == {"completed"}
