"""The hooks: a job that is queued when another one has failed for good, in the transaction that settles that one."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import clock, hooks, run_background_job
from bgjob.config import parse_config, read_config
from bgjob.job import ClaimedJob, Raised
from bgjob.settlement import settle
from bgjob.store.connection import Database
from bgjob.store.jobs import JobStore
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import os, time

class Job:
    def execute(self):
        pass

    def boom(self, secret=None):
        raise ValueError("no good")

    def crash(self):
        os._exit(3)

    def forever(self):
        time.sleep(60)

    def wait(self):
        open("trace", "a").write("begin\\n")
        time.sleep(60)

class Tell:
    def execute(self, job):
        with open("told", "a") as file:
            file.write(f"{job['id']} {job['outcome']}: {job['error']}\\n")
        if os.path.exists("broken"):
            raise OSError("no mail server")
"""
CLASSES = "app.jobs.Job, app.jobs.Tell"
METHODS = "execute, boom, crash, forever, wait"
HOOK = "on_failure: app.jobs.Tell\nmax_retries: 0\n"


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure(HOOK, methods=METHODS, classes=CLASSES)
    project.write_jobs(JOBS)


def told(project: Project) -> list[dict[str, Any]]:
    rows = project.sql("SELECT params FROM custom_jobs WHERE job_class = 'app.jobs.Tell' ORDER BY id")
    return [json.loads(params)["job"] for (params,) in rows]


def test_a_job_that_has_failed_for_good_is_told_of_in_the_same_tick(project: Project) -> None:
    run_background_job("app.jobs.Job", "boom", {"secret": "s3cret"}, priority=7)
    run_background_job("app.jobs.Job")

    project.tick()

    [(failed_at,)] = project.sql("SELECT finished_at FROM custom_jobs WHERE id = 1")
    assert told(project) == [
        {
            "id": 1,
            "job_class": "app.jobs.Job",
            "method": "boom",
            "priority": 7,
            "attempt": 1,
            "outcome": "raised",
            "error": "ValueError: no good",
            "failed_at": failed_at,
        }
    ]
    assert project.trace("told") == ["1 raised: ValueError: no good"]
    assert project.jobs("id, status, priority") == [(1, "failed", 7), (2, "completed", 0), (3, "completed", 7)]


def test_a_failure_that_is_tried_again_is_not_told(project: Project) -> None:
    project.configure("on_failure: app.jobs.Tell\nmax_retries: 2\n", methods=METHODS, classes=CLASSES)
    run_background_job("app.jobs.Job", "boom")

    project.tick()

    assert [(facts["id"], facts["attempt"]) for facts in told(project)] == [(1, 3)]


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("crash", "1 crashed: the worker ended itself with exit code 3"),
        ("forever", "1 timed out: "),
        ("gone", "1 raised: method 'gone' is not approved"),
    ],
)
def test_every_kind_of_failure_is_told(project: Project, method: str, error: str) -> None:
    project.configure(HOOK + "timeout: 200ms", methods=f"{METHODS}, gone", classes=CLASSES)
    run_background_job("app.jobs.Job", method)
    project.configure(HOOK + "timeout: 200ms", methods=METHODS, classes=CLASSES)

    project.tick()

    [line] = project.trace("told")
    assert line.startswith(error)


def test_a_job_whose_runner_died_is_told_by_the_tick_that_rescues_it(project: Project) -> None:
    run_background_job("app.jobs.Job", "wait")
    tick = project.start_tick()
    wait_until(project.trace)
    os.kill(tick.pid, signal.SIGKILL)
    tick.wait()

    project.tick()

    assert project.trace("told") == ["1 crashed: its runner died in the middle of the job"]


def test_a_hook_that_fails_is_not_told_to_itself(project: Project) -> None:
    (project.folder / "broken").touch()
    run_background_job("app.jobs.Job", "boom")

    project.tick()
    project.tick()

    assert project.jobs("job_class, status") == [("app.jobs.Job", "failed"), ("app.jobs.Tell", "failed")]


def test_without_a_hook_nothing_is_queued(project: Project) -> None:
    project.configure("max_retries: 0\n", methods=METHODS, classes=CLASSES)
    run_background_job("app.jobs.Job", "boom")

    project.tick()

    assert project.jobs() == [(1, "failed")]


def test_a_hook_that_lost_its_approval_is_a_mistake_of_the_config(project: Project) -> None:
    run_background_job("app.jobs.Job", "boom")
    project.configure(HOOK, methods=METHODS)

    done = project.tick(check=False)

    assert (done.returncode, done.stdout) == (78, "")
    assert "jobs.yaml:4:13: on_failure: app.jobs.Tell is not approved" in done.stderr
    assert project.jobs() == [(1, "pending")]


def test_what_another_program_wrote_is_told_as_far_as_it_can_be(project: Project) -> None:
    run_background_job("app.jobs.Job", "boom")
    project.sql_unchecked("UPDATE custom_jobs SET job_class = CAST(x'ff41' AS TEXT), priority = 'high'")

    project.tick()

    [facts] = told(project)
    assert (facts["job_class"], facts["priority"]) == ("\\udcffA", 0)
    assert project.jobs("status") == [("failed",), ("completed",)]


def test_the_loss_of_a_job_that_was_taken_away_meanwhile_is_not_told(project: Project) -> None:
    run_background_job("app.jobs.Job", "boom")
    project.sql("UPDATE custom_jobs SET status = 'processing', runner = 2, worker = '2 0 -'")
    config = read_config(str(project.folder / "config" / "jobs.yaml"))
    job = ClaimedJob(1, "app.jobs.Job", "boom", None, 0, 0, 0, 1, "1 0 -")
    database = Database(str(project.database))

    with database.transaction():
        settled = settle(
            JobStore(database), job, Raised("no good", ""), clock.now(), config=config, output="", dice=0.0
        )

    database.close()
    assert (settled.verb, settled.held) == ("fail", False)
    assert project.jobs() == [(1, "processing")]


def test_a_long_error_is_cut() -> None:
    lists = b"approved_classes: [a.Tell]\napproved_methods: [execute]\non_failure: a.Tell\n"
    config = parse_config(lists, "/srv/app/config/jobs.yaml")
    job = ClaimedJob(1, "a.Job", "execute", None, 0, 0, 0, 1, "1 0 -")

    queued = hooks.on_failure(config, job, Raised("x" * 1_000_000, ""), clock.now())

    assert queued is not None
    assert queued["params"] is not None
    assert len(queued["params"]) < 3_000
