"""Queueing in the caller's own transaction: the row comes and goes with it, whatever the connection is set to."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import django
import pytest
import sqlalchemy as sa
from django.conf import settings as django_settings
from django.db import connections, transaction
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from bgjob import (
    DatabaseBusyError,
    InvalidParamsError,
    NotApprovedError,
    StoreError,
    run_background_job,
    run_background_jobs,
)
from bgjob.store.connection import Database
from tests.conftest import Project, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

JOB = "app.jobs.Job"


@pytest.fixture
def app(project: Project) -> Project:
    """Return a project whose queue is there, beside a table of the app in the same file."""
    Database(str(project.database)).close()
    project.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT)")
    return project


@pytest.fixture
def own(app: Project) -> Iterator[sqlite3.Connection]:
    """Return the app's own connection, as sqlite3 opens it."""
    with closing(sqlite3.connect(app.database, timeout=0.2)) as connection:
        yield connection


def connected(path: Path, **options: Any) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, timeout=0.2, **options))


def queue_and_raise(connection: object) -> None:
    run_background_job(JOB, connection=connection)
    raise KeyError


def count(project: Project) -> int:
    return len(project.jobs())


# The transaction


def test_the_row_comes_with_the_commit(app: Project, own: sqlite3.Connection) -> None:
    own.execute("INSERT INTO orders (name) VALUES ('a')")
    assert run_background_job(JOB, params={"name": "in it"}, priority=7, delay=60, connection=own)
    before = count(app)

    own.commit()

    assert before == 0
    assert app.jobs("job_class, method, params, priority, status, available_at > created_at") == [
        (JOB, "execute", '{"name":"in it"}', 7, "pending", 1)
    ]


def test_the_row_goes_with_the_rollback(app: Project, own: sqlite3.Connection) -> None:
    own.execute("INSERT INTO orders (name) VALUES ('a')")
    assert run_background_job(JOB, connection=own)
    assert run_background_jobs([JOB, JOB], connection=own)

    own.rollback()

    assert count(app) == 0
    assert app.sql("SELECT * FROM orders") == []


def test_a_savepoint_takes_it_back_too(app: Project, own: sqlite3.Connection) -> None:
    run_background_job(JOB, priority=1, connection=own)
    own.execute("SAVEPOINT part")
    run_background_job(JOB, priority=2, connection=own)
    own.execute("ROLLBACK TO part")
    own.commit()

    assert app.jobs("priority") == [(1,)]


@pytest.mark.parametrize("level", ["", "DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
def test_python_begins_a_transaction_as_it_does_for_any_insert(app: Project, level: str) -> None:
    for queue in (run_background_job, lambda job, **more: run_background_jobs([job, job], **more)):
        with connected(app.database, isolation_level=level) as own:
            queue(JOB, connection=own)

            assert own.in_transaction
            own.rollback()

    assert count(app) == 0


def test_without_a_transaction_the_row_is_committed_at_once(app: Project) -> None:
    with connected(app.database, isolation_level=None) as own:
        run_background_job(JOB, connection=own)

        assert not own.in_transaction
        assert count(app) == 1


def test_a_transaction_begun_by_hand_is_left_open(app: Project) -> None:
    with connected(app.database, isolation_level=None) as own:
        own.execute("BEGIN")
        run_background_jobs([JOB, JOB, JOB], connection=own)
        assert own.in_transaction
        before = count(app)
        own.execute("COMMIT")

    assert (before, count(app)) == (0, 3)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the attribute came with Python 3.12")
@pytest.mark.parametrize("autocommit", [True, False])
def test_the_attribute_autocommit_decides_as_it_always_does(app: Project, autocommit: bool) -> None:  # noqa: FBT001
    with connected(app.database, autocommit=autocommit) as own:
        run_background_job(JOB, connection=own)
        assert count(app) == int(autocommit)
        if not autocommit:
            own.commit()

    assert count(app) == 1


def test_many_jobs_go_in_together_or_not_at_all_even_where_each_statement_commits(app: Project) -> None:
    app.sql("CREATE TRIGGER no_nines BEFORE INSERT ON custom_jobs WHEN NEW.priority = 9 "
            "BEGIN SELECT RAISE(ABORT, 'no nines'); END")  # fmt: skip
    with connected(app.database, isolation_level=None) as own:
        with pytest.raises(StoreError, match="no nines"):
            run_background_jobs([(JOB, "execute", None, priority) for priority in (1, 2, 9)], connection=own)

        assert count(app) == 0


def test_many_jobs_keep_their_order_and_all_that_is_theirs(app: Project, own: sqlite3.Connection) -> None:
    params = {"text": 'Grüße "☃" \\ \n \U0001f600 \x00 \x7f', "numbers": [1, -2.5, 10**30, None, True]}
    jobs: list[Any] = [
        {"job_class": JOB, "params": params, "priority": -(2**63)},
        (JOB, "execute", ["a"], 2**63 - 1, 3.5),
        *({"job_class": JOB, "priority": number} for number in range(200)),
    ]
    columns = (
        "job_class, method, params, priority, available_at IS NULL, created_at IS NOT NULL, updated_at = created_at"
    )
    run_background_jobs(jobs)
    ours = app.jobs(columns)
    app.sql("DELETE FROM custom_jobs")

    run_background_jobs(jobs, connection=own)
    own.commit()

    assert app.jobs(columns) == ours
    assert len(ours) == 202


def test_what_is_refused_leaves_the_transaction_as_it_was(app: Project, own: sqlite3.Connection) -> None:
    own.execute("INSERT INTO orders (name) VALUES ('kept')")
    refusals: list[tuple[type[Exception], Callable[[], bool]]] = [
        (NotApprovedError, lambda: run_background_job("app.jobs.Other", connection=own)),
        (InvalidParamsError, lambda: run_background_job(JOB, params={"at": object()}, connection=own)),
        (NotApprovedError, lambda: run_background_jobs([JOB, "app.jobs.Other"], connection=own)),
    ]
    for refused, call in refusals:
        with pytest.raises(refused):
            call()
    own.commit()

    assert count(app) == 0
    assert app.sql("SELECT name FROM orders") == [("kept",)]


def test_no_jobs_touch_nothing(own: sqlite3.Connection) -> None:
    assert run_background_jobs([], connection=own)

    assert not own.in_transaction


# Settings of the connection


def _refused(*_: Any) -> Any:
    raise AssertionError("the caller's factory was used")


@pytest.mark.parametrize("factory", [None, sqlite3.Row, lambda _, row: {"row": row}, _refused])
@pytest.mark.parametrize("text", [str, bytes, bytearray, lambda raw: raw.decode("latin-1")])
def test_row_and_text_factories_are_the_callers_and_disturb_nobody(app: Project, factory: Any, text: Any) -> None:
    with connected(app.database) as own:
        own.row_factory, own.text_factory = factory, text
        run_background_job(JOB, connection=own)
        run_background_jobs([JOB, JOB], connection=own)
        own.commit()
        assert (own.row_factory, own.text_factory) == (factory, text)

    assert app.jobs("id, job_class") == [(1, JOB), (2, JOB), (3, JOB)]


def test_a_temporary_table_of_the_same_name_is_passed_by(app: Project, own: sqlite3.Connection) -> None:
    own.execute(
        "CREATE TEMP TABLE custom_jobs (job_class, method, params, priority, available_at, created_at, updated_at)"
    )
    run_background_job(JOB, connection=own)
    own.commit()

    assert count(app) == 1


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST", "WAL"])
def test_any_journal_mode_will_do(app: Project, mode: str) -> None:
    with connected(app.database, isolation_level=None) as own:
        assert own.execute(f"PRAGMA journal_mode = {mode}").fetchone() == (mode.lower(),)
        own.execute("BEGIN")
        run_background_job(JOB, connection=own)
        assert count(app) == 0
        own.execute("COMMIT")
    app.write_jobs("class Job:\n    def execute(self):\n        open('trace', 'a').write('ran\\n')\n")
    run_background_job(JOB)
    app.tick()

    assert app.trace() == ["ran", "ran"]


def test_a_connection_of_another_name_for_the_file_is_the_same_file(app: Project, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(app.folder)
    for name in (link / "storage" / "jobs.sqlite3", os.path.relpath(app.database)):
        with connected(name) as own, own:  # type: ignore[arg-type]
            run_background_job(JOB, connection=own)
    with connected(f"file:{app.database}?mode=rw", uri=True) as own, own:  # type: ignore[arg-type]
        run_background_job(JOB, connection=own)

    assert count(app) == 3


# What can't be


def refusal(connection: object) -> str:
    with pytest.raises(StoreError) as caught:
        run_background_job(JOB, connection=connection)
    assert type(caught.value) is StoreError
    return str(caught.value)


def test_another_file_is_refused_and_both_are_named(app: Project, tmp_path: Path) -> None:
    with connected(tmp_path / "other.sqlite3") as other:
        other.execute("ATTACH ? AS jobs", (str(app.database),))
        told = refusal(other)

    assert str(tmp_path / "other.sqlite3") in told
    assert f"jobs are queued in {app.database}" in told
    assert count(app) == 0


@pytest.mark.parametrize("name", [":memory:", "", "file::memory:?cache=shared"])
def test_a_database_in_memory_is_refused(app: Project, name: str) -> None:
    with closing(sqlite3.connect(name, uri=True)) as own:
        assert "in memory" in refusal(own)
    assert count(app) == 0


@pytest.mark.parametrize("way", ["PRAGMA query_only = 1", "mode=ro"])
def test_a_connection_that_only_reads_is_called_so(app: Project, way: str) -> None:
    name = f"file:{app.database}?mode={'ro' if way == 'mode=ro' else 'rw'}"
    with closing(sqlite3.connect(name, uri=True)) as own:
        if way != "mode=ro":
            own.execute(way)
        told = refusal(own)

    assert "the connection that was given may only read" in told
    assert count(app) == 0


def test_a_cursor_is_no_connection(own: sqlite3.Connection) -> None:
    with closing(own.cursor()) as cursor:
        assert "not sqlite3.Cursor" in refusal(cursor)


@pytest.mark.parametrize("value", [object(), "jobs.sqlite3", 7, False, sqlite3])
@pytest.mark.usefixtures("app")
def test_what_is_no_connection_is_refused(value: object) -> None:
    assert "connection must be one of sqlite3, of Django or of SQLAlchemy" in refusal(value)


def test_a_file_without_the_table_gets_it_unless_a_transaction_is_open(project: Project) -> None:
    project.database.parent.mkdir()
    with connected(project.database, isolation_level=None) as own:
        own.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT)")
        own.execute("BEGIN IMMEDIATE")
        told = refusal(own)
        own.execute("INSERT INTO orders (name) VALUES ('a')")
        own.execute("COMMIT")

        run_background_job(JOB, connection=own)

    assert "no table custom_jobs yet" in told
    assert "background_runner.py" in told
    assert (count(project), project.sql("SELECT name FROM orders")) == (1, [("a",)])


def test_an_app_that_numbers_its_file_itself_is_refused(project: Project) -> None:
    project.database.parent.mkdir()
    with connected(project.database) as own:
        own.execute("PRAGMA user_version = 3")

        with pytest.raises(StoreError, match="user_version 3"):
            run_background_job(JOB, connection=own)


def test_the_threads_of_the_connection_are_held_to(own: sqlite3.Connection) -> None:
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(refusal(own)))
    thread.start()
    thread.join()

    assert "thread" in told[0]


def test_a_closed_connection_is_refused(own: sqlite3.Connection) -> None:
    own.close()

    assert "closed database" in refusal(own)


def test_a_lock_is_waited_for_as_long_as_the_connection_says(app: Project, own: sqlite3.Connection) -> None:
    with connected(app.database, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(DatabaseBusyError, match="locked"):
            run_background_job(JOB, connection=own)

    assert 0.15 < time.monotonic() - began < 3


def test_a_transaction_that_read_too_early_is_told_what_to_do(app: Project) -> None:
    with connected(app.database, isolation_level=None) as own:
        own.execute("BEGIN")
        own.execute("SELECT * FROM orders").fetchall()
        app.sql("INSERT INTO orders (name) VALUES ('of another')")

        with pytest.raises(DatabaseBusyError, match="BEGIN IMMEDIATE"):
            run_background_job(JOB, connection=own)


def test_nothing_is_read_before_the_row_is_written(app: Project) -> None:
    """A snapshot taken before would make the write fail whenever somebody else commits in between."""
    seen: list[str] = []
    run_background_job(JOB)
    with connected(app.database, isolation_level=None) as own:
        own.set_trace_callback(seen.append)
        own.execute("BEGIN")
        run_background_job(JOB, connection=own)

    assert seen[:2] == ["BEGIN", "PRAGMA database_list"]
    assert seen[2].lstrip().startswith("INSERT INTO main.custom_jobs")


# The runner


def test_a_lingering_runner_runs_it_within_a_second_of_the_commit(app: Project, own: sqlite3.Connection) -> None:
    app.configure("linger: 30s")
    app.write_jobs("import time\nclass Job:\n    def execute(self):\n"
                   "        open('trace', 'a').write(f'{time.monotonic()}\\n')\n")  # fmt: skip
    app.start_tick()
    run_background_job(JOB)
    wait_until(app.trace)

    run_background_job(JOB, connection=own)
    own.commit()
    committed = time.monotonic()
    wait_until(lambda: len(app.trace()) == 2)

    assert float(app.trace()[1]) - committed < 1.2


def test_one_that_is_committed_at_once_is_picked_up_at_once(app: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pinged: list[str] = []
    monkeypatch.setattr("bgjob.wake.ping", pinged.append)
    with connected(app.database, isolation_level=None) as own:
        run_background_job(JOB, connection=own)

    assert pinged == [str(app.database)]


def test_who_only_queues_so_leaves_a_fingerprint_too(app: Project) -> None:
    app.python(
        "import sqlite3; from bgjob import run_background_job\n"
        "own = sqlite3.connect('storage/jobs.sqlite3', isolation_level=None)\n"
        f"run_background_job({JOB!r}, connection=own)"
    )

    assert app.sql("SELECT count(*) FROM fingerprints WHERE side = 'queueing'") == [(1,)]


# SQLAlchemy


@pytest.fixture
def engine(app: Project) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{app.database}")
    yield engine
    engine.dispose()


def lenders(engine: sa.Engine) -> dict[str, Callable[[], Any]]:
    return {
        "connection": engine.connect,
        "session": lambda: Session(engine),
        "scoped session": scoped_session(sessionmaker(engine)),
        "raw": engine.raw_connection,
    }


@pytest.mark.parametrize("kind", ["connection", "session", "scoped session", "raw"])
@pytest.mark.parametrize("first", [True, False])
def test_sqlalchemys_transaction_decides(app: Project, engine: sa.Engine, kind: str, first: bool) -> None:  # noqa: FBT001
    insert = "INSERT INTO orders (name) VALUES ('a')"
    for end in ("commit", "rollback"):
        with closing(lenders(engine)[kind]()) as lent:
            if not first:
                lent.cursor().execute(insert) if kind == "raw" else lent.execute(sa.text(insert))
            run_background_job(JOB, connection=lent)
            run_background_jobs([JOB, JOB], connection=lent)
            assert count(app) in (0, 3)
            getattr(lent, end)()

    assert count(app) == 3


def test_a_block_of_sqlalchemy_commits_and_rolls_back(app: Project, engine: sa.Engine) -> None:
    with engine.begin() as lent:
        run_background_job(JOB, connection=lent)
    with pytest.raises(KeyError), engine.begin() as lent:
        queue_and_raise(lent)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as lent:
        run_background_job(JOB, connection=lent)

    assert count(app) == 2


def test_sqlalchemys_own_refusals_become_ours(engine: sa.Engine) -> None:
    lent = engine.connect()
    lent.close()

    assert "closed" in refusal(lent)
    assert "not sqlalchemy.engine.base.Engine" in refusal(engine)


# Django


@pytest.fixture
def database(app: Project) -> Iterator[Any]:
    """Return Django's connection to the file, as its default settings make it."""
    if not django_settings.configured:
        django_settings.configure(DATABASES={}, USE_TZ=True)
        django.setup()
    name = "bgjob"
    connections.databases[name] = connections.configure_settings(
        {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(app.database)}}
    )["default"]
    yield connections[name]
    connections[name].close()
    del connections[name], connections.databases[name]


def test_djangos_transaction_decides(app: Project, database: Any) -> None:
    with transaction.atomic("bgjob"):
        run_background_job(JOB, connection=database)
        before = count(app)
    with pytest.raises(KeyError), transaction.atomic("bgjob"):
        queue_and_raise(database)

    assert (before, count(app)) == (0, 1)


def test_outside_of_a_block_django_commits_at_once(app: Project, database: Any) -> None:
    run_background_job(JOB, connection=database)

    assert count(app) == 1


def test_django_wakes_the_runner_after_the_commit(app: Project, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pinged: list[int] = []
    monkeypatch.setattr("bgjob.wake.ping", lambda _: pinged.append(count(app)))

    with transaction.atomic("bgjob"):
        run_background_job(JOB, connection=database)
        with pytest.raises(KeyError), transaction.atomic("bgjob"):
            queue_and_raise(database)
        before = list(pinged)

    assert (before, pinged) == ([], [1])


def test_a_broken_block_of_django_is_told_of(app: Project, database: Any) -> None:
    with transaction.atomic("bgjob"):
        transaction.set_rollback(rollback=True, using="bgjob")
        assert "atomic" in refusal(database)

    assert count(app) == 0
