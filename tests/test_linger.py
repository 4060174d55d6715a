"""A runner that lingers picks jobs up at once, and the next tick takes the queue over without a gap."""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job, run_background_jobs, wake
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import os, sys, time

def trace(text):
    file = os.open("trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, f"{text}\\n".encode())
    os.close(file)

class Job:
    def execute(self, name="job"):
        trace(f"{name} {time.monotonic()} {os.getpid()} {os.getppid()}")

    def wait(self, name="long"):
        "Runs until there is a file with its name."
        trace(f"begin {name}")
        while not os.path.exists(name):
            time.sleep(0.005)
        trace(f"end {name}")

    def span(self, seconds):
        trace("begin")
        time.sleep(seconds)
        trace("end")
"""

SLACK = 10  # s; far more than anything takes, as tests run side by side on small machines


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    configure(project)
    project.write_jobs(JOBS)


def configure(project: Project, text: str = "") -> None:
    project.configure(text, methods="execute, wait, span")


def queue(method: str, *params: object, delay: float = 0) -> None:
    run_background_job("app.jobs.Job", method, list(params), delay=delay)


def start(project: Project, *arguments: str, linger: str | None = "60s") -> subprocess.Popen[str]:
    """Start a tick that lingers, and wait until it has the queue."""
    tick = project.start_tick(*(("--linger", linger) if linger else ()), *arguments)
    wait_until(lambda: project.database.exists() and runners(project)[-1:] == [(tick.pid, True)])
    return tick


def runners(project: Project) -> list[tuple[int, bool]]:
    """Return the process number of each runner there was, and whether it is still at work."""
    try:
        return [(pid, ended is None) for pid, ended in project.sql("SELECT pid, ended FROM runners ORDER BY id")]
    except sqlite3.OperationalError:
        return []  # the tables are being made


def looks_of(tick: subprocess.Popen[str]) -> int:
    """Return how often a process has gone to sleep so far."""
    status = Path(f"/proc/{tick.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt_switches"))


def has_begun(project: Project, name: str) -> bool:
    return f"begin {name}" in project.trace()


def wait_for_lines(project: Project, count: int) -> None:
    wait_until(lambda: len(project.trace()) >= count)


def wait_for_looks(tick: subprocess.Popen[str], count: int) -> None:
    """Wait until the runner has gone to sleep `count` times more."""
    before = looks_of(tick)
    wait_until(lambda: looks_of(tick) >= before + count)


def finish(project: Project, name: str = "long") -> None:
    (project.folder / name).touch()


def test_a_job_that_is_queued_while_the_runner_lingers_starts_within_milliseconds(project: Project) -> None:
    tick = start(project)
    delays = []
    for number in range(20):
        queued = time.monotonic()
        queue("execute", number)
        wait_for_lines(project, number + 1)
        delays.append(float(project.trace()[number].split()[1]) - queued)

    # The first one waits for its worker to be forked; each second the runner looks by itself, so more would not show.
    assert statistics.median(delays) < 0.1
    assert len({line.split()[2] for line in project.trace()}) == 1
    assert tick.poll() is None


def test_a_row_that_another_program_inserts_is_seen_within_a_second(project: Project) -> None:
    start(project)

    for number in range(2):
        inserted = time.monotonic()
        project.sql("INSERT INTO custom_jobs (job_class, method) VALUES ('app.jobs.Job', 'execute')")
        wait_for_lines(project, number + 1)
        assert float(project.trace()[number].split()[1]) - inserted < 1.5


def test_a_delayed_job_starts_when_it_is_due(project: Project) -> None:
    start(project)

    queue("execute", "later", delay=0.9)
    queue("execute", "soon", delay=0.4)
    queue("execute", "next year", delay=31_536_000)
    wait_until(lambda: len(project.trace()) == 2)

    assert [line.split()[0] for line in project.trace()] == ["soon", "later"]
    late = project.sql("SELECT (julianday(started_at) - julianday(available_at)) * 86400 FROM custom_jobs WHERE id < 3")
    assert all(-0.001 <= seconds < 0.3 for (seconds,) in late), late


def test_a_lingering_runner_ends_by_itself_when_its_time_is_over(project: Project) -> None:
    queue("execute")

    tick = project.start_tick("--linger", "300ms")

    out, err = tick.communicate(timeout=20)
    assert (tick.returncode, out, err) == (0, "", "")
    worker = int(project.trace()[0].split()[2])
    assert not Path(f"/proc/{worker}").exists()
    assert runners(project) == [(tick.pid, False)]


def test_the_time_to_linger_begins_again_with_each_job(project: Project) -> None:
    for delay in (0.5, 1.0, 1.5):
        queue("execute", delay=delay)

    tick = project.start_tick("--linger", "700ms")

    def is_over() -> bool:
        wake.ping(str(project.database))  # pinged, it looks all the time whether it is over
        return tick.poll() is not None

    wait_until(is_over)
    assert [status for _, status in project.jobs()] == ["completed"] * 3
    assert runners(project) == [(tick.pid, False)]


def test_a_config_that_lingers_needs_nothing_that_is_due(project: Project) -> None:
    configure(project, "linger: 60s")
    first = start(project, linger=None)
    queue("execute", "one")
    wait_until(project.trace)

    second = start(project, linger=None)
    queue("execute", "two")
    wait_until(lambda: len(project.trace()) == 2)

    assert [int(line.split()[3]) for line in project.trace()] == [first.pid, second.pid]
    assert first.wait(SLACK) == 0


def test_the_next_tick_takes_over_while_jobs_come_in_and_each_job_runs_once(project: Project) -> None:
    configure(project, "workers: 2")
    ticks = [start(project)]
    queued: list[float] = []

    def is_handed_over_while_jobs_come_in() -> bool:
        queued.append(time.monotonic())
        queue("execute", len(queued) - 1)
        return ticks[-1].poll() is not None

    for _ in range(2):
        newcomer = project.start_tick("--linger", "60s")
        wait_until(is_handed_over_while_jobs_come_in)
        ticks.append(newcomer)
    wait_until(lambda: len(project.trace()) >= len(queued))

    ran = {int(name): float(at) for name, at, *_ in (line.split() for line in project.trace())}
    assert sorted(ran) == list(range(len(queued)))
    assert len(project.trace()) == len(queued)
    assert max(ran[number] - queued[number] for number in ran) < SLACK / 2
    assert [tick.poll() for tick in ticks] == [0, 0, None]
    wait_until(lambda: {status for _, status in project.jobs()} == {"completed"})
    assert runners(project) == [(ticks[0].pid, False), (ticks[1].pid, False), (ticks[2].pid, True)]
    assert project.log(errors=True) == ""


def test_a_long_job_goes_on_undisturbed_under_its_old_runner_and_keeps_its_slot(project: Project) -> None:
    old = start(project)
    queue("wait")
    wait_until(project.trace)
    old_worker = project.sql("SELECT runner, worker FROM custom_jobs WHERE id = 1")

    new = start(project)
    queue("execute", "second")
    wait_for_looks(new, 2)  # it has seen the job, and looked again

    assert project.trace() == ["begin long"]
    assert project.sql("SELECT runner, worker FROM custom_jobs WHERE id = 1") == old_worker
    assert runners(project) == [(old.pid, True), (new.pid, True)]
    finish(project)
    assert old.wait(SLACK) == 0
    wait_until(lambda: len(project.trace()) == 3)
    assert project.trace()[:2] == ["begin long", "end long"]
    assert int(project.trace()[2].split()[3]) == new.pid
    assert project.jobs("status, retry_count, crash_count") == [("completed", 0, 0)] * 2
    # Both have tallied theirs: the old one at its end, the new one within a second.
    wait_until(lambda: project.sql("SELECT sum(completed) FROM tallies WHERE length(span) = 13") == [(2,)])


def test_with_more_workers_the_new_runner_has_those_that_the_old_one_does_not_use(project: Project) -> None:
    configure(project, "workers: 3")
    old = start(project)
    queue("wait", "one")
    wait_until(project.trace)
    new = start(project)

    for name in ("two", "three", "four"):
        queue("wait", name)
    wait_until(lambda: len(project.trace()) == 3)
    wait_for_looks(new, 2)

    assert sorted(project.trace()) == ["begin one", "begin three", "begin two"]
    finish(project, "one")
    assert old.wait(SLACK) == 0
    wait_until(lambda: "begin four" in project.trace())


def test_the_limit_holds_over_both_runners_however_busy_they_are(project: Project) -> None:
    configure(project, "workers: 2")
    start(project)
    queue("wait")
    wait_until(project.trace)
    start(project)

    for _ in range(80):
        queue("span", 0.001)  # each pings, so that the new runner looks at any moment
    wait_for_lines(project, 161)

    assert project.trace() == ["begin long", *["begin", "end"] * 80]
    finish(project)


def test_a_slot_that_a_retired_runner_frees_is_used_at_once(project: Project) -> None:
    old = start(project)
    waited = []
    for name in ("one", "two"):
        queue("wait", name)
        wait_until(partial(has_begun, project, name))
        new = start(project)
        queue("execute", "next")
        wait_for_looks(new, 2)
        finish(project, name)
        ended = time.monotonic()
        assert old.wait(SLACK) == 0
        wait_until(lambda: project.trace()[-1].startswith("next"))
        waited.append(float(project.trace()[-1].split()[1]) - ended)
        old = new

    assert max(waited) < 0.4


def test_newer_code_is_used_by_the_next_tick(project: Project) -> None:
    start(project)
    queue("execute", "old")
    wait_until(project.trace)

    project.write_jobs(JOBS.replace("{name}", "newer {name}"))
    start(project)
    queue("execute", "code")
    wait_until(lambda: len(project.trace()) == 2)

    assert project.trace()[1].startswith("newer code ")


def test_of_two_newcomers_one_becomes_the_runner_and_the_other_ends(project: Project) -> None:
    old = start(project)

    newcomers = [project.start_tick("--linger", "60s") for _ in range(2)]

    assert old.wait(SLACK) == 0
    wait_until(lambda: [tick for tick in newcomers if tick.poll() is not None])
    (loser,) = (tick for tick in newcomers if tick.poll() is not None)
    (winner,) = (tick for tick in newcomers if tick.poll() is None)
    wait_until(lambda: runners(project)[-1] == (winner.pid, True))
    assert (loser.returncode, *loser.communicate()) == (0, "", "")
    queue("execute")
    assert int(wait_until(project.trace)[0].split()[3]) == winner.pid


def test_of_ten_first_ticks_at_once_one_becomes_the_runner(project: Project) -> None:
    queue("execute")

    ticks = [project.start_tick("--linger", "60s") for _ in range(10)]

    wait_until(lambda: sum(tick.poll() is None for tick in ticks) == 1)
    (left,) = (tick for tick in ticks if tick.poll() is None)
    assert {tick.returncode for tick in ticks} == {0, None}
    assert len(wait_until(project.trace)) == 1
    wait_until(lambda: [pid for pid, at_work in runners(project) if at_work] == [left.pid])


@pytest.mark.parametrize("arguments", [(), ("-q",)], ids=["past the doorman", "in full"])
def test_a_tick_that_does_not_linger_takes_over_and_ends(project: Project, arguments: tuple[str, ...]) -> None:
    old = start(project)

    queue("wait")
    wait_until(project.trace)
    queue("execute", "next")
    tick = project.start_tick(*arguments)
    wait_until(lambda: tick.poll() is not None or runners(project)[-1] == (tick.pid, True))
    finish(project)

    assert (tick.wait(SLACK), old.wait(3)) == (0, 0)
    assert [status for _, status in project.jobs()] == ["completed"] * 2


def test_a_runner_whose_lock_file_was_deleted_gives_way_to_the_next_one(project: Project) -> None:
    old = start(project)
    Path(f"{project.database}.lock").unlink()

    new = start(project)
    queue("execute")

    assert old.wait(SLACK) == 0
    assert int(wait_until(project.trace)[0].split()[3]) == new.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_runner_within_a_second(project: Project, number: int) -> None:
    configure(project, "workers: 3")
    tick = start(project)
    for name in ("one", "two", "three"):
        queue("wait", name)
    wait_until(lambda: len(project.trace()) == 3)
    for name in ("one", "two", "three"):
        finish(project, name)
    wait_until(lambda: {status for _, status in project.jobs()} == {"completed"})

    sent = time.monotonic()
    tick.send_signal(number)

    assert tick.wait(SLACK) == 0
    assert time.monotonic() - sent < 1
    assert runners(project) == [(tick.pid, False)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal_running_jobs_finish_or_are_handed_back_and_none_is_started(
    project: Project, number: int
) -> None:
    configure(project, "workers: 3\nshutdown_grace: 1s")
    tick = start(project)
    for name in ("ends", "hangs", "hangs too", "waits"):
        queue("wait", name)
    wait_until(lambda: len(project.trace()) == 3)

    looks = looks_of(tick)
    tick.send_signal(number)
    wait_until(lambda: looks_of(tick) > looks)
    finish(project, "ends")

    assert tick.wait(SLACK) == 0
    assert sorted(project.trace()) == ["begin ends", "begin hangs", "begin hangs too", "end ends"]
    assert project.jobs("status, retry_count, crash_count, started_at IS NULL") == [
        ("completed", 0, 0, False),
        ("pending", 0, 0, True),
        ("pending", 0, 0, True),
        ("pending", 0, 0, True),
    ]
    assert project.sql("SELECT * FROM attempts") == []
    for name in ("hangs", "hangs too", "waits"):
        finish(project, name)
    project.tick()
    assert {status for _, status in project.jobs()} == {"completed"}


@pytest.mark.parametrize(("first", "second"), [(signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)])
def test_a_second_signal_forces_the_end_at_once(project: Project, first: int, second: int) -> None:
    configure(project, "workers: 2\nshutdown_grace: 60s")
    tick = start(project)
    queue("wait", "one")
    queue("wait", "two")
    wait_until(lambda: len(project.trace()) == 2)

    tick.send_signal(first)
    looks = looks_of(tick)
    wait_until(lambda: looks_of(tick) > looks)
    tick.send_signal(second)

    assert tick.wait(SLACK) == 128 + second
    assert project.jobs("status, retry_count, crash_count") == [("pending", 0, 0)] * 2


def test_a_stopped_runner_keeps_its_queue_and_nothing_runs_twice(project: Project) -> None:
    configure(project, "workers: 2")
    stopped = start(project)
    queue("wait", "one")
    queue("wait", "two")
    wait_until(lambda: len(project.trace()) == 2)

    stopped.send_signal(signal.SIGSTOP)
    for name in range(5):
        queue("execute", name)
    newcomer = project.tick("--linger", "60s", timeout=20)
    finish(project, "one")
    finish(project, "two")
    wait_until(lambda: len(project.trace()) == 9)  # its workers live and go on
    stopped.send_signal(signal.SIGCONT)
    stopped.terminate()

    assert (newcomer.stdout, stopped.wait(SLACK)) == ("", 0)
    assert sorted(line.split()[0] for line in project.trace()) == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "begin",
        "begin",
        "end",
        "end",
    ]
    assert project.jobs("status, retry_count") == [("completed", 0)] * 7


def test_a_stopped_runner_without_its_lock_file_harms_nothing_when_it_goes_on(project: Project) -> None:
    stopped = start(project)
    queue("wait")
    wait_until(project.trace)

    stopped.send_signal(signal.SIGSTOP)
    Path(f"{project.database}.lock").unlink()
    start(project, "--workers", "2")
    for name in range(5):
        queue("execute", name)
    wait_until(lambda: len(project.trace()) == 6)
    finish(project)
    wait_until(lambda: {status for _, status in project.jobs()} == {"completed"})
    stopped.send_signal(signal.SIGCONT)

    assert stopped.wait(SLACK) == 0
    assert len(project.trace()) == 7
    assert project.jobs("status, retry_count") == [("completed", 0)] * 6


def test_a_long_job_does_not_hold_the_others_up(project: Project) -> None:
    configure(project, "workers: 2")
    start(project)
    queue("wait")
    wait_until(project.trace)

    for number in range(10):
        queue("execute", number)
    wait_until(lambda: len(project.trace()) == 11)

    assert project.jobs()[0] == (1, "processing")
    finish(project)
    wait_until(lambda: {status for _, status in project.jobs()} == {"completed"})


def test_a_burst_is_run_by_all_workers_at_once_and_never_by_more(project: Project) -> None:
    configure(project, "workers: 4")
    tick = start(project)

    for _ in range(2):
        run_background_jobs([("app.jobs.Job", "span", [0.02])] * 50)
        wait_until(lambda: {status for _, status in project.jobs()} == {"completed"})

    running, most = 0, 0
    for line in project.trace():
        running += 1 if line == "begin" else -1
        most = max(most, running)
    assert most == 4
    assert len(project.trace()) == 200
    assert tick.poll() is None


def test_jobs_are_seen_each_second_where_nobody_can_ping(project: Project) -> None:
    start(project)
    fifo = Path(f"{project.database}.wake")
    wait_until(fifo.exists)
    fifo.unlink()
    fifo.touch()

    queue("execute")

    wait_until(project.trace, limit=SLACK)


def test_a_flood_of_pings_harms_nothing(project: Project) -> None:
    tick = start(project)
    queue("execute")
    wait_until(project.trace)
    fifo = os.open(f"{project.database}.wake", os.O_WRONLY | os.O_NONBLOCK)
    for _ in range(1_000):
        try:
            os.write(fifo, b"x" * 4096)
        except BlockingIOError:
            continue
    os.close(fifo)

    queue("execute")

    wait_for_lines(project, 2)
    assert tick.poll() is None


LOOP = """
import datetime, sys
from bgjob import clock

real = clock.now
into = real().timestamp() % 60
shift = datetime.timedelta(seconds=58 - into)  # the loop's next full minute comes in two seconds
clock.now = lambda: real() + shift

from bgjob.tick import main

sys.argv[1:] = ["--loop", "-q"]
main({script!r})
"""


def test_the_ticks_of_loop_linger_and_take_over_from_each_other_each_minute(project: Project) -> None:
    loop = subprocess.Popen(
        [sys.executable, "-c", LOOP.format(script=str(project.runner))], cwd=project.folder, env=project.environment()
    )
    try:
        wait_until(lambda: project.database.exists() and len(runners(project)) == 1)
        queue("execute", "one")
        wait_until(project.trace)
        wait_until(lambda: [at_work for _, at_work in runners(project)] == [False, True])
        queue("execute", "two")
        wait_until(lambda: len(project.trace()) == 2)
        wait_until(lambda: {status for _, status in project.jobs()} == {"completed"})

        loop.terminate()

        assert loop.wait(SLACK) == 0
    finally:
        loop.kill()
        loop.wait()
    first, second = (int(line.split()[3]) for line in project.trace())
    assert runners(project) == [(first, False), (second, False)]
