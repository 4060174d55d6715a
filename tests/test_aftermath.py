"""What is told of a job whose worker is gone says whether the job, its end or the worker itself came to grief."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import os, signal, subprocess, sys, time
import bgjob.store.connection, bgjob.worker

class Stream:
    def __init__(self, flush):
        self.flush = flush
    def write(self, text):
        pass

class Job:
    def execute(self):
        pass

    def do(self, how):
        exec(how, globals())
"""

ENDED = "the job had ended, but its end could not be written: "


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.write_jobs(JOBS)
    configure(project)


def configure(project: Project, text: str = "") -> None:
    project.configure(f"max_crashes: 1\n{text}", methods="execute, do")


def told_of(project: Project, how: str) -> tuple[str, str]:
    """Run a job that does `how`, and another one behind it; return the first one's outcome and error."""
    run_background_job("app.jobs.Job", "do", [how])
    run_background_job("app.jobs.Job")

    project.tick(timeout=30)

    assert project.jobs("status, crash_count") == [("failed", 1), ("completed", 0)]
    ((outcome, error),) = project.sql("SELECT outcome, error FROM attempts WHERE job_id = 1")
    return outcome, error


@pytest.mark.parametrize("code", range(8))
def test_no_exit_code_of_a_job_is_taken_for_an_ending_of_the_worker(project: Project, code: int) -> None:
    outcome, error = told_of(project, f"os._exit({code})")

    assert outcome == "crashed"
    assert error == f"the worker ended itself with exit code {code} in the middle of the job"


@pytest.mark.parametrize("code", range(8))
def test_no_exit_code_of_the_boot_module_is_taken_for_an_ending_of_the_worker(project: Project, code: int) -> None:
    configure(project, "boot: app.boot")
    project.write_jobs(f"import os\nos._exit({code})\n", "boot")
    run_background_job("app.jobs.Job")

    done = project.tick(check=False)

    assert done.returncode == 78
    assert f"boot: app.boot ended its worker (code {code}), so no job was started" in done.stderr


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("os._exit(6)", "the worker ended itself with exit code 6"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "the worker was killed by SIGKILL (signal 9)"),
    ],
)
def test_a_worker_that_dies_while_it_settles_did_not_crash_in_the_middle_of_the_job(
    project: Project, how: str, why: str
) -> None:
    outcome, error = told_of(project, f"sys.stdout = Stream(lambda: {how})")

    assert outcome == "crashed"
    assert error == ENDED + why


def test_a_worker_that_is_stuck_while_it_settles_is_no_timeout_of_the_job(project: Project) -> None:
    configure(project, "timeout: 0.5s\ntimeout_grace: 0.1s")

    outcome, error = told_of(
        project, "bgjob.worker.SECONDS_TO_SETTLE = 1.5\nsys.stdout = Stream(lambda: time.sleep(600))"
    )

    assert outcome == "crashed"
    assert error.startswith(f"{ENDED}the worker was stuck and was killed 1.")


LOCKED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_database_that_stays_locked_while_a_job_is_settled_is_told_as_that(project: Project) -> None:
    how = f"""
bgjob.store.connection.PATIENCE = 0.2
command = [sys.executable, "-c", {LOCKED!r}, {str(project.database)!r}]
global holder
holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
holder.stdout.readline()
"""
    run_background_job("app.jobs.Job", "do", [how])
    run_background_job("app.jobs.Job")

    project.tick(timeout=30)

    assert project.jobs("status, crash_count") == [("failed", 1), ("completed", 0)]
    ((outcome, error),) = project.sql("SELECT outcome, error FROM attempts WHERE job_id = 1")
    assert outcome == "crashed"
    assert error == f"{ENDED}the database could not be used"
    assert "was locked by another process" in project.log(errors=True)
