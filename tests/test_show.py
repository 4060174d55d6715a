"""`bgjob show ID`: all of one job, and why it is not running yet; and what all commands share."""

from __future__ import annotations

import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bgjob.cli.main import COMMANDS
from tests.test_architecture import WAITING_JOB, open_pipe
from tests.test_status import bgjob, queue

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
class Job:
    def execute(self, **params):
        print("hello\\tyou\\x1b[2J")
    def fail(self):
        print("about to fail")
        raise ValueError("no good")
"""


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("max_retries: 3", methods="execute, fail")
    project.write_jobs(JOBS)


def show(project: Project, job_id: int = 1) -> str:
    return bgjob(project, "show", str(job_id)).stdout


def why(project: Project, job_id: int = 1) -> list[str]:
    told: dict[str, Any] = json.loads(bgjob(project, "show", str(job_id), "--json").stdout)
    return list(told["why_not_running"])


def tick_now(project: Project) -> None:
    """Leave the sign of life of a tick that came just now."""
    project.database.with_name("jobs.sqlite3.tick").touch()


# All of one job


def test_it_shows_the_fields_the_params_and_each_attempt_with_traceback_and_output(project: Project) -> None:
    project.configure("max_retries: 1", methods="execute, fail")
    queue(project, "'fail', priority=3", "params={'to': 'Ärger', 'n': [1, 2]}")
    project.tick()

    failed, done = show(project, 1), show(project, 2)

    assert "job 1  app.jobs.Job.fail\nstatus        failed\n" in failed
    assert "priority      3\nretry_count   1\n" in failed
    assert "error         ValueError: no good\nparams        none\nattempt 1: raised after " in failed
    assert failed.count("    raise ValueError(") == failed.count("    about to fail\n") == 2
    assert "\nattempt 2: raised after " in failed
    assert 'params\n  {\n    "to": "Ärger",\n    "n": [\n      1,\n      2\n    ]\n  }\n' in done
    assert "attempt 1: succeeded after " in done
    assert "  output:\n    hello   you\\x1b[2J\n" in done
    assert "why " not in failed + done


def test_json_has_the_row_and_the_attempts_under_stable_keys(project: Project) -> None:
    project.configure("max_retries: 0", methods="execute, fail")
    queue(project, "'fail'")
    project.tick()

    told = json.loads(bgjob(project, "show", "1", "--json").stdout)

    assert list(told) == ["job", "attempts", "why_not_running", "progress", "log"]
    assert {name: told["job"][name] for name in ("id", "status", "error", "params")} == {
        "id": 1, "status": "failed", "error": "ValueError: no good", "params": None
    }  # fmt: skip
    assert told["job"]["created_at"].endswith("Z")
    [attempt] = told["attempts"]
    assert list(attempt) == [
        "attempt", "outcome", "verdict", "started_at", "finished_at", "error", "traceback", "output", "seconds"
    ]  # fmt: skip
    assert (attempt["outcome"], attempt["output"]) == ("raised", "about to fail\n")
    assert 0 <= attempt["seconds"] < 10


def test_an_unknown_id_is_one_line_and_1_and_a_wrong_one_2(project: Project) -> None:
    before = bgjob(project, "show", "7", code=1)
    queue(project, "")

    unknown, wrong = bgjob(project, "show", "7", code=1), bgjob(project, "show", "x7", code=2)

    assert before.stderr.startswith("bgjob: there is no job 7: no job was ever queued in ")
    assert unknown.stderr.startswith("bgjob: there is no job 7 in ")
    assert unknown.stderr.count("\n") == before.stderr.count("\n") == 1
    assert "'x7' is no job id" in wrong.stderr


# Why it is not running yet


def test_a_delayed_job_and_a_retry_tell_when_they_are_due(project: Project) -> None:
    queue(project, "delay=250.9", "delay=60")
    project.sql("UPDATE custom_jobs SET retry_count = 3 WHERE id = 2")
    tick_now(project)

    assert why(project, 1) == ["due in 4 min 10 s: queued with a delay"]
    assert why(project, 2) in ([f"due in {seconds} s: third retry"] for seconds in (58, 59))


def test_a_due_job_tells_how_many_are_before_it(project: Project) -> None:
    queue(project, "", "priority=9", "delay=3000", "priority=5", "priority=-1")
    project.sql("UPDATE custom_jobs SET available_at = '2026-01-01 00:00:00.000000' WHERE id = 3")
    tick_now(project)

    told = [why(project, job_id) for job_id in range(1, 6)]

    assert told == [
        ["waits behind 2 jobs"],
        ["it is the next one, and waits for the next tick"],
        ["waits behind 3 jobs"],
        ["waits behind 1 job"],
        ["waits behind 4 jobs"],
    ]


def test_a_silent_cron_is_named_first(project: Project) -> None:
    queue(project, "")
    never = why(project)
    tick_now(project)
    sign = project.database.with_name("jobs.sqlite3.tick")
    seven_minutes_ago = time.time() - 420.5
    os.utime(sign, (seven_minutes_ago, seven_minutes_ago))

    late = why(project)

    assert never == ["no tick ever came: is cron running? bgjob doctor looks for the reason"]
    assert late == ["no tick for 7 min: is cron running? bgjob doctor looks for the reason"]


def test_busy_workers_are_told_and_so_is_the_job_that_runs(project: Project) -> None:
    project.write_jobs(WAITING_JOB)
    queue(project, "", "")
    started, go = open_pipe(project.folder / "started"), open_pipe(project.folder / "go")
    tick = project.start_tick()
    assert select.select([started], [], [], 30)[0], "the job did not start"
    worker = int(os.read(started, 100))

    running, waiting = why(project, 1), why(project, 2)
    tick.send_signal(signal.SIGKILL)
    tick.wait()
    orphaned = why(project, 1)
    os.close(started)
    os.close(go)

    assert running == [f"it is being run by process {worker}, for 0 s"]
    assert waiting == ["the worker is busy"]
    assert orphaned == ["its runner (1) is gone; the next tick takes the job back"]


def test_a_class_that_is_approved_no_more_is_told(project: Project) -> None:
    queue(project, "")
    tick_now(project)
    project.configure(classes="app.jobs.Other")

    [told, _] = why(project)

    assert told.startswith("it would fail: 'app.jobs.Job' is not approved")


# What all commands share


def test_the_runner_and_the_check_are_commands_too(project: Project) -> None:
    queue(project, "'execute'", "'fail'", "delay=3000")

    ran = bgjob(project, "run", "-v", "--exit-code", "--job", "1")
    bgjob(project, "run")
    nothing = bgjob(project, "run", "--job", "1", code=1)
    fine, found = bgjob(project, "check"), json.loads(bgjob(project, "check", "--json").stdout)
    project.configure(classes="app.jobs.Missing")
    missing = json.loads(bgjob(project, "check", "--json", code=78).stdout)

    assert "DONE" in ran.stdout
    assert [status for _, status in project.jobs()] == ["completed", "failed", "pending"]
    assert "job 1 is completed" in nothing.stderr
    assert fine.stdout.startswith("  app.jobs.Job: execute, fail\n")
    assert "is fine: 1 approved class" in fine.stdout
    assert (found["problems"], found["classes"]) == ([], ["app.jobs.Job"])
    assert found["methods"] == {"app.jobs.Job": ["execute", "fail"]}
    assert missing["problems"][0].startswith("app.jobs.Missing")


def test_a_loop_by_the_command_starts_ticks(project: Project) -> None:
    queue(project, "")
    loop = subprocess.Popen(
        [sys.executable, "-m", "bgjob", "run", "--loop"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=project.folder,
        env=project.environment(),
    )
    assert loop.stdout
    try:
        line = loop.stdout.readline()
    finally:
        loop.terminate()
        loop.communicate(timeout=30)

    assert "app.jobs.Job.execute" in line
    assert loop.returncode == 0


def test_the_config_is_found_above_and_named_before_or_after_the_command(project: Project, tmp_path: Any) -> None:
    queue(project, "")
    config = str(project.folder / "config" / "jobs.yaml")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def told(*arguments: str, **more: str) -> int:
        done = subprocess.run(
            [sys.executable, "-m", "bgjob", *arguments],
            capture_output=True,
            check=False,
            text=True,
            cwd=elsewhere,
            env=project.environment(**more),
            timeout=60,
        )
        assert done.returncode in (0, 78), done.stderr
        return json.loads(done.stdout)["due"] if done.returncode == 0 else 78

    assert told("--config", config, "status", "--json") == 1
    assert told("--json", "status", f"--config={config}") == 1
    assert told("status", "--json", BGJOB_CONFIG=config) == 1
    assert told("status", "--json", "--config", str(elsewhere / "none.yaml")) == 78


def test_an_error_of_many_lines_stands_with_its_attempt_and_its_first_line_above(project: Project) -> None:
    project.configure("max_retries: 0")
    project.write_jobs("class Job:\n    def execute(self):\n        raise ValueError('one\\ntwo')\n")
    queue(project, "")
    project.tick()

    shown = bgjob(project, "show", "1").stdout

    assert "\nerror         ValueError: one\n" in shown
    assert "\n  ValueError: one\n  two\n" in shown

    project.sql("DELETE FROM attempts")
    assert "\nerror         ValueError: one\\ntwo\n" in bgjob(project, "show", "1").stdout


def test_a_command_that_there_is_not_gets_a_hint_and_none_gets_help(project: Project) -> None:
    wrong, none, asked = bgjob(project, "statsu", code=2), bgjob(project, code=2), bgjob(project, "--help")

    assert "there is no command 'statsu'; did you mean 'status'?" in wrong.stderr
    assert "status, list, show" in none.stderr
    assert all(f"\n  {name} " in asked.stdout for name in [*COMMANDS, "run"])
    assert bgjob(project, "--version").stdout.startswith("bgjob ")


@pytest.mark.parametrize("command", [*COMMANDS, "run"])
def test_every_command_has_help(project: Project, command: str) -> None:
    told = bgjob(project, command, "--help", COLUMNS="80").stdout

    assert told.startswith(f"usage: bgjob {command} ")
    assert "--config PATH" in told
    assert max(map(len, told.splitlines())) < 80, "it fits a terminal"


def test_the_list_of_commands_fits_a_terminal(project: Project) -> None:
    assert max(map(len, bgjob(project, "--help", COLUMNS="80").stdout.splitlines())) < 80


def test_a_wrong_config_is_78_for_every_command(project: Project) -> None:
    project.configure("worker: 2")

    for command in (("status",), ("list",), ("show", "1"), ("run",), ("check",)):
        done = bgjob(project, *command, code=78)

        assert "did you mean 'workers'?" in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize(
    "command",
    [
        ("status",), ("list",), ("show", "1"), ("requeue", "--all"), ("cancel", "1"), ("delete", "--all"), ("prune",),
        ("pause",), ("resume",), ("wait-idle", "--timeout", "0"), ("metrics",), ("run",), ("run", "--dry-run"),
        ("queue", "app.jobs.Job"),
    ],
)  # fmt: skip
def test_a_database_that_can_not_be_looked_for_is_not_told_as_none(project: Project, command: tuple[str, ...]) -> None:
    queue(project, "")
    (project.folder / "storage").rename(project.folder / "elsewhere")
    (project.folder / "storage").symlink_to("storage")  # root may look into any folder, but not into this one

    done = bgjob(project, *command, code=69)

    assert done.stderr.startswith(f"bgjob: {project.database}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("command", "tidies_up"), [("status", False), ("show 99", False), ("--json list", False), ("run -q", True)]
)
def test_a_command_ends_at_once_and_only_run_leaves_a_job_its_exit(
    project: Project, command: str, *, tidies_up: bool
) -> None:
    queue(project, "")
    code = f"import atexit, sys; sys.argv = ['bgjob', *{command.split()!r}]; atexit.register(print, 'tidied up')"

    told = project.python(f"{code}; from bgjob.cli.main import program; program()", check=False)

    assert ("tidied up" in told.stdout) is tidies_up
    assert told.stdout + told.stderr
    assert told.returncode == (1 if command == "show 99" else 0)


def test_what_goes_through_a_pipe_is_all_there(project: Project) -> None:
    project.python("from bgjob import run_background_jobs as queue; queue([('app.jobs.Job', 'execute')] * 3_000)")

    listed = json.loads(bgjob(project, "list", "--limit", "3000", "--within", "1m", "--json").stdout)

    assert len(listed["jobs"]) == 3_000


def test_a_full_disk_behind_the_output_is_one_line(project: Project) -> None:
    queue(project, "")

    with Path("/dev/full").open("w", encoding="ascii") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bgjob", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
            cwd=project.folder,
            env=project.environment(),
            timeout=60,
        )

    assert done.returncode != 0
    assert done.stderr == "bgjob: the output can't be written: No space left on device\n"


def test_closed_standard_streams_do_no_harm_to_the_database(project: Project) -> None:
    queue(project, "")

    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bgjob status >&- 2>&- <&-"],
        check=False,
        cwd=project.folder,
        env=project.environment(),
        timeout=60,
    )

    assert done.returncode == 0
    connection = sqlite3.connect(project.database)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


# What the logs tell of it


def log_of(project: Project, job_id: int) -> list[str]:
    """Return level and verb of each line that is shown."""
    told = json.loads(bgjob(project, "show", str(job_id), "--json").stdout)
    return [" ".join(line.split()[2:4]) for line in told["log"]]


def test_the_lines_of_both_logs_about_the_job_are_shown_in_their_order(project: Project) -> None:
    project.configure("max_retries: 1\nretry_delay: 0", methods="execute, fail")
    queue(project, "'fail'", "params=[' job=1 ']", "")
    bgjob(project, "run")

    assert sorted(log_of(project, 1)) == ["ERROR fail", "ERROR raised", "WARNING raised", "WARNING retry"]
    assert log_of(project, 3) == ["INFO complete"]
    told = show(project, 3)
    assert told.splitlines()[-2] == "log"
    assert " INFO complete job=3 class=app.jobs.Job method=execute " in told.splitlines()[-1]


def test_lines_in_logs_that_were_rotated_are_found_and_those_that_only_look_alike_are_not(project: Project) -> None:
    queue(project, "")
    bgjob(project, "run")
    log = project.folder / "storage" / "logs" / "background_jobs.log"
    line = log.read_text()
    log.rename(log.with_name(f"{log.name}.1"))
    alike = (
        line.replace(" job=1 ", " job=11 "),
        line.replace(" job=1 ", ' job=2 error="of job=1 again" '),
        "\t2026-01-01 00:00:00.000000 INFO complete job=1 of a traceback\n",
    )
    log.write_text("".join(alike) + line.replace("INFO complete", "INFO requeue").rstrip("\n"))

    assert sorted(log_of(project, 1)) == ["INFO complete", "INFO requeue"]


def test_of_many_lines_the_newest_fifty_of_a_log_are_shown(project: Project) -> None:
    queue(project, "")
    log = project.folder / "storage" / "logs" / "background_jobs.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"2026-01-01 00:00:{n:02}.000000 INFO retry{n} job=1 x\n" for n in range(60)))

    assert log_of(project, 1) == [f"INFO retry{n}" for n in range(10, 60)]


def test_a_log_that_can_not_be_read_is_told_beside_the_job(project: Project) -> None:
    queue(project, "")
    (project.folder / "storage" / "logs" / "background_jobs.log").mkdir(parents=True)

    done = bgjob(project, "show", "1")

    assert done.returncode == 0
    assert "background_jobs.log can't be read: Is a directory" in done.stderr
    assert "job 1  app.jobs.Job.execute" in done.stdout
