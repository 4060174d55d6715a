"""pause and resume: after `bgjob pause` nothing is claimed, whoever works; it is told everywhere; resume ends it."""

from __future__ import annotations

import json
import os
import random
import re
import select
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bgjob import clock, run_background_job, run_background_jobs, users, wake
from bgjob.console import paused
from bgjob.store.connection import Database
from bgjob.store.pause import Pause, PauseStore
from tests.conftest import wait_until
from tests.test_architecture import WAITING_JOB, open_pipe
from tests.test_status import bgjob
from tests.test_tick import imported

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Project

JOBS = """
import os, time

class Job:
    def execute(self):
        pass

    def wait(self):
        "The first attempt waits to be killed."
        first = not os.path.exists("trace")
        with open("trace", "a") as file:
            file.write(f"{os.getpid()}\\n")
        while first:
            time.sleep(0.005)
"""
COUNTS_FORKS = """
import os

def fork(fork=os.fork):
    with open("forks", "a") as file:
        file.write("fork\\n")
    return fork()

os.fork = fork
from bgjob.tick import main
main(__file__)
"""


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure(methods="execute, wait")
    project.write_jobs(JOBS)


def queue(count: int = 1, method: str = "execute") -> None:
    run_background_jobs([("app.jobs.Job", method)] * count)


def pause(project: Project) -> str:
    """Pause as the command does; return the instant at which nobody else could claim."""
    database = Database(str(project.database), durability="full")
    try:
        store = PauseStore(database)
        with store.transaction():
            now = clock.now()
            assert store.pause(now, who="ann@web1", reason="deploy")
    finally:
        database.close()
    return clock.to_text(now)


def resume(project: Project) -> None:
    project.sql("DELETE FROM pause")
    wake.ping(str(project.database))


def linger(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Start a tick that lingers, and wait until it has the queue."""
    tick = project.start_tick("--linger", "60s", *arguments)
    wait_until(lambda: project.sql("SELECT pid FROM runners WHERE ended IS NULL") == [(tick.pid,)])
    return tick


def looks(tick: subprocess.Popen[str]) -> int:
    """Return how often a process has gone to sleep so far."""
    status = Path(f"/proc/{tick.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt_switches"))


def look_often(project: Project, tick: subprocess.Popen[str], times: int) -> None:
    """Let the runner look at the queue so often."""
    for _ in range(times):
        before = looks(tick)
        wake.ping(str(project.database))
        wait_until(lambda before=before: looks(tick) > before)  # type: ignore[misc]


def ended(tick: subprocess.Popen[str]) -> tuple[str, str]:
    """Stop a tick; return what it said."""
    tick.terminate()
    out, err = tick.communicate(timeout=60)
    assert tick.returncode == 0, (out, err)
    return out, err


# Nothing is claimed


@pytest.mark.slow
def test_after_a_pause_has_returned_nothing_is_claimed_until_resume(project: Project) -> None:
    project.configure("workers: 3", methods="execute, wait")
    queue(2000)
    tick = linger(project)
    dice = random.Random(5)  # noqa: S311  # the same instants in each run

    for _ in range(25):
        begun = project.sql("SELECT count(started_at) FROM custom_jobs")
        wait_until(lambda begun=begun: project.sql("SELECT count(started_at) FROM custom_jobs") > begun)  # type: ignore[misc]
        time.sleep(dice.random() * 0.03)  # the instant of the pause
        since = pause(project)
        [(last, count)] = project.sql("SELECT max(started_at), count(started_at) FROM custom_jobs")
        queue(500)  # which wakes the runner
        wait_until(lambda: not project.sql("SELECT 1 FROM custom_jobs WHERE status = 'processing'"))
        look_often(project, tick, 3)

        assert project.sql("SELECT max(started_at), count(started_at) FROM custom_jobs") == [(last, count)]
        assert last < since
        assert project.sql("SELECT 1 FROM custom_jobs WHERE status = 'pending' LIMIT 1")
        resume(project)

    wait_until(lambda: {status for _, status in project.jobs()} == {"completed"})
    assert ended(tick) == ("", "")
    assert project.log(errors=True) == ""


def test_a_tick_of_a_paused_queue_is_silent_starts_nothing_and_costs_no_more_than_an_idle_one(project: Project) -> None:
    queue()
    project.tick()
    queue()
    bgjob(project, "pause")

    done = project.tick(python=["-X", "importtime"])

    assert "yaml" not in imported(done)
    assert done.stdout == ""
    assert project.jobs() == [(1, "completed"), (2, "pending")]
    bgjob(project, "resume")
    project.tick()
    assert project.jobs() == [(1, "completed"), (2, "completed")]


def test_a_runner_that_lingers_starts_no_worker_in_vain_and_takes_jobs_up_at_once_after_resume(
    project: Project,
) -> None:
    project.runner.write_text(COUNTS_FORKS)
    bgjob(project, "pause", "deploy")
    queue(3)
    tick = linger(project, "--tell")

    look_often(project, tick, 30)

    assert project.trace("forks") == []
    assert {status for _, status in project.jobs()} == {"pending"}
    bgjob(project, "resume")
    wait_until(lambda: {status for _, status in project.jobs()} == {"completed"})
    out, err = ended(tick)
    assert re.match(r"  paused by \S+@\S+ for \d+ s: deploy; no job starts until: bgjob resume\n  resumed\n", out)
    assert err == project.log(errors=True) == ""


def test_a_drain_that_is_paused_ends_after_the_job_that_runs(project: Project) -> None:
    project.write_jobs(WAITING_JOB)
    started, go = open_pipe(project.folder / "started"), open_pipe(project.folder / "go")
    queue(2)
    tick = project.start_tick("--tell")
    assert select.select([started], [], [], 30)[0], "the job did not start"

    told = bgjob(project, "pause").stdout
    os.write(go, b"go")
    out, err = tick.communicate(timeout=60)

    os.close(started)
    os.close(go)
    assert told == "paused; 1 job runs on: bgjob wait-idle waits for the end\n"
    assert project.jobs() == [(1, "completed"), (2, "pending")]
    assert (tick.returncode, err) == (0, "")
    assert "1 complete in " in out


@pytest.mark.parametrize("how", [[], ["--in-process"], ["--linger", "5s"]], ids=" ".join)
def test_a_single_job_is_refused_while_paused(project: Project, how: list[str]) -> None:
    queue()
    bgjob(project, "pause", "deploy")

    done = project.tick("--job", "1", *how, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"bgjob: the queue is paused by \S+ for \d+ s: deploy; job 1 was not started\..* bgjob resume\n", done.stderr
    )
    assert project.jobs() == [(1, "pending")]


def test_a_pause_between_the_look_and_the_claim_of_a_single_job_holds_it_up_and_is_said(project: Project) -> None:
    queue()
    insert = "INSERT INTO pause (id, since) VALUES (1, '2026-01-01 00:00:00.000000')"
    project.runner.write_text(
        "import sqlite3\nfrom bgjob import crew\nfork = crew.Crew.fork\n"
        "def paused_fork(*arguments, **named):\n"
        "    connection = sqlite3.connect('storage/jobs.sqlite3')\n"
        f'    with connection: connection.execute("{insert}")\n'
        "    connection.close()\n    fork(*arguments, **named)\n"
        "crew.Crew.fork = paused_fork\nfrom bgjob.tick import main\nmain(__file__)\n"
    )

    done = project.tick("--job", "1", check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "bgjob: the queue was paused in this very moment; job 1 was not started\n"
    assert project.jobs() == [(1, "pending")]


def test_a_job_in_the_runners_own_process_does_not_start_while_paused(project: Project) -> None:
    queue()
    bgjob(project, "pause")

    project.tick("--in-process")

    assert project.jobs() == [(1, "pending")]


def test_while_paused_the_job_of_a_dead_runner_is_rescued_and_waits(project: Project) -> None:
    queue(method="wait")
    tick = project.start_tick()
    wait_until(project.trace)
    tick.kill()
    tick.wait()
    bgjob(project, "pause")

    project.tick()

    assert project.jobs("status, crash_count") == [("pending", 1)]
    bgjob(project, "resume")
    project.tick()
    assert project.jobs("status, crash_count") == [("completed", 1)]


def test_while_paused_old_rows_are_pruned(project: Project) -> None:
    queue()
    project.tick()
    project.sql("UPDATE custom_jobs SET finished_at = '2020-01-01 00:00:00.000000'")
    project.sql("UPDATE housekeeping SET swept_at = NULL")
    queue()
    bgjob(project, "pause")

    project.tick("--quiet")  # an option is doubt enough for the doorman

    assert project.jobs() == [(2, "pending")]


def test_after_a_pause_a_runner_that_lingers_runs_the_code_that_is_there_then(project: Project) -> None:
    code = "import os\nclass Job:\n    def execute(self):\n        print({!r}, os.getpid(), file=open('trace', 'a'))\n"
    project.write_jobs(code.format("before"))
    queue()
    tick = linger(project)
    worker = wait_until(project.trace)[0].split()[1]
    wait_until(lambda: project.jobs() == [(1, "completed")])

    bgjob(project, "pause")
    wait_until(lambda: not Path(f"/proc/{worker}").exists())
    project.write_jobs(code.format("afterwards"))
    bgjob(project, "resume")
    queue()
    wait_until(lambda: len(project.trace()) == 2)

    assert project.trace()[1].split()[0] == "afterwards"
    ended(tick)


# The commands


def test_the_pause_is_one_row_and_one_line_in_the_log_and_so_is_its_end(project: Project) -> None:
    bgjob(project, "pause", "deploy", "of", "42", SUDO_USER="ann")

    [(since, who, reason)] = project.sql("SELECT since, who, reason FROM pause")
    assert clock.from_text(since) <= clock.now()
    assert (who, reason) == (f"ann@{os.uname().nodename}", "deploy of 42")
    assert re.fullmatch(r'.{26} INFO pause who=ann@\S+ reason="deploy of 42" processing=0\n', project.log())
    done = bgjob(project, "resume", SUDO_USER="bob")
    assert re.fullmatch(r"resumed; it was paused by ann@\S+ for \d+ s: deploy of 42\n", done.stdout)
    assert project.sql("SELECT * FROM pause") == []
    assert re.fullmatch(
        r'.{26} INFO resume who=bob@\S+ before="paused by ann@\S+ for \d+ s: deploy of 42"',
        project.log().split("\n")[1],
    )


def test_paused_again_it_keeps_since_when_and_takes_only_a_new_reason(project: Project) -> None:
    bgjob(project, "pause", "deploy", SUDO_USER="ann")
    [(since,)] = project.sql("SELECT since FROM pause")

    silent = bgjob(project, "pause", SUDO_USER="bob").stdout
    told = bgjob(project, "pause", "the disk is full", SUDO_USER="bob").stdout

    assert re.fullmatch(r"already paused by ann@\S+ for \d+ s: deploy; no job is being run\n", silent)
    assert re.fullmatch(r"already paused by ann@\S+ .*; the reason is now: the disk is full; no job .*\n", told)
    assert project.sql("SELECT since, who, reason FROM pause") == [
        (since, f"bob@{os.uname().nodename}", "the disk is full")
    ]
    assert len(project.log().splitlines()) == 2


def test_a_pause_before_the_first_job_makes_the_database_and_a_resume_makes_none(project: Project) -> None:
    assert bgjob(project, "resume").stdout == "the queue was not paused\n"
    assert not project.database.exists()

    bgjob(project, "pause")
    queue()
    project.tick()

    assert project.jobs() == [(1, "pending")]
    assert bgjob(project, "resume").stdout.startswith("resumed; it was paused by ")
    assert bgjob(project, "resume").stdout == "the queue was not paused\n"


def test_json_tells_the_pause(project: Project) -> None:
    first = json.loads(bgjob(project, "pause", "--json").stdout)
    again = json.loads(bgjob(project, "pause", "why", "--json").stdout)
    ended_it = json.loads(bgjob(project, "resume", "--json").stdout)
    nothing = json.loads(bgjob(project, "resume", "--json").stdout)

    assert (first["command"], first["was_paused"], first["processing"]) == ("pause", False, 0)
    assert first["paused"]["since"].endswith("Z")
    assert first["paused"]["reason"] is None
    assert (again["was_paused"], again["paused"]["since"]) == (True, first["paused"]["since"])
    assert ended_it == {"command": "resume", "was_paused": True, "paused_before": again["paused"]}
    assert nothing == {"command": "resume", "was_paused": False, "paused_before": None}


def test_pause_and_resume_wake_the_runner_that_lingers(project: Project) -> None:
    (project.folder / "storage").mkdir()
    ear = wake.Ear(os.path.realpath(project.database))
    assert ear.file is not None

    for command_name in ("pause", "resume"):
        bgjob(project, command_name)

        assert select.select([ear.file], [], [], 0)[0], command_name
        ear.drain()
    ear.close()


def test_a_long_or_odd_reason_is_bounded_and_escaped(project: Project) -> None:
    bgjob(project, "pause", "a\n  b\tc \x1b[2J \udcff" + "ä" * 500)

    [(reason,)] = project.sql("SELECT reason FROM pause")
    assert reason.startswith("a b c \x1b[2J \\udcffää")
    assert len(reason) == 200
    told = bgjob(project, "status").stdout
    assert "\x1b" not in told
    assert "a b c \\x1b[2J \\udcffää" in told
    assert len(project.log().splitlines()) == 1
    bgjob(project, "resume")
    bgjob(project, "pause", "  ", "")
    assert project.sql("SELECT reason FROM pause") == [(None,)]


def test_pause_and_resume_are_synced(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []
    commit = Database.commit

    def commit_and_note(self: Database) -> None:
        levels.append(self.connection.execute("PRAGMA synchronous").fetchone()[0])
        commit(self)

    queue()
    monkeypatch.setattr(Database, "commit", commit_and_note)

    from bgjob.cli.main import main

    assert [main(["pause"]), main(["resume"])] == [0, 0]
    assert levels == [2, 2]  # FULL
    assert project.sql("SELECT * FROM pause") == []


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUDO_USER", "DOAS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654)

    assert users.person() == f"987654@{os.uname().nodename}"


def test_a_pause_that_was_written_by_hand_counts_and_is_told(project: Project) -> None:
    queue()
    project.sql("INSERT INTO pause (id, since) VALUES (1, 'today')")

    project.tick()

    assert project.jobs() == [(1, "pending")]
    assert "PAUSED     for a while; no job starts until: bgjob resume\n" in bgjob(project, "status").stdout
    assert paused(*Pause("x", None, "y"), now=clock.now()) == "paused for a while: y"
    assert bgjob(project, "resume").stdout == "resumed; it was paused for a while\n"


# Shown everywhere


def test_status_begins_with_the_pause_and_show_gives_it_as_the_first_reason(project: Project) -> None:
    queue(2)
    bgjob(project, "pause", "deploy")
    project.sql("UPDATE pause SET since = ?, who = 'ann@web1'", (clock.to_text(clock.later(clock.now(), -310)),))

    told = bgjob(project, "status").stdout
    document = json.loads(bgjob(project, "status", "--json").stdout)
    why = json.loads(bgjob(project, "show", "2", "--json").stdout)["why_not_running"]

    assert told.startswith("PAUSED     by ann@web1 for 5 min 1")
    assert re.match(r"PAUSED     by ann@web1 for 5 min \d+ s: deploy; no job starts until: bgjob resume\n", told)
    assert document["paused"]["who"] == "ann@web1"
    assert re.fullmatch(r"paused by ann@web1 for 5 min \d+ s: deploy", why[0])
    assert why[-1] == "waits behind 1 job"
    bgjob(project, "resume")
    assert json.loads(bgjob(project, "status", "--json").stdout)["paused"] is None


def test_list_queue_and_requeue_remark_the_pause_on_standard_error(project: Project) -> None:
    queue()
    project.sql("UPDATE custom_jobs SET status = 'failed'")
    bgjob(project, "pause", "deploy")

    said = [
        bgjob(project, *words).stderr
        for words in (("list",), ("queue", "app.jobs.Job"), ("requeue", "1"), ("list", "--json"))
    ]

    for text in said:
        assert re.fullmatch(r"paused by \S+ for \d+ s: deploy; no job starts until: bgjob resume\n", text)
    bgjob(project, "resume")
    assert bgjob(project, "list").stderr == ""


def test_a_tick_on_a_terminal_and_a_dry_run_tell_the_pause(project: Project) -> None:
    queue()
    bgjob(project, "pause", "deploy")

    code, shown = project.tick_on_terminal()
    dry = project.tick("--dry-run").stdout

    assert code == 0
    assert re.fullmatch(r"  paused by \S+ for \d+ s: deploy; no job starts until: bgjob resume\n", shown)
    assert re.fullmatch(
        r"paused by .*; no job starts until: bgjob resume\nwithout the pause:\nwould run now, in this order:\n.*\n", dry
    )


def test_a_tick_on_a_terminal_that_has_to_keep_house_tells_the_pause_once(project: Project) -> None:
    queue()
    bgjob(project, "pause", "deploy")
    project.sql("UPDATE housekeeping SET swept_at = NULL")

    _, shown = project.tick_on_terminal()

    assert re.fullmatch(r"  paused by \S+ for \d+ s: deploy; no job starts until: bgjob resume\n", shown)


def test_queueing_goes_on_while_paused(project: Project) -> None:
    bgjob(project, "pause")

    assert run_background_job("app.jobs.Job") is True
    assert project.jobs() == [(1, "pending")]
