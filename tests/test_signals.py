"""SIGTERM and SIGINT: claim no more, let the running job finish for a grace, then hand it back as if never begun."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job
from tests.conftest import wait_until

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Project

JOBS = """
import os, signal, time

def trace(text):
    with open("trace", "a") as file:
        file.write(f"{text}\\n")

class Job:
    def execute(self):
        trace("ran")

    def wait(self):
        trace("begin")
        while not os.path.exists("go"):
            time.sleep(0.005)
        trace("end")

    def wait_deaf(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.wait()
"""


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("shutdown_grace: 1s", methods="execute, wait, wait_deaf")
    project.write_jobs(JOBS)


def begin(project: Project, method: str = "wait") -> subprocess.Popen[str]:
    """Start a tick whose first job waits, with another one behind it."""
    run_background_job("app.jobs.Job", method)
    run_background_job("app.jobs.Job")
    tick = project.start_tick()
    wait_until(project.trace)
    return tick


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_job_may_finish_and_no_other_is_begun(project: Project, number: int) -> None:
    project.configure("shutdown_grace: 60s", methods="execute, wait")
    tick = begin(project)

    tick.send_signal(number)
    wait_until(lambda: has_taken_in(tick.pid, number))
    (project.folder / "go").touch()

    assert tick.communicate(timeout=60) == ("", "")
    assert tick.returncode == 0
    assert project.trace() == ["begin", "end"]
    assert project.jobs("status, retry_count") == [("completed", 0), ("pending", 0)]


def has_taken_in(pid: int, number: int) -> bool:
    """Return whether a process has met a signal and gone to sleep again: it then has done about it what it wanted."""
    is_pending = int(state_of(pid)["ShdPnd"], 16) >> number - 1 & 1
    return not is_pending and state_of(pid)["State"].split()[0] == "S"


def state_of(pid: int) -> dict[str, str]:
    """Return what Linux tells of a process; see proc(5)."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123  # no path, a look at a process
        return dict(line.split(":", 1) for line in status)


@pytest.mark.parametrize("method", ["wait", "wait_deaf"])
def test_a_job_that_outlives_the_grace_is_handed_back_uncounted(project: Project, method: str) -> None:
    tick = begin(project, method)
    started = time.monotonic()

    tick.send_signal(signal.SIGTERM)

    assert tick.communicate(timeout=60) == ("", "")
    assert 0.9 < time.monotonic() - started < 6
    assert tick.returncode == 0
    assert project.jobs("status, retry_count, crash_count") == [("pending", 0, 0), ("pending", 0, 0)]
    assert project.sql("SELECT * FROM attempts") == []
    assert " INFO release job=1 " in project.log()
    assert project.log(errors=True) == ""


def test_a_job_that_was_handed_back_is_the_next_to_run(project: Project) -> None:
    tick = begin(project)
    tick.send_signal(signal.SIGTERM)
    tick.communicate(timeout=60)
    (project.folder / "go").touch()

    project.tick()

    assert project.trace() == ["begin", "begin", "end", "ran"]
    assert project.jobs("status, retry_count") == [("completed", 0), ("completed", 0)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_forces_the_end_and_the_job_is_handed_back(project: Project, number: int, code: int) -> None:
    project.configure("shutdown_grace: 60s", methods="execute, wait")
    tick = begin(project)

    tick.send_signal(number)
    wait_until(lambda: has_taken_in(tick.pid, number))
    tick.send_signal(number)

    assert tick.communicate(timeout=20) == ("", "")
    assert tick.returncode == code
    assert project.jobs("status, retry_count, crash_count") == [("pending", 0, 0), ("pending", 0, 0)]


def test_ctrl_c_at_a_terminal_reaches_the_runner_and_not_the_job(project: Project) -> None:
    project.configure("shutdown_grace: 60s", methods="execute, wait")
    run_background_job("app.jobs.Job", "wait")
    tick = project.start_tick(process_group=0)
    wait_until(project.trace)

    os.killpg(tick.pid, signal.SIGINT)
    wait_until(lambda: has_taken_in(tick.pid, signal.SIGINT))
    (project.folder / "go").touch()

    assert tick.communicate(timeout=60) == ("", "")
    assert (tick.returncode, project.trace()) == (0, ["begin", "end"])


def test_a_hangup_does_not_stop_the_queue_in_the_middle_of_a_job(project: Project) -> None:
    """A tick that was started by hand and whose terminal went away is rescued at the latest by the next one."""
    tick = begin(project)

    tick.send_signal(signal.SIGHUP)
    (project.folder / "go").touch()
    tick.communicate(timeout=60)
    project.tick()

    assert {status for (status,) in project.jobs("status")} == {"completed"}


def test_a_tick_that_starts_with_all_signals_blocked_or_ignored_still_works(project: Project) -> None:
    run_background_job("app.jobs.Job")

    project.tick(preexec_fn=ignore_everything)

    assert project.jobs() == [(1, "completed")]


def ignore_everything() -> None:
    """Do before a tick starts what careless parents do: nohup, trap '' CHLD, a mask left behind."""
    for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


# Seen by Python before anything else: at the chosen event (https://docs.python.org/3/library/audit_events.html) of its
# own start, the process sends itself a signal.
AT_AN_EVENT = """
import os, sys

def look(event, arguments):
    global wanted
    if wanted == f"{event} {arguments[0] if arguments else None}":
        wanted = None
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))

wanted = os.environ.get("EVENT")
sys.addaudithook(look)
"""
EARLY = [
    *(f"import {name}" for name in ("bgjob.cli.run", "bgjob.config", "yaml", "sqlite3", "filelock", "bgjob.runner")),
    "import bgjob.cli.arguments",
    "os.utime DATABASE.tick",
    "open DATABASE.lock",
    "open DATABASE.life",
]


# A shell makes 143 of a process that was killed by SIGTERM.
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
@pytest.mark.parametrize("event", EARLY)
def test_a_tick_that_is_stopped_while_it_starts_ends_without_a_word(
    project: Project, event: str, number: int, code: int
) -> None:
    run_background_job("app.jobs.Job")
    (project.folder / "hook").mkdir()
    (project.folder / "hook" / "sitecustomize.py").write_text(AT_AN_EVENT)
    path = os.pathsep.join([str(project.folder / "hook"), project.environment()["PYTHONPATH"]])
    environment = {
        "PYTHONPATH": path,
        "EVENT": event.replace("DATABASE", str(project.database)),
        "SIGNAL": str(int(number)),
    }

    done = project.tick("--workers", "2", check=False, env=project.environment(**environment))

    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode == code
    assert project.trace() == []
    project.tick()
    assert project.jobs() == [(1, "completed")]
