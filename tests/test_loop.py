"""`--loop`: cron in the foreground, for a Procfile; it outlives its ticks and passes signals on."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import run_background_job
from tests.conftest import wait_until
from tests.test_signals import has_taken_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Project

    Start = Callable[..., subprocess.Popen[str]]

SECONDS = 80  # past the next full minute at any rate
JOBS = """
import os, time

def trace(text):
    with open("trace", "a") as file:
        file.write(f"{text}\\n")

class Job:
    def execute(self, name="job"):
        trace(name)

    def wait(self):
        trace(f"begin {os.getppid()}")
        while not os.path.exists("go"):
            time.sleep(0.005)
        trace("end")
"""
WEB = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from bgjob import run_background_job

class Page(BaseHTTPRequestHandler):
    def do_POST(self):
        run_background_job("app.jobs.Job", "execute", [self.path])
        self.send_response(201)
        self.end_headers()

server = HTTPServer(("127.0.0.1", 0), Page)
with open("port.new", "w") as file:
    file.write(str(server.server_port))
os.rename("port.new", "port")
server.serve_forever()
"""


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("shutdown_grace: 60s", methods="execute, wait")
    project.write_jobs(JOBS)


@pytest.fixture
def start(project: Project) -> Start:
    """A function that starts the loop and returns when its first tick is at work."""

    def start(*options: str, **more: Any) -> subprocess.Popen[str]:
        loop = project.start_tick("--loop", *options, **more)
        wait_until(lambda: runners(project))
        if project.jobs():
            wait_until(project.trace)
        return loop

    return start


def runners(project: Project) -> int:
    """Return how many runners there have been."""
    sign = project.folder / "storage" / "jobs.sqlite3.tick"
    return len(project.sql("SELECT id FROM runners")) if sign.exists() else 0


def ticks_of(loop: subprocess.Popen[str]) -> list[int]:
    """Return the process numbers of a loop's children that run."""
    with open(f"/proc/{loop.pid}/task/{loop.pid}/children") as children:  # noqa: PTH123  # no path, a look at a process
        return [int(pid) for pid in children.read().split() if is_running(int(pid))]


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123  # no path, a look at a process
            return stat.read().rpartition(b")")[2].split()[0] not in {b"Z", b"X"}
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_loop_ends_within_a_second(start: Start, number: int) -> None:
    loop = start()
    told = time.monotonic()

    loop.send_signal(number)
    loop.wait(20)

    assert time.monotonic() - told < 1
    assert loop.returncode == 0
    assert loop.communicate(timeout=60)[1] == ""


def test_the_first_tick_comes_at_once_and_the_loop_outlives_it(project: Project, start: Start) -> None:
    run_background_job("app.jobs.Job")

    loop = start()

    wait_until(lambda: project.jobs() == [(1, "completed")], limit=10)
    assert loop.poll() is None
    loop.terminate()
    assert "DONE" in loop.communicate(timeout=60)[0]


def test_a_signal_is_passed_on_and_the_running_job_may_finish(project: Project, start: Start) -> None:
    run_background_job("app.jobs.Job", "wait")
    run_background_job("app.jobs.Job")
    loop = start()

    (tick,) = ticks_of(loop)
    loop.terminate()
    wait_until(lambda: has_taken_in(loop.pid, signal.SIGTERM) and has_taken_in(tick, signal.SIGTERM))
    (project.folder / "go").touch()
    loop.wait(20)

    assert loop.returncode == 0
    assert project.trace()[1:] == ["end"]
    assert [status for _, status in project.jobs()] == ["completed", "pending"]


def test_ctrl_c_at_a_terminal_counts_once(project: Project, start: Start) -> None:
    run_background_job("app.jobs.Job", "wait")
    loop = start(process_group=0)

    (tick,) = ticks_of(loop)
    os.killpg(loop.pid, signal.SIGINT)
    wait_until(lambda: has_taken_in(loop.pid, signal.SIGINT) and has_taken_in(tick, signal.SIGINT))
    (project.folder / "go").touch()
    loop.wait(20)

    assert (loop.returncode, project.trace()[1:], project.jobs()) == (0, ["end"], [(1, "completed")])


def test_a_second_signal_forces_the_end(project: Project, start: Start) -> None:
    run_background_job("app.jobs.Job", "wait")
    loop = start()

    (tick,) = ticks_of(loop)
    loop.terminate()
    wait_until(lambda: has_taken_in(loop.pid, signal.SIGTERM) and has_taken_in(tick, signal.SIGTERM))
    loop.terminate()
    loop.wait(20)

    assert loop.returncode == 143
    assert project.jobs("status, retry_count") == [("pending", 0)]


def test_a_wrong_config_is_told_and_the_loop_waits_for_a_better_one(project: Project) -> None:
    project.configure("no_such_key: 1")
    with (project.folder / "told").open("w") as told:
        loop = project.start_tick("--loop", preexec_fn=lambda: os.dup2(told.fileno(), 2))

    wait_until(lambda: "no_such_key" in (project.folder / "told").read_text() and not ticks_of(loop))

    assert loop.poll() is None
    loop.terminate()
    assert loop.wait(20) == 0


@pytest.mark.slow
def test_under_honcho_a_web_process_queues_and_the_loop_runs_across_a_full_minute(project: Project) -> None:
    (project.folder / "web.py").write_text(WEB)
    python = shlex.quote(sys.executable)
    (project.folder / "Procfile").write_text(f"web: {python} web.py\nrunner: {python} background_runner.py --loop\n")
    honcho = subprocess.Popen(
        [sys.executable, "-m", "honcho", "start"],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        wait_until(lambda: (project.folder / "port").exists() and runners(project))
        post(project, "/before")
        wait_until(lambda: project.jobs() == [(1, "completed")])
        wait_until(lambda: runners(project) == 2, limit=SECONDS)
        post(project, "/after")
        wait_until(lambda: project.jobs() == [(1, "completed"), (2, "completed")])

        assert project.trace() == ["/before", "/after"]
        assert honcho.poll() is None
        children = descendants(honcho.pid)
        honcho.terminate()
        honcho.wait(10)
        wait_until(lambda: not any(is_running(pid) for pid in children), limit=5)
    finally:
        for pid in [*descendants(honcho.pid), honcho.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        honcho.wait()


def post(project: Project, path: str) -> None:
    port = (project.folder / "port").read_text()
    urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data=b"").close()


def descendants(pid: int) -> list[int]:
    """Return the process numbers of all children of a process, and of theirs, that run."""
    if not is_running(pid):
        return []
    with open(f"/proc/{pid}/task/{pid}/children") as children:  # noqa: PTH123  # no path, a look at a process
        own = [int(child) for child in children.read().split() if is_running(int(child))]
    return own + [below for child in own for below in descendants(child)]
