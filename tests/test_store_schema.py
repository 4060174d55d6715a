"""The table and whose it is: a wrong row can't be written, and another program's file is left as it was."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bgjob import clock, enqueue, run_background_job, sql
from bgjob.errors import ForeignDatabaseError, StoreError
from bgjob.store.connection import Database

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Project

TIMES = ("available_at", "created_at", "updated_at", "started_at", "finished_at")


@pytest.fixture
def table(project: Project) -> Project:
    """A project whose table exists, and is empty."""
    Database(str(project.database)).close()
    return project


def insert(project: Project, **columns: object) -> None:
    """Insert a row as another program would, with what it needs and `columns`."""
    row = {"job_class": "app.jobs.Job", "method": "execute", **columns}
    names = ", ".join(row)
    project.sql(f"INSERT INTO custom_jobs ({names}) VALUES ({', '.join(f':{name}' for name in row)})", row)  # noqa: S608  # the test's own columns


def content_of(path: Path) -> dict[str, bytes]:
    """Return all files of a folder, byte for byte."""
    return {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}


def make_foreign(project: Project, *statements: str) -> dict[str, bytes]:
    """Make a database as another program would; return the bytes of its folder."""
    project.database.parent.mkdir()
    with contextlib.closing(sqlite3.connect(project.database)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return content_of(project.database.parent)


def test_a_row_with_class_and_method_alone_is_a_job(table: Project) -> None:
    insert(table)

    columns = "id, status, priority, retry_count, crash_count, promoted, params, available_at, created_at, updated_at"
    assert table.jobs(columns) == [(1, "pending", 0, 0, 0, 0, None, None, None, None)]
    assert table.jobs("started_at, finished_at, error, runner, worker") == [(None,) * 5]


@pytest.mark.parametrize(
    "columns",
    [
        {"params": '{"a": 1}', "priority": -(2**63), "available_at": "2026-02-28 23:59:59.999999"},
        {"priority": 2**63 - 1, "created_at": "2026-01-31 00:00:00.000000", "updated_at": "2024-02-29 12:00:00.000001"},
        {"status": "completed", "retry_count": 3, "crash_count": 1, "finished_at": "9999-12-31 23:59:59.999999"},
        {"status": "failed", "error": "ValueError: no", "started_at": "0001-01-01 00:00:00.000000"},
        {"status": "cancelled"},
        {"status": "processing", "runner": 1, "worker": "1 2 3"},
        {"priority": "7"},  # what reads as a number is kept as one
        {"id": 2**62 - 1},
    ],
)
def test_a_row_of_the_right_types_is_taken(table: Project, columns: Mapping[str, object]) -> None:
    insert(table, **columns)

    assert table.jobs("typeof(id), typeof(priority)") == [("integer", "integer")]


@pytest.mark.parametrize(
    "columns",
    [
        {"job_class": None},
        {"job_class": b"app.jobs.Job"},
        {"method": None},
        {"method": b"execute"},
        {"params": b"{}"},
        {"status": None},
        {"status": ""},
        {"status": "PENDING"},
        {"status": "running"},
        {"status": "scheduled"},
        {"status": "processing"},
        {"status": "processing", "runner": 1},
        {"status": "processing", "worker": "1 2 3"},
        {"status": "pending", "runner": 1, "worker": "1 2 3"},
        {"status": "processing", "runner": "first", "worker": "1 2 3"},
        {"status": "processing", "runner": 1, "worker": b"1 2 3"},
        {"priority": None},
        {"priority": "high"},
        {"priority": ""},
        {"priority": 1.5},
        {"priority": 1e300},
        {"priority": float("inf")},
        {"priority": b"1"},
        {"retry_count": None},
        {"retry_count": -1},
        {"retry_count": "some"},
        {"retry_count": 0.5},
        {"retry_count": 2**63 - 1},  # a count plus one must fit into 64 bits
        {"crash_count": -1},
        {"crash_count": "some"},
        {"crash_count": 2**63 - 1},
        {"promoted": 2},
        {"promoted": "yes"},
        {"id": 0},
        {"id": -5},
        {"id": "first"},
        {"id": 2**63 - 1},  # no id would be left for the next row
    ],
)
def test_a_row_that_breaks_a_rule_is_refused(table: Project, columns: Mapping[str, object]) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        insert(table, **columns)

    assert table.jobs() == []


@pytest.mark.parametrize("column", TIMES)
@pytest.mark.parametrize(
    "time",
    [
        "",
        "now",
        "2026-01-01",
        "2026-01-01 00:00",
        "2026-01-01 00:00:00",
        "2026-01-01 00:00:00.000",
        "2026-01-01 00:00:00,000000",
        "2026-01-01T00:00:00.000000",
        "2026-01-01 00:00:00.00000Z",
        "2026-01-01 00:00:00.000000Z",
        "2026-01-01 00:00:00.0+02:00",
        "2026-01-01 00:00:00.000000+02:00",
        " 2026-01-01 00:00:00.000000",
        "2026-01-01 00:00:00.000000 ",
        "2026-01-01 00:00:00.000000\n",
        "2026-01-01 00:00:00.000000\0",
        "2026-01-01 00:00:00.00000a",
        "२०२६-01-01 00:00:00.000000",  # digits of another script
        b"2026-01-01 00:00:00.000000",
        1_767_225_600,
        1_767_225_600.5,
        2_460_676.5,
    ],
)
def test_a_time_of_any_other_shape_is_refused(table: Project, column: str, time: object) -> None:
    with pytest.raises(sqlite3.IntegrityError, match=f"CHECK constraint failed: {column}_is_utc_text"):
        insert(table, **{column: time})

    assert table.jobs() == []


@pytest.mark.parametrize("column", ["available_at", "created_at"])
@pytest.mark.parametrize(
    "time",
    [
        "2026- 1- 1 00:00:00.000000",
        "2026-02-30 00:00:00.000000",
        "2026-02-29 00:00:00.000000",
        "2026-04-31 00:00:00.000000",
        "2026-13-01 00:00:00.000000",
        "2026-00-01 00:00:00.000000",
        "2026-01-00 00:00:00.000000",
        "2026-01-32 00:00:00.000000",
        "2026-01-01 24:00:00.000000",
        "2026-01-01 23:60:00.000000",
        "2026-01-01 23:59:60.000000",
        "0000-01-01 00:00:00.000000",
        "-001-01-01 00:00:00.000000",
    ],
)
def test_a_time_that_no_clock_shows_is_refused_where_other_programs_write_it(
    table: Project, column: str, time: str
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match=f"CHECK constraint failed: {column}_is_utc_text"):
        insert(table, **{column: time})

    assert table.jobs() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(instant=st.datetimes(timezones=st.just(dt.UTC)))
@example(dt.datetime.min.replace(tzinfo=dt.UTC))
@example(dt.datetime.max.replace(tzinfo=dt.UTC))
@example(dt.datetime(2026, 1, 29, 23, 59, 59, 999_999, tzinfo=dt.UTC))
@example(dt.datetime(2024, 2, 29, 12, 0, 59, 999_500, tzinfo=dt.UTC))
@example(dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
def test_every_instant_that_python_can_write_is_taken_by_the_table(table: Project, instant: dt.datetime) -> None:
    time = clock.to_text(instant)

    insert(table, available_at=time, created_at=time)

    read = "DELETE FROM custom_jobs RETURNING available_at, datetime(substr(created_at, 1, 19))"
    assert table.sql(read) == [(time, time[:19])]


def test_no_id_ever_comes_back(table: Project) -> None:
    insert(table)
    insert(table)
    table.sql("DELETE FROM custom_jobs")

    insert(table)

    assert table.jobs("id") == [(3,)]


def test_a_row_that_is_deleted_takes_its_attempts_along(table: Project) -> None:
    insert(table)
    insert(table)
    table.sql(
        "INSERT INTO attempts (job_id, attempt, outcome, finished_at) VALUES (1, 1, 'raised', ''), (2, 1, 'raised', '')"
    )

    table.sql("DELETE FROM custom_jobs WHERE id = 1")

    assert table.sql("SELECT job_id FROM attempts") == [(2,)]


def test_an_attempt_has_an_outcome_that_is_known(table: Project) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        table.sql("INSERT INTO attempts (job_id, attempt, outcome, finished_at) VALUES (1, 1, 'exploded', '')")


def test_the_database_is_marked_as_ours_and_with_its_version(table: Project) -> None:
    assert table.sql("PRAGMA application_id") == [(0x62676A62,)]
    assert table.sql("PRAGMA user_version") == [(len(sql.MIGRATIONS),)]
    assert table.sql("PRAGMA journal_mode") == [("wal",)]
    assert table.sql("PRAGMA integrity_check") == [("ok",)]


def test_the_columns_that_are_looked_for_are_those_of_the_table(table: Project) -> None:
    later = {"context"}  # a table that lacks it is one of an older bgjob

    assert {name for (name,) in table.sql(sql.TABLE_COLUMNS)} - later == sql.CUSTOM_JOBS_COLUMNS


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (["PRAGMA application_id = 252006673"], "belongs to another program .its application_id is 252006673"),
        (["PRAGMA application_id = -1", "CREATE TABLE notes (text)"], "belongs to another program"),
        (["PRAGMA user_version = 7", "CREATE TABLE notes (text)"], "belongs to another program .*user_version 7"),
        (["CREATE TABLE custom_jobs (id, name)"], "has a table custom_jobs that bgjob did not make"),
        (
            ["CREATE TABLE custom_jobs (id INTEGER PRIMARY KEY, job_class, method, params, status, priority)"],
            "has a table custom_jobs that bgjob did not make",
        ),
        (["CREATE VIEW custom_jobs AS SELECT 1 AS id"], "has a table custom_jobs that bgjob did not make"),
        (["PRAGMA journal_mode = WAL", "CREATE TABLE custom_jobs (id, name)"], "did not make"),
    ],
)
def test_another_programs_file_is_refused_and_left_as_it_was(
    project: Project, statements: list[str], told: str
) -> None:
    before = make_foreign(project, *statements)

    for _ in range(2):
        with pytest.raises(ForeignDatabaseError, match=told) as refusal:
            run_background_job("app.jobs.Job")

    assert str(project.database) in str(refusal.value)
    assert "`database:`" in str(refusal.value)
    assert content_of(project.database.parent) == before


@pytest.mark.parametrize(
    "content",
    [b"hello\n" * 5, b"\0" * 100, b"\xff" * 5_000, b"SQLite format 3\0", b"SQLite format 2\0" + b"\0" * 4_080],
)
def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(project: Project, content: bytes) -> None:
    project.database.parent.mkdir()
    project.database.write_bytes(content)

    with pytest.raises(StoreError, match=r"no SQLite database|damaged") as refusal:
        run_background_job("app.jobs.Job")

    assert str(project.database) in str(refusal.value)
    assert project.database.read_bytes() == content


def test_an_empty_file_becomes_the_database(project: Project) -> None:
    project.database.parent.mkdir()
    project.database.touch()

    assert run_background_job("app.jobs.Job")
    assert project.jobs() == [(1, "pending")]


def test_a_damaged_database_is_told_as_such(table: Project) -> None:
    ((page,),) = table.sql("PRAGMA page_size")
    content = bytearray(table.database.read_bytes())
    content[page:] = b"\xa5" * (len(content) - page)
    table.database.write_bytes(content)

    with pytest.raises(StoreError, match=r"damaged.*backup"):
        run_background_job("app.jobs.Job")


def test_a_database_of_ours_that_lost_a_column_is_refused(table: Project) -> None:
    table.sql("ALTER TABLE custom_jobs RENAME COLUMN worker TO labourer")

    with pytest.raises(ForeignDatabaseError, match="the table custom_jobs lacks worker"):
        run_background_job("app.jobs.Job")


@pytest.mark.parametrize("version", [99_099, 2_147_483_647, -1])
def test_a_database_that_only_newer_code_understands_is_refused_and_left_as_it_was(
    table: Project, version: int
) -> None:
    table.sql(f"PRAGMA user_version = {version}")
    before = content_of(table.database.parent)

    with pytest.raises(ForeignDatabaseError, match=r"written by a newer bgjob.*install the newer bgjob"):
        run_background_job("app.jobs.Job")

    assert content_of(table.database.parent) == before


def test_a_newer_database_that_only_added_something_still_serves_this_code(table: Project) -> None:
    newer = len(sql.MIGRATIONS) + 5
    table.sql(f"PRAGMA user_version = {newer}")
    table.sql("ALTER TABLE custom_jobs ADD COLUMN colour TEXT")

    assert run_background_job("app.jobs.Job")
    assert table.sql("PRAGMA user_version") == [(newer,)]


def test_an_older_database_gets_what_is_missing_and_keeps_its_rows(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_background_job("app.jobs.Job", params=[1])
    more = ("ALTER TABLE custom_jobs ADD COLUMN colour TEXT", "CREATE TABLE colours (name TEXT)")
    monkeypatch.setattr(sql, "MIGRATIONS", (*sql.MIGRATIONS, more))

    for _ in range(2):
        Database(str(project.database)).close()

    assert project.jobs("id, params, colour") == [(1, "[1]", None)]
    assert project.sql("PRAGMA user_version") == [(len(sql.MIGRATIONS),)]
    assert run_background_job("app.jobs.Job")


@pytest.mark.parametrize("version", range(1, len(sql.MIGRATIONS)))
def test_a_database_of_each_older_version_is_drained_in_order(
    project: Project, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n")
    monkeypatch.setattr(sql, "MIGRATIONS", sql.MIGRATIONS[:version])
    for priority in (1, 3, 2):
        run_background_job("app.jobs.Job", priority=priority)
    project.sql(
        "UPDATE custom_jobs SET status = 'processing', runner = 7, worker = '1 1 -', started_at = created_at "
        "WHERE id = 1"
    )
    enqueue.disconnect()
    monkeypatch.undo()

    project.tick()

    assert project.sql("PRAGMA user_version") == [(len(sql.MIGRATIONS),)]
    assert project.jobs("id, status, crash_count") == [(1, "completed", 1), (2, "completed", 0), (3, "completed", 0)]
    assert project.sql("SELECT id FROM custom_jobs WHERE id > 1 ORDER BY started_at") == [(2,), (3,)]


def test_an_older_database_is_told_as_such_to_those_who_only_read_until_someone_writes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "MIGRATIONS", sql.MIGRATIONS[:1])
    run_background_job("app.jobs.Job")
    monkeypatch.undo()

    with pytest.raises(StoreError, match=r"by an older bgjob; the next tick or queued job brings it up"):
        Database(str(project.database), read_only=True)
    Database(str(project.database)).close()

    Database(str(project.database), read_only=True).close()
    assert project.jobs() == [(1, "pending")]


def test_a_migration_that_fails_halfway_leaves_the_database_as_it_was(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_background_job("app.jobs.Job")
    broken = ("ALTER TABLE custom_jobs ADD COLUMN colour TEXT", "CREATE TABLE nonsense (")
    monkeypatch.setattr(sql, "MIGRATIONS", (*sql.MIGRATIONS, broken))

    with pytest.raises(StoreError, match="incomplete input"):
        Database(str(project.database))

    assert "colour" not in {name for (name,) in project.sql(sql.TABLE_COLUMNS)}
    assert project.sql("PRAGMA user_version") == [(len(sql.MIGRATIONS) - 1,)]


def test_a_first_migration_that_fails_makes_no_half_of_a_database(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Any = sql.MIGRATIONS
    monkeypatch.setattr(sql, "MIGRATIONS", ((*whole[0], "CREATE TABLE nonsense ("),))
    with pytest.raises(StoreError):
        run_background_job("app.jobs.Job")
    monkeypatch.setattr(sql, "MIGRATIONS", whole)

    assert project.sql("SELECT name FROM sqlite_master") == []
    assert run_background_job("app.jobs.Job")
    assert project.jobs() == [(1, "pending")]


OF_EACH_JOB_OR_TICK = [
    *("ANYTHING_DUE", "RUNNERS_AT_WORK", "LOOK", "DUE_SINCE", "READY_HEAD", "CLAIM", "CLAIM_ONE", "COMPLETE"),
    *("HELD_BY_OTHERS", "HELD_BY_WORKER", "STANDING", "RUNNING", "NEXT_READY", "COUNT_DUE"),
]
OF_ALL_THAT_IS_READY = ["ANYTHING_DUE", "LOOK", "COUNT_DUE", "STANDING", "OLDEST_DUE", "FIRST_DUE_OF_ALL"]


@pytest.mark.parametrize("name", OF_EACH_JOB_OR_TICK)
def test_what_each_job_or_tick_asks_for_is_searched_for_and_not_walked_to(tmp_path: Path, name: str) -> None:
    plan = looks_at_jobs(tmp_path, getattr(sql, name))

    assert plan
    assert [look for look in plan if not look.startswith("SEARCH custom_jobs USING")] == []
    assert [look for look in plan if "custom_jobs_ready" in look and "(status=?" not in look] == []


@pytest.mark.parametrize("name", OF_ALL_THAT_IS_READY)
def test_a_walk_over_what_is_ready_reads_no_row(tmp_path: Path, name: str) -> None:
    plan = [look for look in looks_at_jobs(tmp_path, getattr(sql, name)) if "custom_jobs_ready" in look]

    assert plan
    assert [look for look in plan if "USING COVERING INDEX custom_jobs_ready (status=?" not in look] == []


def looks_at_jobs(folder: Path, statement: str) -> list[str]:
    """Return SQLite's words for each of its looks at the jobs."""
    database = Database(str(folder / "jobs.sqlite3"))
    values = dict.fromkeys(re.findall(r":(\w+)", statement), 0)
    plan = database.fetch(f"EXPLAIN QUERY PLAN {statement}", values)
    database.close()
    return [text for *_, text in plan if "custom_jobs" in text]
