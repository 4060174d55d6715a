"""Kill -9 at any moment: the job that was being run has crashed and is run again, and no other job pays for it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from bgjob import process, run_background_job, run_background_jobs
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import os, signal, subprocess, sys, time

def trace(text):
    with open("trace", "a") as file:
        file.write(f"{text}\\n")

class Job:
    def execute(self, name="job"):
        trace(name)

    def wait(self):
        "The first attempt waits to be killed."
        first = not os.path.exists("trace")
        trace(f"begin {os.getpid()} {os.getppid()}")
        while first:
            time.sleep(0.005)
        trace(f"end {os.getpid()}")

    def kill_runner(self):
        trace(f"begin {os.getpid()} {os.getppid()}")
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)

    def wait_beside_children(self):
        "The children of the first attempt would write to the trace for ever."
        first = not os.path.exists("trace")
        trace(f"begin {os.getpid()} {os.getppid()}")
        if first:
            child = "import os, time\\nwhile 1: time.sleep(.001); open('trace', 'a').write(f'alive {os.getpid()}\\\\n')"
            subprocess.Popen([sys.executable, "-c", child])
            subprocess.Popen(["sh", "-c", f'{sys.executable} -c "$0" & trap "" TERM HUP INT; wait', child])
            time.sleep(60)
        trace(f"end {os.getpid()}")

    def short(self, number):
        fd = os.open("trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"begin {number}\\n".encode())
        time.sleep(0.002)
        os.write(fd, f"end {number}\\n".encode())
        os.close(fd)
"""


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure(methods="execute, wait, kill_runner, wait_beside_children, short")
    project.write_jobs(JOBS)


def begun(project: Project) -> tuple[int, int]:
    """Wait until the first attempt has begun; return the process numbers of its worker and its runner."""
    line = wait_until(project.trace)[0].split()
    assert line[0] == "begin"
    return int(line[1]), int(line[2])


@pytest.mark.parametrize("victims", ["runner", "worker", "runner and worker", "worker and runner"])
def test_a_job_whose_processes_are_killed_has_crashed_and_runs_again(project: Project, victims: str) -> None:
    run_background_job("app.jobs.Job", "wait", priority=1)
    run_background_job("app.jobs.Job")
    started = project.start_tick()
    worker, runner = begun(project)
    assert runner == started.pid

    for victim in victims.split(" and "):
        with contextlib.suppress(ProcessLookupError):
            os.kill({"runner": runner, "worker": worker}[victim], signal.SIGKILL)
    started.communicate(timeout=60)
    project.tick()

    assert project.jobs("status, retry_count, crash_count") == [("completed", 1, 1), ("completed", 0, 0)]
    ((attempt, outcome, error),) = project.sql("SELECT attempt, outcome, error FROM attempts")
    assert (attempt, outcome) == (1, "crashed")
    assert ("SIGKILL" in error) == (victims == "worker") or "its runner died" in error
    assert [line.split()[0] for line in project.trace()].count("end") == 1
    assert "crashed job=1" in project.log(errors=True)


def test_the_worker_dies_with_its_runner(project: Project) -> None:
    run_background_job("app.jobs.Job", "wait")
    started = project.start_tick()
    worker, _ = begun(project)

    started.kill()

    wait_until(lambda: not is_running(worker))


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123  # no path, a look at a process
            return stat.read().rpartition(b")")[2].split()[0] not in {b"Z", b"X"}
    except OSError:
        return False


def test_a_rescue_costs_jobs_that_were_never_started_nothing(project: Project) -> None:
    run_background_job("app.jobs.Job", "wait", priority=1)
    for number in range(10):
        run_background_job("app.jobs.Job", "execute", [f"innocent {number}"])
    started = project.start_tick()
    begun(project)
    started.kill()
    started.wait(60)

    assert project.jobs("status, retry_count")[1:] == [("pending", 0)] * 10
    project.tick()

    assert project.jobs("status, retry_count, crash_count")[1:] == [("completed", 0, 0)] * 10
    assert [line for line in project.trace() if "innocent" in line] == [f"innocent {number}" for number in range(10)]


def test_the_children_of_a_job_are_gone_before_it_runs_again(project: Project) -> None:
    run_background_job("app.jobs.Job", "wait_beside_children")
    started = project.start_tick()
    wait_until(lambda: len({line for line in project.trace() if line.startswith("alive")}) == 2)
    started.kill()
    started.wait(60)
    seen = len(project.trace())
    wait_until(lambda: len(project.trace()) > seen)  # they outlive their runner

    project.tick()

    lines = project.trace()
    second_begin = [number for number, line in enumerate(lines) if line.startswith("begin")][1]
    assert lines[second_begin:] == [lines[second_begin], f"end {lines[second_begin].split()[1]}"]
    assert not any(is_running(int(line.split()[1])) for line in lines if line.startswith("alive"))
    assert project.jobs("status, crash_count") == [("completed", 1)]


def test_the_children_of_a_killed_worker_are_gone_before_its_job_runs_again(project: Project) -> None:
    run_background_job("app.jobs.Job", "wait_beside_children")
    started = project.start_tick()
    wait_until(lambda: len({line for line in project.trace() if line.startswith("alive")}) == 2)
    worker, _ = begun(project)

    os.kill(worker, signal.SIGKILL)

    assert started.communicate(timeout=60) == ("", "")
    lines = project.trace()
    second_begin = [number for number, line in enumerate(lines) if line.startswith("begin")][1]
    assert lines[second_begin:] == [lines[second_begin], f"end {lines[second_begin].split()[1]}"]


def test_a_job_that_kills_its_runner_fails_after_its_last_crash_and_the_queue_goes_on(project: Project) -> None:
    run_background_job("app.jobs.Job", "kill_runner", priority=9)
    run_background_job("app.jobs.Job")

    codes = [project.tick(check=False).returncode for _ in range(3)]

    assert codes == [-9, -9, 0]
    assert project.jobs("status, retry_count, crash_count") == [("failed", 1, 2), ("completed", 0, 0)]
    assert [line.split()[0] for line in project.trace()].count("begin") == 2


def test_a_job_of_another_boot_or_of_a_number_in_use_again_costs_no_innocent_process_its_life(project: Project) -> None:
    boot = process.identity(os.getpid()).split()[2]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0) as innocent:
        start = process.identity(innocent.pid).split()[1]
        for worker in (
            f"{innocent.pid} {int(start) - 1} {boot}",
            f"{innocent.pid} {start} 00000000-0000-0000-0000-000000000000",
            f"{innocent.pid} 0 {boot}",
            f"{innocent.pid}",
            f"-{innocent.pid} {start} {boot}",
            f"1 0 {boot}",
            f"0 0 {boot}",
            f"-1 0 {boot}",
        ):
            run_background_job("app.jobs.Job")
            project.sql(
                "UPDATE custom_jobs SET status = 'processing', runner = 77, worker = ? WHERE id = "
                "(SELECT max(id) FROM custom_jobs)",
                (worker,),
            )

        project.tick()

        assert innocent.poll() is None
        innocent.kill()
    assert set(project.jobs("status, crash_count")) == {("completed", 1)}


def test_a_dead_runner_is_noticed_by_an_otherwise_idle_tick(project: Project) -> None:
    project.tick()  # makes the database and looks after it, so that the next one has no reason of its own to start
    run_background_job("app.jobs.Job", "wait")
    started = project.start_tick()
    begun(project)
    started.kill()
    started.wait(60)

    project.tick()

    assert project.jobs("status, crash_count") == [("completed", 1)]


@pytest.mark.slow
def test_kills_at_any_moment_lose_no_job_and_run_only_those_twice_that_were_running(project: Project) -> None:
    """A sweep: the runner or its worker is killed at a random moment of a tick, over and over."""
    project.configure("max_retries: 1000\nmax_crashes: 1000", methods="short")
    total, kills, dice = 200, 0, random.Random(7)  # noqa: S311  # much the same moments in each run
    run_background_jobs([("app.jobs.Job", "short", [number]) for number in range(total)])

    while project.sql("SELECT count(*) FROM custom_jobs WHERE status != 'completed'") != [(0,)]:
        tick = project.start_tick()
        if kills < 25:
            if dice.random() < 0.7:
                wait_until(partial(has_ended_or_moved_on, tick, project, len(project.trace())))
            time.sleep(dice.uniform(0, 0.02))  # no wait for an event: the moment of the kill
            kills += 1
            if dice.random() < 0.4:
                kill_its_worker(project, tick.pid)
                time.sleep(dice.uniform(0, 0.01))
            tick.kill()
        tick.communicate(timeout=60)

    begins = [line for line in project.trace() if line.startswith("begin")]
    crashes = sum(count for (count,) in project.jobs("crash_count"))
    assert len(set(begins)) == total
    assert len(begins) <= total + crashes
    assert 10 < crashes <= 2 * kills
    assert project.jobs("retry_count") == project.jobs("crash_count")
    assert project.sql("SELECT count(*) FROM attempts WHERE outcome = 'crashed'") == [(crashes,)]


def has_ended_or_moved_on(tick: subprocess.Popen[str], project: Project, seen: int) -> bool:
    return tick.poll() is not None or len(project.trace()) > seen


def kill_its_worker(project: Project, runner: int) -> None:
    rows = project.sql("SELECT worker FROM custom_jobs WHERE status = 'processing'")
    for (worker,) in rows:
        pid = int(worker.split()[0])
        assert pid != runner
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
