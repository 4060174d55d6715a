"""`bgjob status`: what it tells of an empty, a waiting, a working and a broken queue."""

from __future__ import annotations

import json
import os
import select
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from bgjob import clock
from tests.conftest import wait_until
from tests.test_architecture import WAITING_JOB, open_pipe

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Project

JOBS = """
class Job:
    def execute(self, **params):
        if params.get("fail"):
            raise ValueError("no good")
"""


def bgjob(
    project: Project, *arguments: str, code: int = 0, typed: str | None = None, cwd: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run `bgjob` to its end, without a terminal, in an environment with `more`; fail the test unless it ends so."""
    folder = cwd or project.folder
    done = subprocess.run(
        [sys.executable, "-m", "bgjob", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env=project.environment(**{"PWD": str(folder), **more}),
        **({"stdin": subprocess.DEVNULL} if typed is None else {"input": typed}),
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def status(project: Project) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(bgjob(project, "status", "--json").stdout)
    return told


def queue(project: Project, *calls: str) -> None:
    """Queue a job of app.jobs.Job for each text of arguments."""
    lines = "\n".join(f"queue('app.jobs.Job', {call})" for call in calls)
    project.python(f"from bgjob import run_background_job as queue\n{lines}")


def test_without_a_database_it_says_so_and_makes_none(project: Project) -> None:
    done = bgjob(project, "status")

    assert done.stdout.startswith("no job was ever queued: there is no database ")
    assert status(project)["exists"] is False
    assert not project.database.exists()


def test_it_counts_jobs_and_names_the_oldest_due_one(project: Project) -> None:
    project.write_jobs(JOBS)
    queue(project, "", "priority=5", "delay=3000", "params={'fail': True}")
    project.sql("UPDATE custom_jobs SET created_at = '2026-01-01 00:00:00.000000' WHERE id = 2")
    project.sql("UPDATE custom_jobs SET created_at = '2025-01-01 00:00:00.000000' WHERE id = 1")

    told = status(project)

    assert told["counts"] == {"pending": 4, "processing": 0, "completed": 0, "failed": 0, "cancelled": 0}
    assert told["due"] == 3
    assert told["oldest_due"] == {
        "id": 1, "job_class": "app.jobs.Job", "method": "execute", "since": "2025-01-01T00:00:00.000000Z"
    }  # fmt: skip
    assert told["next_due_at"] > told["now"]
    assert "4 pending (3 due)" in bgjob(project, "status").stdout
    assert "oldest     job 1 app.jobs.Job.execute, due for " in bgjob(project, "status").stdout


def test_a_delayed_job_that_fell_due_first_is_the_oldest(project: Project) -> None:
    queue(project, "", "delay=3000")
    project.sql("UPDATE custom_jobs SET available_at = '2020-01-01 00:00:00.000000' WHERE id = 2")

    told = status(project)

    assert (told["due"], told["oldest_due"]["id"], told["next_due_at"]) == (2, 2, None)


def test_it_tells_of_the_last_hour_and_when_the_backlog_is_done(project: Project) -> None:
    project.configure("max_retries: 1")
    project.write_jobs(JOBS)
    queue(project, "", "", "params={'fail': True}")
    project.tick()
    project.sql("UPDATE tallies SET seconds = 20.0")
    queue(project, "", "", "")

    told = status(project)
    lines = bgjob(project, "status").stdout

    hour = told["last_hour"]
    assert (hour["completed"], hour["failed"], hour["failed_attempts"]) == (2, 1, {"raised": 2})
    assert 6.5 < hour["seconds_a_job"] < 6.8  # 20 s, 3 jobs
    assert 19.5 < told["backlog_seconds"] < 20.4
    assert "last hour  2 completed, 1 failed; 2 attempts failed (2 raised); 6.7 s a job" in lines
    assert "backlog    3 jobs, done in about 20.0 s once a tick comes" in lines


def test_what_ended_before_the_last_hour_is_not_counted_as_lately(project: Project) -> None:
    project.configure("max_retries: 0")
    project.write_jobs(JOBS)
    queue(project, "", "params={'fail': True}")
    project.tick()
    project.sql("UPDATE attempts SET finished_at = '2026-01-01 00:00:00.000000'")
    project.sql("UPDATE tallies SET span = '2026-01-01 00:00' WHERE length(span) = 16")

    hour = status(project)["last_hour"]

    assert hour == {
        "completed": 0, "failed": 0, "failed_attempts": {}, "failed_attempts_are_all": True, "seconds_a_job": None
    }  # fmt: skip
    assert "last hour  nothing ended" in bgjob(project, "status").stdout


def test_it_tells_what_runs_and_who_holds_the_lock_and_then_that_the_runner_ended(project: Project) -> None:
    project.write_jobs(WAITING_JOB)
    queue(project, "")
    started, go = open_pipe(project.folder / "started"), open_pipe(project.folder / "go")
    tick = project.start_tick()
    assert select.select([started], [], [], 30)[0], "the job did not start"
    worker = int(os.read(started, 100))

    told, lines = status(project), bgjob(project, "status").stdout
    os.write(go, b"go")
    tick.communicate(timeout=30)
    after = bgjob(project, "status").stdout
    os.close(started)
    os.close(go)

    assert [(row["id"], row["runner_lives"], row["worker"].split()[0]) for row in told["running"]] == [
        (1, True, str(worker))
    ]
    assert (told["runner"]["pid"], told["runner"]["is_at_work"]) == (tick.pid, True)
    assert (told["is_locked"], told["lock_holder"]) == (True, tick.pid)
    assert f"running    job 1 app.jobs.Job.execute, for 0 s, process {worker}" in lines
    assert f"runner     1 (process {tick.pid}) is at work for 0 s, and holds the lock" in lines
    assert "runner     none is at work; number 1 ended 0 s ago" in after
    assert "running " not in after


def test_a_job_whose_runner_was_killed_is_told_as_that(project: Project) -> None:
    project.write_jobs(WAITING_JOB)
    queue(project, "")
    started, go = open_pipe(project.folder / "started"), open_pipe(project.folder / "go")
    tick = project.start_tick()
    assert select.select([started], [], [], 30)[0], "the job did not start"
    tick.kill()
    tick.wait()

    lines = wait_until(lambda: _gone(project))

    os.close(started)
    os.close(go)
    assert "; its runner 1 is gone, the next tick takes the job back" in lines
    assert "runner     none is at work; number 1 died, last seen " in lines


def _gone(project: Project) -> str:
    lines = bgjob(project, "status").stdout
    return lines if "died" in lines else ""


def test_a_silent_cron_is_told(project: Project) -> None:
    queue(project, "")
    never = bgjob(project, "status").stdout
    sign = project.database.with_name("jobs.sqlite3.tick")
    sign.touch()
    lately = bgjob(project, "status").stdout
    seven_minutes_ago = time.time() - 425
    os.utime(sign, (seven_minutes_ago, seven_minutes_ago))

    late = bgjob(project, "status").stdout

    assert "last tick  never: is cron running" in never
    assert "last tick  0 s ago\n" in lately
    assert "last tick  7 min 5 s ago: is cron running? bgjob doctor looks for the reason" in late


def test_it_neither_waits_for_a_writer_nor_blocks_one(project: Project) -> None:
    queue(project, "")
    writer = sqlite3.connect(project.database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE custom_jobs SET priority = 7")
    began = clock.monotonic()

    told = status(project)

    assert clock.monotonic() - began < 5
    assert told["due"] == 1
    writer.execute("COMMIT")
    writer.close()


def test_it_reads_a_database_that_nobody_may_write(project: Project) -> None:
    queue(project, "")
    before = project.database.read_bytes()
    project.database.chmod(0o444)

    told = status(project)

    assert told["due"] == 1
    assert project.database.read_bytes() == before


def test_another_programs_database_is_one_line_and_69(project: Project) -> None:
    project.database.parent.mkdir()
    other = sqlite3.connect(project.database)
    other.execute("PRAGMA application_id = 7")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()

    for command in (("status",), ("list",), ("show", "1")):
        done = bgjob(project, *command, code=69)

        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert "belongs to another program" in done.stderr


def test_a_file_that_is_no_database_and_one_without_tables_are_one_line_and_69(project: Project) -> None:
    project.database.parent.mkdir()
    project.database.write_text("no database, but long enough to be looked at " * 40)
    wrong = bgjob(project, "status", code=69)
    project.database.write_text("")

    empty = bgjob(project, "status", code=69)

    assert "it is no SQLite database" in wrong.stderr
    assert "has no table custom_jobs yet" in empty.stderr
    assert project.database.read_bytes() == b""
