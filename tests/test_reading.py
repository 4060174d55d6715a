"""What is read of a queue, however large it is and whoever wrote into it: exact counts, the oldest due job."""

from __future__ import annotations

import datetime as dt
import random
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgjob import clock
from bgjob.store import reading
from bgjob.store.connection import Database
from bgjob.store.reading import ReadStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
STATUSES = ("pending", "processing", "completed", "failed", "cancelled")
PAST, FUTURE = "2026-11-24 11:00:00.000000", "2026-11-24 13:00:00.000000"
INSERT = """
    INSERT INTO custom_jobs (job_class, method, status, priority, available_at, promoted, created_at, runner, worker)
    VALUES ('a.A', 'execute', ?, ?, ?, ?, ?, ?, ?)
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(str(tmp_path / "jobs.sqlite3"))
    yield made
    made.close()


def insert(
    database: Database,
    status: str = "pending",
    *,
    available_at: str | None = None,
    promoted: int = 0,
    priority: int = 0,
    created_at: str | None = PAST,
) -> None:
    owner = (1, "1 0 -") if status == "processing" else (None, None)
    database.connection.execute(INSERT, (status, priority, available_at, promoted, created_at, *owner))


def first_due(database: Database) -> int | None:
    with ReadStore(database.path) as store:
        first = store.first_due(NOW)
    return first and first.id


ROWS = st.lists(
    st.tuples(
        st.sampled_from(STATUSES), st.sampled_from([None, PAST, FUTURE, "0001-01-01 00:00:00.000000"]), st.booleans()
    ),
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(rows=ROWS, deleted=st.lists(st.integers(1, 30)))
def test_the_counts_are_those_of_a_walk_over_all_rows(
    database: Database, rows: list[tuple[str, str | None, bool]], deleted: list[int]
) -> None:
    connection = sqlite3.connect(database.path, isolation_level=None)  # another program's
    connection.execute("DELETE FROM custom_jobs")
    connection.execute("DELETE FROM sqlite_sequence")
    for status, available_at, promoted in rows:
        insert(database, status, available_at=available_at, promoted=promoted)
    connection.executemany("DELETE FROM custom_jobs WHERE id = ?", [(job_id,) for job_id in deleted])
    walked = dict(connection.execute("SELECT status, count(*) FROM custom_jobs GROUP BY status"))
    [(due,)] = connection.execute(
        "SELECT count(*) FROM custom_jobs WHERE status = 'pending' AND (available_at IS NULL OR promoted = 1"
        " OR available_at <= ?)",
        (clock.to_text(NOW),),
    )
    connection.close()

    with ReadStore(database.path) as store:
        counts = store.counts(NOW)

    assert (counts.completed, counts.failed, counts.cancelled, counts.processing, counts.due + counts.waiting) == tuple(
        walked.get(status, 0) for status in ("completed", "failed", "cancelled", "processing", "pending")
    )
    assert counts.due == due


def test_a_row_that_was_written_past_the_checks_breaks_no_count(database: Database) -> None:
    database.connection.execute("PRAGMA ignore_check_constraints = ON")
    for status in ("odd", "", "processing", "failed"):
        insert(database, status)
    for available_at in (7, b"\xff", ""):
        insert(database, available_at=available_at)  # type: ignore[arg-type]  # on purpose
    database.connection.execute("UPDATE custom_jobs SET runner = NULL, priority = 'high' WHERE status = 'processing'")

    with ReadStore(database.path) as store:
        counts = store.counts(NOW)

    assert counts == (2, 1, 0, 1, 0, 3)  # no status of ours is told as completed: it will not run


@pytest.mark.parametrize("most", [1_000, 3])
def test_the_first_due_job_is_found_among_many_priorities(
    database: Database, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_PRIORITIES", most)
    dice = random.Random(7)  # noqa: S311  # no secret
    for _ in range(200):
        available_at, promoted = dice.choice([(None, 0), (PAST, 1), (PAST, 0)])
        priority = dice.randint(-5, 5)
        insert(database, priority=priority, created_at=FUTURE, available_at=available_at, promoted=promoted)
    times = ["09:00", "09:01", "09:02"]
    dice.shuffle(times)
    insert(database, priority=-9, created_at=f"2026-11-24 {times[0]}:00.000000")
    insert(database, priority=9, available_at=f"2026-11-24 {times[1]}:00.000000", promoted=1)
    insert(database, available_at=f"2026-11-24 {times[2]}:00.000000")

    assert first_due(database) == 201 + times.index("09:00")


def test_the_first_due_job_may_stand_behind_many_that_have_ended(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_PRIORITIES", 3)
    for status, count in (("completed", 20), ("pending", 5)):
        for number in range(count):
            insert(database, status, priority=number)
    found = []

    for most in (20, 21, 1_000):
        monkeypatch.setattr(reading, "MOST_IDS", most)
        found.append(first_due(database))

    assert found == [21, 21, 21]


def test_among_very_many_priorities_the_first_due_job_costs_one_walk_over_the_index(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_PRIORITIES", 3)
    database.connection.execute("BEGIN")
    for number in range(3_000):
        insert(database, priority=number)
    database.connection.execute("COMMIT")
    steps = []

    with ReadStore(database.path) as store:
        store._database.connection.set_progress_handler(lambda: steps.append(1), 100)
        store.first_due(NOW)

    assert len(steps) * 100 / 3_000 < 6  # of SQLite's instructions a row; two walks: 11


def test_a_job_that_nobody_wrote_a_time_for_is_the_oldest_only_when_alone(database: Database) -> None:
    insert(database, created_at=None)
    alone = first_due(database)
    insert(database, priority=5)

    assert (alone, first_due(database)) == (1, 2)


def test_nothing_is_due_where_all_waits_or_has_ended(database: Database) -> None:
    insert(database, available_at=FUTURE)
    insert(database, "failed")

    assert first_due(database) is None


def test_of_very_many_failed_attempts_the_newest_are_counted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_ATTEMPTS", 10)
    for number in range(30):
        database.connection.execute(
            "INSERT INTO attempts (job_id, attempt, outcome, finished_at) VALUES (1, 1, ?, ?)",
            ("succeeded" if number % 2 else "raised", f"2026-11-24 11:{number:02}:00.000000"),
        )

    with ReadStore(database.path) as store:
        many = store.failures(clock.from_text("2026-11-24 11:05:00.000000"))
        just_all = store.failures(clock.from_text("2026-11-24 11:20:00.000000"))
        few = store.failures(clock.from_text("2026-11-24 11:26:00.000000"))

    assert (many, just_all, few) == (({"raised": 5}, False), ({"raised": 5}, True), ({"raised": 2}, True))


def test_what_is_read_at_once_is_of_one_moment_and_blocks_no_writer(database: Database) -> None:
    insert(database)

    with ReadStore(database.path) as store:
        with store.at_once():
            before = store.counts(NOW)
            insert(database)
            within = store.counts(NOW)
        after = store.counts(NOW)

    assert (before.due, within.due, after.due) == (1, 1, 2)
