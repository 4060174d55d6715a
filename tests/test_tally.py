"""What the runner writes down of its jobs: how many ended how, minute by minute and hour by hour, and their seconds."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from bgjob.store.connection import Database
from bgjob.store.runners import RunnerStore
from bgjob.store.upkeep import Upkeep
from bgjob.tally import NOT_APPROVED, Added, Tally
from tests.conftest import wait_until
from tests.test_status import queue

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import os, time

class Job:
    def execute(self, **params):
        if params.get("fail"):
            raise ValueError("no good")
        if params.get("die"):
            os._exit(3)
        time.sleep(params.get("last", 0))
class Other(Job): pass
"""
NOW = dt.datetime(2026, 11, 24, 2, 59, 59, 250, tzinfo=dt.UTC)


@pytest.fixture
def two_classes(project: Project) -> Project:
    project.configure("max_retries: 0", classes="app.jobs.Job, app.jobs.Other")
    project.write_jobs(JOBS)
    return project


def tallied(project: Project, *, length: int = 13) -> dict[str, tuple[int, int]]:
    """Return what was completed and failed by class; `length` of a span's text: 13 an hour, 16 a minute."""
    rows = project.sql(
        "SELECT job_class, sum(completed), sum(failed) FROM tallies WHERE length(span) = ? GROUP BY job_class",
        (length,),
    )
    return {job_class: (completed, failed) for job_class, completed, failed in rows}


def seconds(project: Project) -> float:
    return float(project.sql("SELECT sum(seconds) FROM tallies WHERE length(span) = 13")[0][0])


def test_what_was_added_is_told_class_by_class_and_others_together() -> None:
    tally = Tally(["a.A", "b.B"])
    tally.count("complete", "a.A", 0.5)
    before = tally.plus([])

    tally.count("complete", "b.B", 1.0)
    tally.count("fail", "no.such", 0.25)
    tally.count("fail", "no.other", 0.25)
    tally.count("retry", "b.B", 2.0, "timed out")
    tally.count("postpone", "b.B", 0.5, "raised")

    assert tally.since(before) == [Added(NOT_APPROVED, 0, 2, 0.5), Added("b.B", 1, 0, 3.5, postponed=1, timed_out=1)]
    assert tally.counts() == {"complete": 2, "retry": 1, "fail": 2, "postpone": 1, "release": 0}
    assert before.counts()["complete"] == 1


@pytest.mark.parametrize("option", [(), ("--in-process",)])
def test_a_tick_writes_down_what_its_jobs_came_to(two_classes: Project, option: tuple[str, ...]) -> None:
    queue(two_classes, "params={'last': 0.1}", "params={'fail': True}", "")
    two_classes.python("from bgjob import run_background_job as queue\nqueue('app.jobs.Other')")
    two_classes.sql("INSERT INTO custom_jobs (job_class, method) VALUES ('os.Nothing', 'execute')")

    two_classes.tick(*option)

    told = {"app.jobs.Job": (2, 1), "app.jobs.Other": (1, 0), NOT_APPROVED: (0, 1)}
    assert tallied(two_classes) == told
    assert tallied(two_classes, length=16) == told
    assert 0.1 < seconds(two_classes) < 5


def test_the_one_job_of_a_tick_counts_too(two_classes: Project) -> None:
    queue(two_classes, "")

    two_classes.tick("--job", "1")

    assert tallied(two_classes) == {"app.jobs.Job": (1, 0)}


def test_a_crash_counts_and_so_does_what_the_worker_had_done_before(two_classes: Project) -> None:
    queue(two_classes, "", "params={'die': True}", "")

    two_classes.tick()

    assert tallied(two_classes) == {"app.jobs.Job": (2, 1)}


def test_the_seconds_of_attempts_that_are_repeated_count(project: Project) -> None:
    project.configure("max_retries: 1\nretry_delay: 1h")
    project.write_jobs(JOBS)
    queue(project, "params={'fail': True}")

    project.tick()

    assert tallied(project) == {"app.jobs.Job": (0, 0)}
    assert seconds(project) > 0


def test_a_runner_that_was_killed_has_written_down_all_but_its_last_second(project: Project) -> None:
    project.write_jobs(JOBS)
    queue(project, "", "params={'last': 60}")
    tick = project.start_tick()

    wait_until(lambda: tallied(project))
    tick.kill()
    tick.wait()

    assert tallied(project) == {"app.jobs.Job": (1, 0)}


def test_ticks_of_one_hour_add_up_and_each_minute_has_its_own_row(project: Project) -> None:
    project.python("import bgjob; bgjob.run_background_job('app.jobs.Job')")
    database = Database(str(project.database))
    runners = RunnerStore(database)

    runners.seen(1, NOW, [Added("a.A", 2, 0, 1.0)])
    runners.end(1, NOW, [Added("a.A", 1, 1, 0.5), Added("b.B", 1, 0, 0.0)])
    runners.end(2, NOW + dt.timedelta(seconds=1), [Added("a.A", 5, 0, 1.0)])
    database.close()

    assert rows(project) == [
        ("2026-11-24 02", "a.A", 3, 1, 1.5),
        ("2026-11-24 02", "b.B", 1, 0, 0.0),
        ("2026-11-24 02:59", "a.A", 3, 1, 1.5),
        ("2026-11-24 02:59", "b.B", 1, 0, 0.0),
        ("2026-11-24 03", "a.A", 5, 0, 1.0),
        ("2026-11-24 03:00", "a.A", 5, 0, 1.0),
        ("total", "a.A", 8, 1, 2.5),
        ("total", "b.B", 1, 0, 0.0),
    ]


def rows(project: Project) -> list[tuple[Any, ...]]:
    return project.sql("SELECT span, job_class, completed, failed, seconds FROM tallies ORDER BY 1, 2")


def test_the_sweep_forgets_minutes_after_two_hours_hours_after_thirty_days_and_no_total(project: Project) -> None:
    project.python("import bgjob; bgjob.run_background_job('app.jobs.Job')")
    database = Database(str(project.database))
    for days, minutes in ((0, 1), (0, 119), (0, 121), (29, 0), (31, 0)):
        then = NOW - dt.timedelta(days=days, minutes=minutes)
        RunnerStore(database).seen(1, then, [Added("a.A", 1, 0, 0.0)])
    upkeep = Upkeep(database, keep=dict.fromkeys(("completed", "failed", "cancelled"), 1e9))

    while upkeep.step(NOW):
        pass
    database.close()

    spans = [row[0] for row in rows(project)]
    assert [span for span in spans if len(span) == 13] == [
        "2026-10-26 02", "2026-11-24 00", "2026-11-24 01", "2026-11-24 02"
    ]  # fmt: skip
    assert [row[2] for row in rows(project) if row[0] == "total"] == [5]
    assert [span for span in spans if len(span) == 16] == ["2026-11-24 01:00", "2026-11-24 02:58"]
