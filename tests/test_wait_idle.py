"""wait-idle returns as soon as no job is being run, and says what it still waits for."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest

from bgjob import clock, run_background_job
from bgjob.store.connection import Database
from tests.test_architecture import WAITING_JOB, open_pipe
from tests.test_status import bgjob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project

IDLE = "idle: no job is being run"


@pytest.fixture
def finish(project: Project) -> Iterator[Callable[[], object]]:
    """A job that is being run, and what lets it end."""
    project.write_jobs(WAITING_JOB)
    started, go = open_pipe(project.folder / "started"), open_pipe(project.folder / "go")
    run_background_job("app.jobs.Job")
    project.start_tick()
    assert select.select([started], [], [], 30)[0], "the job did not start"
    yield lambda: os.write(go, b"go")
    os.close(started)
    os.close(go)


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Start waiting, without a terminal; what still waits when the test ends is ended then."""
    waiting = subprocess.Popen(
        [sys.executable, "-m", "bgjob", "wait-idle", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=project.folder,
        env=project.environment(),
    )
    project._started.append(waiting)
    return waiting


def leave_row_of_dead_runner(project: Project) -> None:
    Database(str(project.database)).close()
    project.sql(
        "INSERT INTO custom_jobs (job_class, method, status, runner, worker, started_at)"
        " VALUES ('app.jobs.Job', 'execute', 'processing', 7, '1 2 3', ?)",
        (clock.to_text(clock.now()),),
    )


def test_without_a_database_or_jobs_it_returns_at_once(project: Project) -> None:
    assert bgjob(project, "wait-idle").stdout == f"{IDLE}, and none is due\n"
    assert not project.database.exists()
    run_background_job("app.jobs.Job", delay=3600)
    assert bgjob(project, "wait-idle").stdout == f"{IDLE}, and none is due\n"


def test_it_returns_when_the_last_job_ends_though_others_are_due_in_a_paused_queue(
    project: Project, finish: Callable[[], object]
) -> None:
    run_background_job("app.jobs.Job")
    bgjob(project, "pause")
    waiting = start(project)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.5)

    finish()

    assert waiting.communicate(timeout=30) == (f"{IDLE}\n", "")
    assert waiting.returncode == 0
    assert project.jobs() == [(1, "completed"), (2, "pending")]


def test_without_a_pause_it_waits_until_nothing_is_due_either(project: Project) -> None:
    project.write_jobs("class Job:\n    def execute(self): pass\n")
    for _ in range(3):
        run_background_job("app.jobs.Job")
    waiting = start(project)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.5)

    project.tick()

    assert waiting.communicate(timeout=30)[0] == f"{IDLE}, and none is due\n"
    assert waiting.returncode == 0


def test_when_the_time_is_over_it_is_1_and_one_line_says_what_still_runs(
    project: Project, finish: Callable[[], object]
) -> None:
    bgjob(project, "pause")

    once = bgjob(project, "wait-idle", "--timeout", "0", code=1)
    soon = bgjob(project, "wait-idle", "--timeout", "300ms", code=1)
    document = json.loads(bgjob(project, "wait-idle", "--timeout", "0", "--json", code=1).stdout)

    for done in (once, soon):
        assert done.stdout == ""
        assert re.fullmatch(
            r"bgjob: not idle after [\d.]+ m?s; still waiting for job 1 app\.jobs\.Job\.execute \(\d+ s\)\n",
            done.stderr,
        )
    assert (document["is_idle"], document["is_paused"], document["is_due"]) == (False, True, False)
    assert [(row["id"], row["runner_lives"]) for row in document["running"]] == [(1, True)]
    finish()
    document = json.loads(bgjob(project, "wait-idle", "--json").stdout)
    assert (document["command"], document["is_idle"], document["running"]) == ("wait-idle", True, [])
    assert document["seconds"] >= 0


def test_the_row_of_a_dead_runner_is_told_and_waited_for_until_a_tick_takes_it_back(project: Project) -> None:
    leave_row_of_dead_runner(project)
    bgjob(project, "pause")

    told = bgjob(project, "wait-idle", "--timeout", "0.2", code=1).stderr
    waiting = start(project)
    assert waiting.stderr
    assert select.select([waiting.stderr], [], [], 30)[0]
    project.tick()

    assert told.splitlines()[0] == (
        "bgjob: the runner of job 1 is gone, and the next tick takes the job back; "
        "no tick has come for a while: is cron running? By hand: bgjob run"
    )
    assert len(told.splitlines()) == 2
    assert waiting.communicate(timeout=30)[0] == f"{IDLE}\n"
    assert project.jobs() == [(1, "pending")]


def test_while_ticks_come_a_dead_runner_is_no_reason_to_ask_after_cron(project: Project) -> None:
    leave_row_of_dead_runner(project)
    project.database.with_name("jobs.sqlite3.tick").touch()

    told = bgjob(project, "wait-idle", "--timeout", "0.2", code=1).stderr

    assert told.splitlines()[0] == "bgjob: the runner of job 1 is gone, and the next tick takes the job back"


def test_due_jobs_that_no_tick_comes_for_are_told(project: Project) -> None:
    run_background_job("app.jobs.Job")

    told = bgjob(project, "wait-idle", "--timeout", "0.2", code=1).stderr.splitlines()

    assert told[0] == "bgjob: no tick has come for a while: is cron running? By hand: bgjob run"
    assert told[1].endswith("; still waiting for a job that is due")


def test_a_wrong_span_is_2(project: Project) -> None:
    assert "'soon' is no span" in bgjob(project, "wait-idle", "--timeout", "soon", code=2).stderr


@pytest.mark.parametrize("ending", ["idle", "Ctrl-C"])
def test_on_a_terminal_one_line_tells_what_it_waits_for_and_is_gone_at_the_end(
    project: Project, finish: Callable[[], object], ending: str
) -> None:
    bgjob(project, "pause")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 40))
    waiting = subprocess.Popen(
        [sys.executable, "-m", "bgjob", "wait-idle"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=project.folder,
        env=project.environment(TERM="xterm"),
        start_new_session=True,
    )
    os.close(theirs)
    shown = os.read(ours, 4096)

    if ending == "idle":
        finish()
    else:
        waiting.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # Linux tells the end of a terminal by an I/O error
        while more := os.read(ours, 4096):
            shown += more
    os.close(ours)

    lines = shown.decode().split("\r\x1b[K")
    assert all(re.fullmatch(r"waiting for job 1 app\.jobs\.Job\.execute…", line) for line in lines[1:-1]), lines
    assert (waiting.wait(30), lines[-1]) == ((0, f"{IDLE}\r\n") if ending == "idle" else (130, ""))
