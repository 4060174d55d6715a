"""Looking jobs up from a program: what stands in the table, and the same that the command line finds."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from freezegun import freeze_time

from bgjob import ConfigError, InvalidJobError, StoreError, get_job, jobs, run_background_job, run_background_jobs

if TYPE_CHECKING:
    from tests.conftest import Project

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
JOBS = """
class Job:
    def execute(self, *, fails=False):
        print("so far")
        if fails:
            raise ValueError("no such month")

class Other(Job):
    pass
"""


@pytest.fixture(autouse=True)
def app(project: Project) -> None:
    project.configure("max_retries: 1", classes="app.jobs.Job, app.jobs.Other", methods="execute, other")
    project.write_jobs(JOBS)


def ids(**asked: Any) -> list[int]:
    return [job.id for job in jobs(**asked)]


def test_a_job_that_failed_tells_all_of_its_attempts(project: Project) -> None:
    run_background_job("app.jobs.Job", params={"fails": True}, priority=3)
    project.tick()

    job = get_job(1)

    assert job is not None
    assert (job.status, job.error, job.retry_count, job.crash_count) == ("failed", "ValueError: no such month", 1, 0)
    assert (job.params, job.params_json, job.priority) == ({"fails": True}, '{"fails":true}', 3)
    assert job.created_at is not None
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.created_at < job.started_at < job.finished_at
    assert job.database == str(project.database)
    first, second = job.attempts
    assert (first.attempt, first.outcome, first.error) == (1, "raised", "ValueError: no such month")
    assert (second.attempt, second.output) == (2, "so far\n")
    assert "raise ValueError" in str(second.traceback)
    assert second.finished_at == job.finished_at


def test_an_attempt_tells_that_the_job_gave_up(project: Project) -> None:
    project.write_jobs(
        "import bgjob\nclass Job:\n    def execute(self):\n        raise bgjob.GiveUp('no such month')\n"
    )
    run_background_job("app.jobs.Job")
    project.tick()

    [job] = jobs(status="failed")
    [attempt] = job.attempts

    assert (attempt.outcome, attempt.verdict, attempt.error) == ("raised", "gave up", "no such month")


def test_a_job_that_is_not_there_is_none(project: Project) -> None:
    assert get_job(1) is None
    assert jobs() == []
    assert not project.database.exists()

    run_background_job("app.jobs.Job")

    assert get_job(1) is not None
    assert [get_job(number) for number in (-1, 0, 2, 2**63, 10**30)] == [None] * 5


def test_jobs_are_found_by_all_that_can_be_asked() -> None:
    with freeze_time(NOW):
        run_background_job("app.jobs.Job", params={"month": "November"})
        run_background_job("app.jobs.Job", "other", priority=5)
    with freeze_time(NOW + HOUR):
        run_background_job("app.jobs.Other", delay=60)

    with freeze_time(NOW + HOUR):
        assert ids() == [3, 2, 1]
        assert ids(job_class="app.jobs.Job") == [2, 1]
        assert ids(method="other") == [2]
        assert ids(priority=5) == [2]
        assert ids(text="november") == [1]
        assert ids(error="november") == []
        assert ids(status="pending") == [3, 2, 1]
        assert ids(status="running") == ids(status="processing") == []
        assert ids(since=NOW + HOUR) == ids(since=HOUR / 2) == [3]
        assert ids(until=NOW) == ids(until=HOUR) == [2, 1]
        assert ids(since=(NOW + HOUR).astimezone(dt.timezone(-HOUR))) == [3]
        assert ids(sort="oldest") == [1, 2, 3]
        assert ids(sort="priority") == [2, 1, 3]
        assert ids(sort="due") == [1, 2, 3]
        assert ids(job_class="app.jobs.Job", priority=0, status="pending") == [1]


def test_pages_are_gone_through_by_ids_or_by_an_offset() -> None:
    run_background_jobs(["app.jobs.Job"] * 120)

    assert ids() == list(range(120, 20, -1))
    assert ids(before=21) == list(range(20, 0, -1))
    assert ids(limit=2, offset=3) == [117, 116]
    assert ids(sort="oldest", limit=2, after=5) == [6, 7]
    assert ids(limit=0) == []


def test_a_class_is_found_under_the_name_by_which_it_is_approved(project: Project) -> None:
    done = project.python(
        "import bgjob\nfrom app.jobs import Job, Other\nbgjob.queue_job(Other().execute)\n"
        "print([job.job_class for job in bgjob.jobs(job_class=Other)], bgjob.jobs(job_class=Job))"
    )

    assert done.stdout == "['app.jobs.Other'] []\n"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"status": "done"},
            "status must be one of pending, processing, completed, failed, cancelled .or running., not",
        ),
        ({"sort": "random"}, "sort must be one of newest, oldest, priority, due, duration"),
        ({"sort": "due", "status": "failed"}, "due is an order of pending jobs; leave out the status failed"),
        ({"sort": "due", "status": []}, "status must be one of"),
        ({"job_class": 5}, "job_class must be a class or its dotted name"),
        ({"method": 5}, "method must be text, not int"),
        ({"error": ValueError}, "error must be text, not type"),
        ({"text": "\udc80"}, "text holds a lone surrogate, which no row can hold"),
        ({"priority": "5"}, "priority must be a whole number, not str"),
        ({"priority": 2**63}, "priority must be a whole number from -9223372036854775808"),
        ({"limit": -1}, "limit must be a whole number from 0"),
        ({"limit": None}, "limit must be a whole number, not NoneType"),
        ({"offset": 1.5}, "offset must be a whole number, not float"),
        ({"since": NOW.replace(tzinfo=None)}, "since has no time zone"),
        ({"until": "2h"}, "until must be an aware datetime, or a timedelta for so long ago, not str"),
        ({"after": 5}, "after goes with sort='oldest'"),
        ({"before": 5, "sort": "oldest"}, "before does not go with sort='oldest'"),
        ({"before": "5"}, "before must be a whole number"),
    ],
)
def test_what_can_not_be_asked_is_refused_with_a_reason(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidJobError, match=told):
        jobs(**asked)


def test_an_id_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidJobError, match="the id of a job is a whole number, not str"):
        get_job("1")  # type: ignore[arg-type]


def test_a_row_that_another_program_wrote_past_all_checks_is_read_all_the_same(project: Project) -> None:
    run_background_jobs(["app.jobs.Job"] * 2)
    project.sql_unchecked(
        "UPDATE custom_jobs SET params = '{', retry_count = 'many', available_at = 'soon' WHERE id = 1"
    )
    project.sql_unchecked(
        "UPDATE custom_jobs SET params = '[[1]]', created_at = NULL, retry_count = x'00' WHERE id = 2"
    )

    second, first = jobs()

    assert (first.params, first.retry_count, first.available_at) == ("{", 0, None)
    assert (second.params, second.created_at, second.retry_count) == ([[1]], None, 0)


def test_jobs_are_looked_up_while_another_process_writes(project: Project) -> None:
    run_background_job("app.jobs.Job")
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(project.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holding:
        assert holding.stdout is not None
        assert holding.stdin is not None
        assert holding.stdout.readline() == "held\n"

        assert ids() == [1]
        assert get_job(1) is not None

        holding.stdin.close()


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE custom_jobs SET priority = 1")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_database_that_can_not_be_read_is_an_error_of_ours(project: Project) -> None:
    project.database.parent.mkdir()
    project.database.write_text("no database, but long enough to be looked at " * 100)

    with pytest.raises(StoreError):
        jobs()
    with pytest.raises(StoreError):
        get_job(1)


def test_the_config_is_found_as_in_queueing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    run_background_job("app.jobs.Job")
    config = project.folder / "config" / "jobs.yaml"
    monkeypatch.chdir("/")

    with pytest.raises(ConfigError):
        jobs()
    monkeypatch.setenv("BGJOB_CONFIG", str(config))
    assert ids() == [1]


def test_the_command_line_finds_the_same(project: Project) -> None:
    run_background_jobs([("app.jobs.Job", "execute", {"number": number}, number) for number in range(5)])

    command = "import sys; sys.argv = ['bgjob', *'list --json --text number'.split()]"
    told = project.python(f"{command}; from bgjob.cli.main import main; main()")

    listed = json.loads(told.stdout)["jobs"]
    found = jobs(text="number")
    assert [(job["id"], job["params"], job["priority"]) for job in listed] == [
        (job.id, job.params_json, job.priority) for job in found
    ]


def test_all_rows_are_looked_at_however_long_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    run_background_jobs([("app.jobs.Job", "execute", {"needle": 1}), *["app.jobs.Job"] * 3_000])
    slow = iter(range(0, 10_000_000, 1_000))
    monkeypatch.setattr("bgjob.clock.monotonic", lambda: next(slow))

    assert ids(text="needle", status="pending", method="execute", limit=1) == [1]
    assert ids(text="needle", limit=1) == [1]
