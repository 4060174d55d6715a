"""A job may put itself off (RetryLater), uncounted up to a limit, or fail at once (GiveUp)."""

from __future__ import annotations

import copy
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import GiveUp, RetryLater, run_background_job, sql
from bgjob import jobs as jobs_of
from tests.test_status import bgjob, queue, status

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import asyncio, datetime, os
from bgjob import GiveUp, RetryLater

def fail(number):
    raise ValueError("no good")

class Odd(RetryLater):
    @property
    def reason(self): raise RuntimeError
    @reason.setter
    def reason(self, reason): pass

class Job:
    def later(self, delay=30.0, reason="the shop is closed"):
        print("looked")
        raise RetryLater(delay, reason)
    def hour(self):
        raise RetryLater(datetime.timedelta(hours=1))
    async def asynchronous(self):
        await asyncio.sleep(0)
        raise RetryLater(60)
    def odd(self):
        raise Odd(5, "?")
    def soon(self, times=1):
        with open("trace", "a") as trace:
            trace.write("ran\\n")
        if len(open("trace").readlines()) <= times:
            raise RetryLater(0, "not yet")
    def by_turns(self):
        with open("trace", "a") as trace:
            trace.write("ran\\n")
        if len(open("trace").readlines()) % 3 == 0:
            raise ValueError("no good")
        raise RetryLater(0)
    def give_up(self, reason="the account is closed\\nfor good"):
        raise GiveUp(reason)
    def give_up_because(self):
        try:
            fail(1)
        except ValueError as error:
            raise GiveUp("the file is broken") from error
    def silent(self):
        raise GiveUp
"""
METHODS = "later, hour, asynchronous, odd, soon, by_turns, give_up, give_up_because, silent"


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("max_retries: 1", methods=METHODS)
    project.write_jobs(JOBS)


def row(project: Project, columns: str, job_id: int = 1) -> tuple[Any, ...]:
    return project.sql(f"SELECT {columns} FROM custom_jobs WHERE id = ?", (job_id,))[0]  # noqa: S608  # the test's own


def attempts(project: Project, columns: str = "attempt, outcome, verdict") -> list[tuple[Any, ...]]:
    return project.sql(f"SELECT {columns} FROM attempts ORDER BY id")  # noqa: S608  # the test's own columns


def waits(project: Project, job_id: int = 1) -> float:
    """Return the seconds between the end of a job's last attempt and its next one."""
    ended, due = row(project, "finished_at, available_at", job_id)
    return (dt.datetime.fromisoformat(due) - dt.datetime.fromisoformat(ended)).total_seconds()


# RetryLater


def test_a_job_that_puts_itself_off_waits_exactly_so_long_and_no_retry_is_counted(project: Project) -> None:
    queue(project, "'later'", "'hour'", "'asynchronous'")

    project.tick()

    columns = "status, retry_count, crash_count, error, runner"
    assert row(project, columns) == ("pending", 0, 0, "postponed for 30 s: the shop is closed", None)
    assert row(project, columns, 2) == ("pending", 0, 0, "postponed for 3600 s", None)
    assert [waits(project, job_id) for job_id in (1, 2, 3)] == [30.0, 3600.0, 60.0]


def test_a_postponed_attempt_is_kept_with_its_output_and_without_a_traceback(project: Project) -> None:
    queue(project, "'later'")

    project.tick()

    assert attempts(project, "attempt, outcome, verdict, error, traceback, output") == [
        (1, "raised", "postponed", "postponed for 30 s: the shop is closed", None, "looked\n")
    ]


def test_the_log_tells_of_it_as_of_no_error(project: Project) -> None:
    queue(project, "'later', ['5', 'not\\nyet']", "'later'")

    project.tick()

    [line] = [line for line in project.log().splitlines() if " postpone " in line]
    assert " INFO postpone job=2 class=app.jobs.Job method=later attempt=1 status=pending available_at=" in line
    assert line.endswith(' reason="postponed for 30 s: the shop is closed"')
    assert "postpone=1" in project.log().splitlines()[-1]
    assert "job=2" not in project.log(errors=True)
    assert "TypeError: a delay is seconds (int or float) or a timedelta, not str" in project.log(errors=True)


def test_it_is_no_failure_of_the_last_hour(project: Project) -> None:
    queue(project, "'later'", "'give_up'")

    project.tick()

    assert status(project)["last_hour"]["failed_attempts"] == {"raised": 1}
    assert status(project)["last_hour"]["failed"] == 1


def test_show_tells_why_it_waits_and_what_became_of_each_attempt(project: Project) -> None:
    queue(project, "'later'", "'give_up'", "'soon'")

    project.tick()

    waiting, failed, done = (bgjob(project, "show", str(job_id)).stdout for job_id in (1, 2, 3))
    assert ": postponed for 30 s: the shop is closed\n" in waiting
    assert "\nattempt 1: postponed after " in waiting
    assert "\nattempt 1: gave up after " in failed
    assert "\nattempt 1: postponed after " in done
    assert "\nattempt 1: succeeded after " in done


def test_json_has_the_verdict(project: Project) -> None:
    queue(project, "'later'", "'give_up'")

    project.tick()

    told = [json.loads(bgjob(project, "show", str(job_id), "--json").stdout) for job_id in (1, 2)]
    assert [(one["attempts"][0]["outcome"], one["attempts"][0]["verdict"]) for one in told] == [
        ("raised", "postponed"),
        ("raised", "gave up"),
    ]


def test_in_python_the_verdict_stands_with_the_attempt(project: Project) -> None:
    queue(project, "'later'", "'give_up'")

    project.tick()

    assert [attempt.verdict for job in jobs_of() for attempt in job.attempts] == ["gave up", "postponed"]


def test_on_a_terminal_it_is_told_as_later(project: Project) -> None:
    queue(project, "'later'")

    _, shown = project.tick_on_terminal("--job", "1")

    assert "LATER" in shown
    assert "1 postpone in " in shown


def test_it_completes_in_the_same_attempt_when_its_time_has_come(project: Project) -> None:
    queue(project, "'soon', [2]")

    project.tick()

    assert row(project, "status, retry_count, error") == ("completed", 0, None)
    assert project.trace() == ["ran"] * 3
    assert attempts(project) == [(1, "raised", "postponed")] * 2


def test_more_than_the_limit_in_a_row_is_a_failed_attempt_like_any_other(project: Project) -> None:
    project.configure("max_retries: 1\nmax_postponements: 2", methods=METHODS)
    queue(project, "'soon', [99]")

    project.tick()

    assert attempts(project) == [
        (1, "raised", "postponed"),
        (1, "raised", "postponed"),
        (1, "raised", None),
        (2, "raised", "postponed"),
        (2, "raised", "postponed"),
        (2, "raised", None),
    ]
    assert row(project, "status, retry_count, error") == (
        "failed", 1, "postponed for 0 s: not yet; that was once more than max_postponements (2) in a row"
    )  # fmt: skip


def test_the_limit_is_one_of_postponements_in_a_row(project: Project) -> None:
    project.configure("max_retries: 3\nmax_postponements: 2", methods=METHODS)
    queue(project, "'by_turns'")

    project.tick()

    assert [verdict for *_, verdict in attempts(project)] == ["postponed", "postponed", None] * 4
    assert row(project, "status, retry_count, error") == ("failed", 3, "ValueError: no good")


def test_a_class_may_have_a_limit_of_its_own_and_0_allows_none(project: Project) -> None:
    project.configure("max_retries: 0", classes="{app.jobs.Job: {max_postponements: 0}}", methods=METHODS)
    queue(project, "'later'")

    project.tick()

    assert row(project, "status") == ("failed",)
    assert attempts(project) == [(1, "raised", None)]


def test_a_failed_job_that_is_requeued_may_put_itself_off_again(project: Project) -> None:
    project.configure("max_retries: 0\nmax_postponements: 1", methods=METHODS)
    queue(project, "'later', [0]")
    project.tick()
    bgjob(project, "requeue", "1")

    project.tick()

    assert [verdict for *_, verdict in attempts(project)] == ["postponed", None] * 2


def test_a_subclass_whose_own_code_fails_is_an_error_like_any_other(project: Project) -> None:
    queue(project, "'odd'")

    project.tick()

    assert row(project, "status, retry_count") == ("failed", 1)
    assert [verdict for *_, verdict in attempts(project)] == [None, None]


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), 1e12, 10**30])
def test_a_delay_out_of_range_is_refused(delay: float) -> None:
    with pytest.raises(ValueError, match="a delay is from 0 to 3,155,760,000 seconds"):
        RetryLater(delay)


@pytest.mark.parametrize("delay", ["30", None, True, b"1", [1]])
def test_a_delay_that_is_no_number_is_refused(delay: Any) -> None:
    with pytest.raises(TypeError, match=r"a delay is seconds \(int or float\) or a timedelta, not"):
        RetryLater(delay)


def test_both_are_plain_exceptions_that_cross_processes() -> None:
    later, given_up = RetryLater(dt.timedelta(minutes=1), "why"), GiveUp("the reason")

    assert (later.delay, later.reason, str(later), str(RetryLater(90))) == (60.0, "why", "why", "again in 90 s")
    assert copy.deepcopy(later).delay == 60.0
    assert str(copy.deepcopy(given_up)) == "the reason"
    assert not issubclass(RetryLater, ValueError)


# GiveUp


def test_a_job_that_gives_up_fails_at_once_with_its_reason_and_no_traceback(project: Project) -> None:
    queue(project, "'give_up'", "'silent'")

    project.tick()

    assert row(project, "status, retry_count, error") == ("failed", 0, "the account is closed\nfor good")
    assert row(project, "status, retry_count, error", 2) == ("failed", 0, "the job gave up")
    assert attempts(project, "outcome, verdict, traceback") == [("raised", "gave up", None)] * 2


def test_the_error_log_has_one_line_for_it(project: Project) -> None:
    queue(project, "'give_up'")

    project.tick()

    [line] = project.log(errors=True).splitlines()
    assert " ERROR fail job=1 " in line
    assert line.endswith('outcome=raised verdict="gave up" duration=' + line.partition("duration=")[2])
    assert line.endswith('error="the account is closed\\nfor good"')


def test_an_error_that_it_is_raised_from_keeps_its_traceback(project: Project) -> None:
    queue(project, "'give_up_because'")

    project.tick()

    assert row(project, "status, retry_count, error") == ("failed", 0, "the file is broken")
    [(traceback,)] = attempts(project, "traceback")
    assert "ValueError: no good" in traceback
    assert "direct cause" in traceback


def test_the_hook_of_failures_is_told_the_reason(project: Project) -> None:
    project.configure(
        "max_retries: 1\non_failure: app.hooks.Hook",
        classes="app.jobs.Job, app.hooks.Hook",
        methods=f"{METHODS}, execute",
    )
    project.write_jobs("class Hook:\n    def execute(self, job): open('told', 'w').write(job['error'])\n", "hooks")
    queue(project, "'give_up', ['closed']", "'later'")

    project.tick()

    assert (project.folder / "told").read_text() == "closed"


def test_a_queue_of_an_older_bgjob_gets_the_column(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "MIGRATIONS", sql.MIGRATIONS[:3])
    run_background_job("app.jobs.Job", "later")
    assert "verdict" not in {name for (name,) in project.sql("SELECT name FROM pragma_table_info('attempts')")}

    project.tick()

    assert attempts(project) == [(1, "raised", "postponed")]
