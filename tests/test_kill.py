"""kill -9 at each step that leaves a trace: no job is lost, none is run by two, and the next tick settles all.

Random instants, overlapping ticks and many workers are tests/torture.py's; a short part of it runs here.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bgjob import enqueue, run_background_job
from tests.conftest import CODE, Project, wait_until
from tests.warm import GATE, Ended, Warm, in_memory, only_files_of, warm_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOBS = """
import os, subprocess, sys, time

def trace(text):
    file = os.open("trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{text}\\n".encode())
    os.close(file)

class Job:
    def execute(self, name):
        trace(f"start {name}")
        if name == "raise" and not os.path.exists(name):
            os.close(os.open(name, os.O_CREAT))
            raise RuntimeError("once")
        trace(f"end {name}")

    def leave_a_daemon(self, how):
        if how == "fork":
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    self.be_a_daemon()
                os._exit(0)
            os.wait()
        elif how == "fork and return":
            if os.fork() == 0:
                os.setsid()
                self.be_a_daemon()
        else:
            subprocess.Popen(["sh", "-c", "echo daemon $$ >> trace; exec sleep 60"], start_new_session=True,
                             close_fds=False)
        while "daemon" not in open("trace").read():
            time.sleep(0.005)

    def be_a_daemon(self):
        trace(f"daemon {os.getpid()}")
        time.sleep(60)
        os._exit(0)

    def leave_a_daemon_and_wait(self, how):
        if os.path.exists("trace"):
            return trace("end")
        trace("begin")
        self.leave_a_daemon(how)
        trace("ready")
        time.sleep(60)
"""


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


@pytest.mark.slow
def test_forty_rounds_of_kill_9_at_random_instants_lose_nothing_and_run_nothing_twice() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--rounds", "40"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=CODE,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "rounds    40, of them 20 with `linger: 75s`" in done.stdout


# A sweep over each instant at which a process changes a file.


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with warm_process() as process:
        yield process


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with in_memory() as folder:
        yield folder


NAMES = ["raise", "last"]
ANYWHERE = {"clone", "poll"}  # calls that concern no file


class Stand:
    """A project in which the same jobs are run again and again, each time with a kill at another instant."""

    def __init__(self, project: Project, warm: Warm) -> None:
        self._project = project
        self._warm = warm
        project.configure("boot: app.boot\nmax_crashes: 2\nmax_retries: 2")
        project.write_jobs(JOBS)
        project.write_jobs(GATE, "boot")

    def keep(self) -> None:
        """Keep the files of the project as they are now, for the start of each step."""
        enqueue._intake._close()
        folder = self._project.folder
        shutil.copytree(folder / "storage", folder / "kept", ignore=shutil.ignore_patterns("*.wake"))

    def sweep(self, call: str, run: Callable[..., Ended], check: Callable[[str], None]) -> None:
        """Kill a process at its first, second, … `call` (on a file of ours or its trace), until there are no more."""
        only = [] if call in ANYWHERE else only_files_of(self._project.folder, "trace", "acks")
        for number in itertools.count(1):
            self._reset()
            kill = f"inject={call}:signal=KILL:when={number}"
            ended = run("-e", f"trace={call}", "-e", kill, *only)
            check(kill)
            if "killed by SIGKILL" not in ended.seen:
                assert number > 1, f"there is no {call}"
                return

    def _reset(self) -> None:
        folder = self._project.folder
        shutil.rmtree(folder / "storage", ignore_errors=True)
        if (folder / "kept").exists():
            shutil.copytree(folder / "kept", folder / "storage")
        for name in ("trace", "acks", "raise"):
            (folder / name).unlink(missing_ok=True)

    def tick(self, *strace: str) -> Ended:
        return self._warm.tick(self._project.folder, *strace)

    def worker(self, *strace: str) -> Ended:
        ended = self._warm.tick_with_worker(self._project.folder, *strace)
        assert (ended.code, ended.said) == (0, "")
        assert {status for _, status in self._project.jobs()} == {"completed"}  # without another tick
        return ended

    def queueing(self, *strace: str) -> Ended:
        return self._warm.queue(self._project.folder, NAMES, *strace)

    def check_tick(self, kill: str) -> None:
        """Each job was run once, and once more only if that was counted: one job at the most."""
        ended = self.tick()
        assert (ended.code, ended.said) == (0, ""), kill
        runs = Counter(self._project.trace())
        crashed = 0
        for name, status, retries, crashes in self._project.jobs(
            "json_extract(params, '$[0]'), status, retry_count, crash_count"
        ):
            assert (status, runs[f"end {name}"] > 0) == ("completed", True), kill
            assert runs[f"start {name}"] <= retries + 1, kill
            assert retries - crashes in {0, int(name == "raise")}, (
                kill
            )  # killed as it told that it raised: only crashed
            crashed += crashes
        assert crashed <= 1, kill
        assert self._project.sql("PRAGMA integrity_check") == [("ok",)], kill

    def check_queueing(self, kill: str) -> None:
        """All that was accepted is in the table, once, and is run by the next tick."""
        accepted = self._project.trace("acks")
        ended = self.tick()
        assert (ended.code, ended.said) == (0, ""), kill
        if accepted:
            assert self._project.sql("PRAGMA integrity_check") == [("ok",)], kill
        completed = [name for name, _ in self._project.jobs("json_extract(params, '$[0]'), status")]
        # The one that was being accepted may be there as well: nobody was told that it isn't.
        assert completed[: len(accepted)] == accepted, kill
        assert completed == NAMES[: len(completed)], kill
        assert len(completed) <= len(accepted) + 1, kill
        assert {line for line in self._project.trace() if line[:3] == "end"} == {f"end {name}" for name in completed}


@pytest.fixture
def stand(project: Project, warm: Warm) -> Stand:
    return Stand(project, warm)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["pwrite64", "openat", "fdatasync", "unlink", "write", *sorted(ANYWHERE)])
def test_a_runner_that_is_killed_at_any_of_its_steps_leaves_all_to_the_next_tick(stand: Stand, call: str) -> None:
    for name in NAMES:
        run_background_job("app.jobs.Job", "execute", [name])
    stand.keep()

    stand.sweep(call, stand.tick, stand.check_tick)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["pwrite64", "openat", "write"])
def test_a_worker_that_is_killed_at_any_change_of_a_file_is_replaced_and_its_job_run_again_in_the_same_tick(
    stand: Stand, call: str
) -> None:
    for name in NAMES:
        run_background_job("app.jobs.Job", "execute", [name])
    stand.keep()

    stand.sweep(call, stand.worker, stand.check_tick)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["pwrite64", "openat", "fdatasync", "write"])
def test_what_was_accepted_from_a_process_that_is_killed_at_any_change_of_a_file_is_run(
    stand: Stand, call: str
) -> None:
    stand.sweep(call, stand.queueing, stand.check_queueing)


# What a fork inherits.


@pytest.fixture
def daemons(project: Project) -> Iterator[Callable[[], int]]:
    """The process that a job has left behind; it ends with the test."""
    project.configure(methods="execute, leave_a_daemon, leave_a_daemon_and_wait")
    project.write_jobs(JOBS)

    def left() -> list[int]:
        return [int(line.split()[1]) for line in project.trace() if line.startswith("daemon")]

    yield lambda: left()[0]
    for daemon in left():
        os.kill(daemon, signal.SIGKILL)


HOW = ["fork", "fork and return", "exec"]


@pytest.mark.parametrize("how", HOW)
def test_a_daemon_that_a_job_leaves_behind_holds_nothing_of_the_runner_s(
    project: Project, daemons: Callable[[], int], how: str
) -> None:
    run_background_job("app.jobs.Job", "leave_a_daemon", [how])

    project.tick(timeout=20)  # returns when nobody holds the pipes of its standard output and error any more

    files = {file.readlink().name for file in Path(f"/proc/{daemons()}/fd").iterdir()}
    assert not {name for name in files if name.endswith((".lock", ".life", ".wake"))}
    assert project.jobs() == [(1, "completed")]


@pytest.mark.parametrize("how", HOW)
def test_a_daemon_does_not_keep_the_queue_of_a_killed_runner_from_the_next_tick(
    project: Project, daemons: Callable[[], int], how: str
) -> None:
    run_background_job("app.jobs.Job", "leave_a_daemon_and_wait", [how])
    tick = project.start_tick()
    wait_until(lambda: "ready" in project.trace())

    tick.kill()
    tick.communicate(timeout=20)  # until nobody holds its pipes
    project.tick(timeout=20)

    assert Path(f"/proc/{daemons()}").exists()
    assert project.jobs("status, crash_count") == [("completed", 1)]
    assert project.trace()[-1] == "end"


def test_a_worker_that_was_just_forked_does_not_keep_the_queue_of_its_killed_runner_from_the_next_tick(
    project: Project,
) -> None:
    project.write_jobs(JOBS)
    run_background_job("app.jobs.Job", "execute", ["a"])
    gate = project.folder / "gate"
    os.mkfifo(gate)
    # The worker waits before its own first line, with all that it has inherited.
    killed = start(project, f"os.register_at_fork(after_in_child=lambda: open({str(gate)!r}).read())")
    wait_until(lambda: Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text())
    killed.kill()
    killed.wait()

    following = start(
        project,
        "from bgjob.lock import QueueLock",
        "take = QueueLock.take",
        "QueueLock.take = lambda lock: take(lock) or open('trace', 'a').write('refused\\n') < 0",
    )
    wait_until(lambda: following.poll() is not None or "refused" in project.trace())
    with gate.open("w"):
        pass
    following.wait(20)

    assert project.trace()[-2:] == ["start a", "end a"]


def start(project: Project, *lines: str) -> subprocess.Popen[bytes]:
    """Start a tick as Python does after it has run these lines."""
    program = "\n".join(["import os, runpy", *lines, f"runpy.run_path({str(project.runner)!r}, run_name='__main__')"])
    return subprocess.Popen([sys.executable, "-c", program], cwd=project.folder, env=project.environment())


def test_no_connection_is_open_when_a_worker_is_forked_however_late_python_collects_its_garbage(
    project: Project,
) -> None:
    project.write_jobs(JOBS)
    run_background_job("app.jobs.Job", "execute", ["first"])
    project.tick()
    run_background_job("app.jobs.Job", "execute", ["second"])

    project.python(f"import gc, runpy\ngc.disable()\nrunpy.run_path({str(project.runner)!r}, run_name='__main__')")

    assert project.jobs() == [(1, "completed"), (2, "completed")]
