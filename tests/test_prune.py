"""Finished rows are pruned by age, a stretch at a time, with their attempts; what is not finished stays for ever."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from bgjob import clock, run_background_job
from bgjob.store.connection import Database
from bgjob.store.upkeep import STRETCH, Upkeep
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Project

JOBS = "class Job:\n    def execute(self):\n        print('output')\n"
NOW = dt.datetime(2026, 6, 1, 12, 0, 0, tzinfo=dt.UTC)
DAY = 86_400.0
KEEP = {"completed": 7 * DAY, "failed": 30 * DAY, "cancelled": 7 * DAY}


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.write_jobs(JOBS)


@pytest.fixture
def database(project: Project) -> Iterator[Database]:
    opened = Database(str(project.database))
    yield opened
    opened.close()


def ago(days: float, *, before: dt.datetime | None = None) -> str:
    return clock.to_text((before or clock.now()) - dt.timedelta(days=days))


def insert(project: Project, status: str, finished_at: str | None, *, updated_at: str | None = None) -> int:
    """Insert a row of `status` with two attempts; return its id."""
    owner = (1, "1 2 3") if status == "processing" else (None, None)
    connection = sqlite3.connect(project.database, timeout=30)
    with connection:
        row = connection.execute(
            "INSERT INTO custom_jobs (job_class, method, status, created_at, updated_at, finished_at, runner, worker)"
            " VALUES ('app.jobs.Job', 'execute', ?, '1999-01-01 00:00:00.000000', ?, ?, ?, ?)",
            (status, updated_at, finished_at, *owner),
        ).lastrowid
        connection.executemany(
            "INSERT INTO attempts (job_id, attempt, outcome, finished_at) VALUES (?, ?, 'raised', '')",
            [(row, 1), (row, 2)],
        )
    connection.close()
    assert row is not None
    return row


def ids(project: Project) -> list[int]:
    return [job_id for (job_id,) in project.jobs("id")]


def sweep(database: Database, now: dt.datetime = NOW, keep: dict[str, float] = KEEP) -> None:
    """Go over all rows."""
    upkeep = Upkeep(database, keep=keep)
    assert not all(upkeep.step(now) for _ in range(100))


@pytest.mark.parametrize(("status", "days"), [("completed", 7), ("failed", 30), ("cancelled", 7)])
def test_a_finished_row_is_pruned_when_it_is_older_than_its_status_is_kept(
    project: Project, database: Database, status: str, days: int
) -> None:
    old = insert(project, status, ago(days + 1e-9, before=NOW - dt.timedelta(microseconds=1)))
    exact = insert(project, status, ago(days, before=NOW))
    young = insert(project, status, ago(days - 0.001, before=NOW))
    future = insert(project, status, ago(-1, before=NOW))

    sweep(database)

    assert ids(project) == [exact, young, future]
    assert old not in ids(project)


@pytest.mark.parametrize("status", ["pending", "processing"])
def test_a_row_that_is_not_finished_is_never_pruned_however_old_it_is(
    project: Project, database: Database, status: str
) -> None:
    old = "1999-01-01 00:00:00.000000"
    row = insert(project, status, old, updated_at=old)

    sweep(database, keep=dict.fromkeys(KEEP, 0.0))

    assert ids(project) == [row]


def test_the_attempts_of_a_row_go_with_it_and_those_of_others_stay(project: Project, database: Database) -> None:
    insert(project, "failed", ago(31, before=NOW))
    stays = insert(project, "failed", ago(29, before=NOW))
    insert(project, "completed", ago(8, before=NOW))

    sweep(database)

    assert project.sql("SELECT job_id, attempt FROM attempts") == [(stays, 1), (stays, 2)]


def test_a_row_without_the_time_of_its_end_goes_by_its_last_change_and_without_both_it_stays(
    project: Project, database: Database
) -> None:
    insert(project, "completed", None, updated_at=ago(8, before=NOW))
    young = insert(project, "completed", None, updated_at=ago(6, before=NOW))
    timeless = insert(project, "completed", None)
    finished_late = insert(project, "completed", ago(6, before=NOW), updated_at=ago(8, before=NOW))

    sweep(database)

    assert ids(project) == [young, timeless, finished_late]


def test_a_sweep_goes_in_stretches_each_in_a_transaction_of_its_own(project: Project, database: Database) -> None:
    insert(project, "pending", None)
    project.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most)"
        " INSERT INTO custom_jobs (job_class, method, status, finished_at)"
        " SELECT 'app.jobs.Job', 'execute', iif(i % 10, 'completed', 'failed'), :old FROM n",
        {"most": 3 * STRETCH, "old": ago(8, before=NOW)},
    )
    upkeep = Upkeep(database, keep=KEEP)

    left = [len(ids(project))]
    while upkeep.step(NOW) and len(left) < 100:
        left.append(len(ids(project)))

    deleted = [before - after for before, after in itertools.pairwise(left)]
    assert all(0 <= count <= STRETCH for count in deleted)
    assert len(deleted) == 4
    assert left[-1] == 1 + 3 * STRETCH // 10


def test_a_sweep_that_was_interrupted_goes_on_where_it_stopped(project: Project, database: Database) -> None:
    project.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most)"
        " INSERT INTO custom_jobs (job_class, method, status, finished_at)"
        " SELECT 'app.jobs.Job', 'execute', 'completed', :young FROM n",
        {"most": 2 * STRETCH, "young": ago(1, before=NOW)},
    )
    Upkeep(database, keep=KEEP).step(NOW)
    last = insert(project, "completed", ago(8, before=NOW))

    again = Upkeep(database, keep=KEEP)

    assert again.is_due(NOW)
    assert [again.step(NOW) for _ in range(3)] == [True, True, False]
    assert last not in ids(project)


@pytest.mark.parametrize(("minutes", "due"), [(0, False), (59, False), (60, True), (-59, False), (-61, True)])
def test_a_sweep_is_due_an_hour_after_the_last_one_also_when_the_clock_was_set_back(
    database: Database, minutes: int, *, due: bool
) -> None:
    assert Upkeep(database, keep=KEEP).is_due(NOW)
    sweep(database)

    assert Upkeep(database, keep=KEEP).is_due(NOW + dt.timedelta(minutes=minutes)) is due


def test_a_clock_at_the_edge_of_time_prunes_nothing_by_mistake(project: Project, database: Database) -> None:
    row = insert(project, "completed", ago(0, before=NOW))

    sweep(database, keep=dict.fromkeys(KEEP, 1e12))

    assert ids(project) == [row]


def test_a_tick_prunes_by_the_config_and_what_is_not_named_there_keeps_its_default(project: Project) -> None:
    project.configure("keep: {completed: 1h, cancelled: 2d}")
    run_background_job("app.jobs.Job")
    old = [
        insert(project, "completed", ago(0.05)),
        insert(project, "cancelled", ago(2.1)),
        insert(project, "failed", ago(31)),
    ]
    kept = [
        insert(project, "completed", ago(0.03)),
        insert(project, "cancelled", ago(1.9)),
        insert(project, "failed", ago(29)),
        insert(project, "pending", ago(900)),
    ]

    project.tick()

    assert ids(project) == [1, *kept]
    assert set(old).isdisjoint(ids(project))
    assert project.sql("SELECT count(*) FROM attempts WHERE job_id NOT IN (SELECT id FROM custom_jobs)") == [(0,)]


def test_a_tick_with_nothing_due_prunes_all_the_same_once_an_hour(project: Project) -> None:
    run_background_job("app.jobs.Job", delay=10_000)
    project.tick()
    insert(project, "completed", ago(8))

    project.tick()
    assert ids(project) == [1, 2]  # swept a moment ago
    project.sql("UPDATE housekeeping SET swept_at = ?", (ago(0.05),))
    for memo in (project.folder / "storage").glob(".*.memo"):
        os.utime(memo, (memo.stat().st_atime - 4_000, memo.stat().st_mtime - 4_000))
    project.tick()

    assert ids(project) == [1]


def test_a_tick_prunes_thousands_of_rows_at_once_and_leaves_a_small_write_ahead_log(project: Project) -> None:
    run_background_job("app.jobs.Job")
    project.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        " INSERT INTO custom_jobs (job_class, method, params, status, finished_at)"
        " SELECT 'app.jobs.Job', 'execute', hex(randomblob(500)), 'completed', :old FROM n",
        {"old": ago(8)},
    )

    project.tick()

    assert ids(project) == [1]
    log = project.database.with_name("jobs.sqlite3-wal")
    assert not log.exists() or log.stat().st_size == 0
    run_background_job("app.jobs.Job")
    assert ids(project) == [1, 5002]  # ids never come back


def test_a_write_ahead_log_that_a_reader_held_up_is_small_again_after_the_next_tick(project: Project) -> None:
    run_background_job("app.jobs.Job")
    project.tick()
    reader = sqlite3.connect(project.database, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM custom_jobs").fetchall()
    project.sql("UPDATE custom_jobs SET params = hex(randomblob(3000000))")
    log = project.database.with_name("jobs.sqlite3-wal")

    run_background_job("app.jobs.Job")
    project.tick()
    assert log.stat().st_size > 3_000_000
    reader.execute("COMMIT")
    run_background_job("app.jobs.Job")
    project.tick()

    assert log.stat().st_size == 0
    reader.close()


def test_a_runner_that_lingers_prunes_while_it_is_idle(project: Project) -> None:
    project.start_tick("--linger", "60s")
    wait_until(lambda: project.database.exists() and _is_swept(project))
    row = insert(project, "completed", ago(8))

    project.sql("UPDATE housekeeping SET swept_at = ?", (ago(0.05),))

    wait_until(lambda: row not in ids(project))


def _is_swept(project: Project) -> bool:
    try:
        return project.sql("SELECT swept_at IS NOT NULL FROM housekeeping") == [(1,)]
    except sqlite3.OperationalError:
        return False  # the tables are being made
