"""One runner at a time: a lock that dies with its holder, is never deleted, and destroys nothing in its place."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job
from tests.conftest import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Project

JOBS = """
import os, time

def trace(text):
    with open("trace", "a") as file:
        file.write(f"{text}\\n")

class Job:
    def execute(self, name="job"):
        trace(name)

    def runner(self):
        trace(os.getppid())

    def wait(self):
        trace("begin")
        while not os.path.exists("go"):
            time.sleep(0.005)
        trace("end")
"""


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure(methods="execute, runner, wait")
    project.write_jobs(JOBS)


def lock_of(project: Project, ending: str = "lock") -> Path:
    return project.folder / "storage" / f"jobs.sqlite3.{ending}"


def test_the_lock_file_stays_the_same_file_for_ever(project: Project) -> None:
    run_background_job("app.jobs.Job")
    project.tick()

    with lock_of(project).open() as lock:  # open, so that its number can't be given to another file
        run_background_job("app.jobs.Job")
        project.tick()

        assert os.path.samestat(os.fstat(lock.fileno()), lock_of(project).stat())


def test_the_lock_of_a_killed_runner_is_free(project: Project) -> None:
    run_background_job("app.jobs.Job", "wait")
    killed = project.start_tick()
    wait_until(project.trace)
    killed.kill()
    killed.wait(60)
    (project.folder / "go").touch()

    project.tick()

    assert project.jobs() == [(1, "completed")]


def test_the_lock_of_a_stopped_runner_is_held(project: Project) -> None:
    run_background_job("app.jobs.Job", "wait")
    run_background_job("app.jobs.Job")
    stopped = project.start_tick()
    wait_until(project.trace)
    stopped.send_signal(signal.SIGSTOP)

    project.tick()

    assert project.jobs() == [(1, "processing"), (2, "pending")]
    stopped.send_signal(signal.SIGCONT)


def test_a_process_that_a_job_left_behind_does_not_hold_the_lock(project: Project) -> None:
    project.write_jobs(
        "import subprocess\nclass Job:\n    def execute(self):\n"
        "        left = subprocess.Popen(['sleep', '60'], close_fds=False, start_new_session=True)\n"
        "        open('trace', 'w').write(str(left.pid))\n"
    )
    run_background_job("app.jobs.Job")
    project.tick()
    run_background_job("app.jobs.Job")

    project.tick()

    left = int(project.trace()[0])
    os.kill(left, signal.SIGKILL)
    assert project.jobs() == [(1, "completed"), (2, "completed")]


@pytest.mark.parametrize("ending", ["lock", "life"])
def test_a_folder_in_the_place_of_the_lock_is_told_and_left_alone(project: Project, ending: str) -> None:
    run_background_job("app.jobs.Job")
    lock_of(project, ending).mkdir()
    (lock_of(project, ending) / "precious").write_text("precious")

    done = project.tick(check=False)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (69, "", 1)
    assert f"{lock_of(project, ending)} can't be used: it is a folder" in done.stderr
    assert (lock_of(project, ending) / "precious").read_text() == "precious"
    assert project.jobs("status, retry_count") == [("pending", 0)]


@pytest.mark.parametrize("ending", ["lock", "life"])
@pytest.mark.parametrize("target", ["precious", "nowhere"])
def test_a_link_in_the_place_of_the_lock_is_told_and_its_target_left_alone(
    project: Project, ending: str, target: str
) -> None:
    run_background_job("app.jobs.Job")
    (project.folder / "precious").write_text("precious")
    lock_of(project, ending).symlink_to(project.folder / target)

    done = project.tick(check=False)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (69, "", 1)
    assert f"{lock_of(project, ending)} can't be used: it is a symbolic link" in done.stderr
    assert (project.folder / "precious").read_text() == "precious"
    assert not (project.folder / "nowhere").exists()
    assert lock_of(project, ending).is_symlink()
    assert project.jobs("status, retry_count") == [("pending", 0)]


@pytest.mark.parametrize("ending", ["lock", "life"])
def test_a_named_pipe_in_the_place_of_the_lock_hangs_nobody(project: Project, ending: str) -> None:
    run_background_job("app.jobs.Job")
    os.mkfifo(lock_of(project, ending))

    done = project.tick(check=False, timeout=20)

    assert (done.returncode, len(done.stderr.splitlines())) in {(69, 1), (0, 0)}
    assert project.jobs("retry_count") == [(0,)]


@pytest.mark.parametrize("ending", ["lock", "life"])
def test_a_lock_that_may_not_be_written_is_told_with_a_remedy(project: Project, ending: str) -> None:
    run_background_job("app.jobs.Job")
    lock_of(project, ending).touch(mode=0o400)

    done = project.tick(check=False, preexec_fn=be_an_ordinary_user)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (69, "", 1)
    assert str(lock_of(project, ending)) in done.stderr
    assert f"user {os.geteuid()}" in done.stderr
    assert project.jobs("status, retry_count") == [("pending", 0)]


def test_a_folder_that_may_not_be_written_is_told_with_a_remedy(project: Project) -> None:
    run_background_job("app.jobs.Job")
    folder = project.folder / "storage"
    folder.chmod(0o500)

    done = project.tick(check=False, preexec_fn=be_an_ordinary_user)

    folder.chmod(0o700)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (69, "", 1)
    assert str(folder) in done.stderr
    assert "write permission" in done.stderr
    assert project.jobs("status, retry_count") == [("pending", 0)]


def be_an_ordinary_user() -> None:
    """Take from root, before the tick starts, the right to write to whatever it likes."""
    drop_from_bounding_set, write_anything, read_anything = 24, 1, 2
    if os.geteuid() == 0:
        for capability in (write_anything, read_anything):
            ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


def test_with_the_lock_file_deleted_no_job_runs_twice_and_the_older_runner_gives_way(project: Project) -> None:
    for method in ("wait", "runner", "runner"):
        run_background_job("app.jobs.Job", method)
    older = project.start_tick()
    wait_until(project.trace)
    lock_of(project).unlink()

    newer = project.start_tick()
    wait_until(lambda: len(project.sql("SELECT id FROM runners")) == 2)
    (project.folder / "go").touch()

    assert [(tick.communicate(timeout=60), tick.returncode) for tick in (older, newer)] == [(("", ""), 0)] * 2
    assert sorted(project.trace()) == sorted(["begin", "end", str(newer.pid), str(newer.pid)])
    assert project.jobs("status, retry_count, crash_count") == [("completed", 0, 0)] * 3
