"""A failed job is tried again after a delay that grows, until its retries are used up."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob import config, run_background_job
from bgjob.job import ClaimedJob, Crashed, Raised, TimedOut
from bgjob.retry import seconds_until_retry

if TYPE_CHECKING:
    from bgjob.job import Failure
    from tests.conftest import Project

FAILING = "class Job:\n    def execute(self):\n        raise OSError('no answer')\nclass Stubborn(Job):\n    pass\n"


def delays(project: Project, job_id: int) -> list[float]:
    """Run the job to its end, each retry as soon as its delay was read from the table; return the delays in seconds."""
    seen: list[float] = []
    for _ in range(50):
        project.tick()
        ((status, available_at, failed_at),) = project.sql(
            "SELECT status, available_at, finished_at FROM custom_jobs WHERE id = ?", (job_id,)
        )
        if status == "failed":
            return seen
        assert status == "pending"
        seen.append((dt.datetime.fromisoformat(available_at) - dt.datetime.fromisoformat(failed_at)).total_seconds())
        project.sql("UPDATE custom_jobs SET available_at = '2026-01-01 00:00:00.000000' WHERE id = ?", (job_id,))
    raise AssertionError("the job never failed for good")


def are_as_told(seen: list[float], told: list[float]) -> bool:
    jitter, microsecond = 1.1, 1e-6
    return len(seen) == len(told) and all(
        delay - microsecond <= waited <= delay * jitter + microsecond for waited, delay in zip(seen, told, strict=True)
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("max_retries: 4\nretry_delay: {first: 30s, factor: 6.5, max: 1h}", [30, 195, 1267.5, 3600]),
        ("max_retries: 3\nretry_delay: [5m, 1d]", [300, 86_400, 86_400]),
        ("max_retries: 1\nretry_delay: 90", [90]),
        ("max_retries: 0\nretry_delay: 90", []),
    ],
)
def test_each_retry_waits_as_configured_plus_at_most_a_tenth(
    project: Project, config: str, expected: list[float]
) -> None:
    project.configure(config)
    project.write_jobs(FAILING)
    run_background_job("app.jobs.Job")

    seen = delays(project, 1)

    assert are_as_told(seen, expected)
    assert project.jobs("retry_count, crash_count") == [(len(expected), 0)]
    attempts = project.sql("SELECT attempt, outcome FROM attempts ORDER BY id")
    assert attempts == [(number + 1, "raised") for number in range(len(expected) + 1)]


def test_without_a_word_in_the_config_there_are_three_retries_after_ten_seconds_and_more(project: Project) -> None:
    (project.folder / "config" / "jobs.yaml").write_text(
        "approved_classes: [app.jobs.Job]\napproved_methods: [execute]\n"
    )
    project.write_jobs(FAILING)
    run_background_job("app.jobs.Job")

    seen = delays(project, 1)

    assert are_as_told(seen, [10, 40, 160])


def test_a_class_may_bring_its_own_retries(project: Project) -> None:
    stubborn = "app.jobs.Stubborn: {max_retries: 2, retry_delay: [7s]}"
    project.configure("max_retries: 0", classes=f"app.jobs.Job, {stubborn}")
    project.write_jobs(FAILING)
    run_background_job("app.jobs.Job")
    run_background_job("app.jobs.Stubborn")

    seen = delays(project, 2)

    assert are_as_told(seen, [7, 7])
    assert project.jobs("status, retry_count") == [("failed", 0), ("failed", 2)]


def test_jobs_that_failed_together_do_not_come_back_together(project: Project) -> None:
    project.configure("retry_delay: 1000s")
    project.write_jobs(FAILING)
    for _ in range(30):
        run_background_job("app.jobs.Job")

    project.tick()

    instants = [dt.datetime.fromisoformat(instant) for (instant,) in project.jobs("available_at")]
    assert (max(instants) - min(instants)).total_seconds() > 10


def test_a_retry_is_told_in_both_logs_and_the_end_in_the_error_log(project: Project) -> None:
    project.configure("max_retries: 1\nretry_delay: 0")
    project.write_jobs(FAILING)
    run_background_job("app.jobs.Job")

    project.tick()

    assert [line.split()[2:4] for line in project.log().splitlines()] == [["WARNING", "retry"], ["INFO", "tick"]]
    events = [line.split()[2:4] for line in project.log(errors=True).splitlines() if not line.startswith("\t")]
    assert events == [["WARNING", "raised"], ["ERROR", "raised"], ["ERROR", "fail"]]
    assert project.log(errors=True).count("\tOSError: no answer\n") == 2


def test_a_retried_job_that_succeeds_keeps_its_count_and_loses_its_error(project: Project) -> None:
    project.write_jobs(
        "import os\nclass Job:\n    def execute(self):\n        if not os.path.exists('seen'):\n"
        "            open('seen', 'w').close()\n            raise OSError('no answer')\n"
    )
    run_background_job("app.jobs.Job")

    project.tick()

    assert project.jobs("status, retry_count, error") == [("completed", 1, None)]
    assert project.sql("SELECT attempt, outcome, error FROM attempts") == [(1, "raised", "OSError: no answer")]


# The rules alone, without a clock or a database


def rules(text: str) -> config.ClassRules:
    content = f"approved_classes: [app.jobs.Job]\napproved_methods: [execute]\n{text}\n"
    return config.parse_config(content.encode(), "/srv/app/config/jobs.yaml").classes["app.jobs.Job"]


def job(*, retries: int = 0, crashes: int = 0) -> ClaimedJob:
    return ClaimedJob(1, "app.jobs.Job", "execute", None, 0, retries, crashes, 1, "1 2 3")


RAISED = Raised("OSError: no answer", "")
FAILURES: list[Failure] = [RAISED, TimedOut("after 1 s"), Crashed("SIGKILL")]


@pytest.mark.parametrize("failure", FAILURES)
@given(
    retries=st.integers(0, 2_000),
    most=st.integers(0, 1_000),
    dice=st.floats(0, 1),
    delay=st.sampled_from(["0", "90", "[5m, 1h]", "{first: 10s, factor: 4, max: 1h}", "{first: 1ms, factor: 100}"]),
)
def test_there_are_as_many_retries_as_told_each_in_its_time(
    failure: Failure, retries: int, most: int, dice: float, delay: str
) -> None:
    told = rules(f"max_retries: {most}\nretry_delay: {delay}\nmax_crashes: 1000")

    seconds = seconds_until_retry(job(retries=retries), failure, told, dice=dice)

    if retries >= most:
        assert seconds is None
    else:
        least = told.retry_delay.seconds(retries + 1)
        assert seconds is not None
        assert least <= seconds <= least * 1.1 + 1e-9


@given(first=st.integers(0, 100), factor=st.integers(1, 100), most=st.integers(100, 10_000))
def test_a_delay_that_grows_never_shrinks_and_never_passes_its_maximum(first: int, factor: int, most: int) -> None:
    delay = rules(f"retry_delay: {{first: {first}s, factor: {factor}, max: {most}s}}").retry_delay

    seen = [delay.seconds(retry) for retry in (*range(1, 50), 10**6)]

    assert seen[0] == first
    assert all(before <= after <= most for before, after in itertools.pairwise(seen))


@pytest.mark.parametrize(("crashes", "is_tried_again"), [(0, True), (1, True), (2, False), (3, False)])
def test_a_job_crashes_as_often_as_told_and_other_failures_do_not_count_as_crashes(
    crashes: int, *, is_tried_again: bool
) -> None:
    told = rules("max_retries: 10\nmax_crashes: 3")

    assert (seconds_until_retry(job(crashes=crashes), Crashed("x"), told, dice=0) is not None) is is_tried_again
    assert seconds_until_retry(job(crashes=crashes), RAISED, told, dice=0) is not None


def test_where_another_attempt_cannot_help_there_is_none() -> None:
    told = rules("max_retries: 10")

    assert seconds_until_retry(job(), Raised("not approved", "", final=True), told, dice=0) is None
    assert seconds_until_retry(job(), RAISED, None, dice=0) is None
