"""Each read, write, sync and lock of a process of ours fails, one by one: nothing is lost and nothing is made up."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import os
import random
import shutil
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import alarm, enqueue, run_background_job
from bgjob.board import Reached
from bgjob.config import parse_config
from bgjob.errors import StoreError
from bgjob.job import ClaimedJob, Postponed, Raised, Succeeded
from bgjob.settlement import settle
from bgjob.store import connection, intake
from bgjob.store.alarms import OVERDUE, AlarmStore
from bgjob.store.connection import Database
from bgjob.store.jobs import JobStore, Owner
from bgjob.store.runners import RunnerStore
from bgjob.store.upkeep import Upkeep
from tests.conftest import new_job
from tests.test_store_connection import file_system
from tests.warm import GATE, INJECTED, Ended, Warm, in_memory, only_files_of, warm_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Project

JOBS = """
import os

def trace(text):
    file = os.open("trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{text}\\n".encode())
    os.close(file)

class Job:
    def execute(self, name):
        trace(f"start {name}")
        if name == "raise-once" and not os.path.exists(name):
            os.close(os.open(name, os.O_CREAT))
            raise RuntimeError("once")
        trace(f"end {name}")
"""

NAMES = ["raise-once", "last"]
MOST_RUNS = 4  # of one job, in the tick with the fault and the next one: it may fail in both, and raise in between


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with warm_process() as process:
        yield process


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with in_memory() as folder:
        yield folder


class Stand:
    """A project in which the same things happen again and again, each time with another fault."""

    def __init__(self, project: Project, warm: Warm) -> None:
        self._project = project
        self._warm = warm
        self._storage = project.folder / "storage"
        self._kept = project.folder / "kept"
        project.configure("max_retries: 1000\nmax_crashes: 1000\nboot: app.boot")
        project.write_jobs(JOBS)
        project.write_jobs(GATE, "boot")

    def prepare(self) -> None:
        """Leave jobs to rescue, to promote, to retry and to complete, and all files that a tick leaves."""
        for name in ("earlier", "left"):
            run_background_job("app.jobs.Job", "execute", [name])
        assert self._warm.tick(self._project.folder).code == 0
        for name in NAMES:
            run_background_job("app.jobs.Job", "execute", [name], delay=0.001 if name == "last" else 0)
        # As a runner left it that was killed.
        self._project.sql(
            "UPDATE custom_jobs SET status = 'processing', runner = 1, worker = '999999 1 -' WHERE params = ?",
            ('["left"]',),
        )
        enqueue._intake._close()
        shutil.copytree(self._storage, self._kept, ignore=shutil.ignore_patterns("*.wake"))

    def sweep(self, call: str, error: str, run: Callable[..., Ended], check: Callable[[Ended, str], None]) -> None:
        """Let the first, the second, … `call` on a file of ours fail, until there are no more."""
        for number in itertools.count(1):
            self._reset()
            inject = f"inject={call}:error={error}:when={number}"
            # The -shm file is of interest where it is made, mapped and cut; its eight first writes are zeros.
            more = [] if call == "pwrite64" and self._kept.exists() else ["storage/jobs.sqlite3-shm"]
            ended = run("-e", f"trace={call}", "-e", inject, *only_files_of(self._project.folder, *more))
            check(ended, inject)
            if INJECTED not in ended.seen:
                assert number > 1, f"there is no {call} on any file of ours"
                return

    def _reset(self) -> None:
        shutil.rmtree(self._storage, ignore_errors=True)
        if self._kept.exists():
            shutil.copytree(self._kept, self._storage)
        for name in ("trace", "acks", "raise-once"):
            (self._project.folder / name).unlink(missing_ok=True)

    def tick(self, *strace: str) -> Ended:
        return self._warm.tick(self._project.folder, *strace)

    def worker(self, *strace: str) -> Ended:
        return self._warm.tick_with_worker(self._project.folder, *strace)

    def queueing(self, *strace: str) -> Ended:
        return self._warm.queue(self._project.folder, ["one", "two", "three"], *strace)

    def check_tick(self, ended: Ended, fault: str) -> None:
        """Nothing was made up by the tick with the fault; the next one settles all."""
        check_end(ended, fault)
        self._check_jobs(fault, all_done=False)
        self._check_next_tick(fault)
        assert len(self._project.jobs()) == 4, fault

    def check_queueing(self, ended: Ended, fault: str) -> None:
        """What was accepted is in the table, and nothing else."""
        check_end(ended, fault)
        names = [
            name for (name,) in self._project.sql("SELECT json_extract(params, '$[0]') FROM custom_jobs ORDER BY id")
        ]
        acks = self._project.trace("acks")
        assert names == acks, fault
        assert (len(acks) == 3) == (ended.code == 0), fault
        self._check_next_tick(fault)
        ran = [line for line in self._project.trace() if line.startswith("end")]
        assert ran == [f"end {name}" for name in names], fault

    def _check_next_tick(self, fault: str) -> None:
        ended = self.tick()
        assert (ended.code, ended.said) == (0, ""), (fault, ended)
        self._check_jobs(fault, all_done=True)
        assert self._project.sql("PRAGMA integrity_check") == [("ok",)], fault

    def _check_jobs(self, fault: str, *, all_done: bool) -> None:
        runs = Counter(self._project.trace())
        for name, status in self._project.sql("SELECT json_extract(params, '$[0]'), status FROM custom_jobs"):
            assert status == "completed" or not all_done, (fault, name, status)
            assert runs[f"end {name}"] or status != "completed" or name == "earlier", (fault, name, status)
            assert runs[f"start {name}"] <= MOST_RUNS, (fault, name, runs)


def check_end(ended: Ended, fault: str) -> None:
    """It ended by itself, either well or with a clear line; never with a traceback."""
    assert ended.code in {0, 69}, (fault, ended)
    lines = ended.said.splitlines()
    assert all(line.startswith("bgjob: ") and len(line) < 600 for line in lines), (fault, ended)
    assert lines or ended.code == 0, (fault, ended)


def check_completed_were_run(project: Project) -> None:
    completed = project.sql("SELECT json_extract(params, '$[0]') FROM custom_jobs WHERE status = 'completed'")
    assert {f"end {name}" for (name,) in completed} <= set(project.trace())


@pytest.fixture
def stand(project: Project, warm: Warm) -> Stand:
    return Stand(project, warm)


# What each of them does with files of ours, and how it may fail.
OF_ALL = [("pread64", "EIO"), ("fdatasync", "EIO"), ("ftruncate", "EIO"), ("mkdir", "ENOSPC"), ("mmap", "ENOMEM")]
OF_TICKS = [
    *OF_ALL,
    ("openat", "EACCES"),
    ("pwrite64", "ENOSPC"),
    ("read", "EIO"),
    ("write", "ENOSPC"),
    ("unlink", "EIO"),
    ("flock", "ENOLCK"),
]
# A worker syncs nothing: the runner keeps the log, and so does the last checkpoint.
OF_WORKERS = [
    *(pair for pair in OF_ALL if pair[0] != "fdatasync"),
    ("openat", "EMFILE"),
    ("pwrite64", "EIO"),
    ("write", "ENOSPC"),
]
OF_QUEUEING = [*OF_ALL, ("openat", "EMFILE"), ("pwrite64", "ENOSPC"), ("unlink", "EIO")]


@pytest.mark.parametrize(("call", "error"), OF_TICKS)
def test_a_tick_of_which_one_call_fails_loses_nothing_and_makes_nothing_up(stand: Stand, call: str, error: str) -> None:
    stand.prepare()

    stand.sweep(call, error, stand.tick, stand.check_tick)


@pytest.mark.parametrize(("call", "error"), OF_WORKERS)
def test_a_worker_of_which_one_call_fails_loses_nothing_and_makes_nothing_up(
    stand: Stand, call: str, error: str
) -> None:
    stand.prepare()

    stand.sweep(call, error, stand.worker, stand.check_tick)


@pytest.mark.parametrize(("call", "error"), OF_QUEUEING)
def test_what_is_accepted_while_one_call_fails_is_in_the_table_and_what_is_refused_is_not(
    stand: Stand, call: str, error: str
) -> None:
    stand.sweep(call, error, stand.queueing, stand.check_queueing)


def test_a_tick_that_can_not_fork_says_so_and_tries_again(stand: Stand) -> None:
    stand.prepare()

    ended = stand.tick("-e", "trace=clone,clone3,fork", "-e", "inject=clone,clone3,fork:error=EAGAIN:when=1")

    assert INJECTED in ended.seen
    assert ended.code == 0
    assert "no worker can be started" in ended.said
    stand.check_tick(ended, "fork")


# A disk that is really full, can't be written, or is damaged.


@pytest.mark.parametrize("room", [0, 4, 8, 16, 32, 64, 128])
def test_a_tick_on_a_full_disk_makes_nothing_up_and_once_there_is_room_the_next_one_runs_all(
    project: Project, warm: Warm, room: int
) -> None:
    project.write_jobs(JOBS)
    project.database.parent.mkdir()
    filler = project.database.parent / "filler"

    with file_system(project.database.parent):
        for name in NAMES:
            run_background_job("app.jobs.Job", "execute", [name])
        enqueue._intake._close()
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 1024):
                pass
        os.truncate(filler, filler.stat().st_size - room * 1024)
        full = warm.tick(project.folder)
        filler.unlink()
        check_end(full, f"{room} KB left")
        check_completed_were_run(project)

        assert warm.tick(project.folder)[:2] == (0, "")

        assert {status for _, status in project.jobs()} == {"completed"}
        assert all(Counter(project.trace())[f"end {name}"] in {1, 2} for name in NAMES)
        assert project.sql("PRAGMA integrity_check") == [("ok",)]


def test_a_tick_on_a_disk_that_can_only_be_read_says_so_and_runs_nothing(project: Project, warm: Warm) -> None:
    project.write_jobs(JOBS)
    project.database.parent.mkdir()

    with file_system(project.database.parent) as remount:
        for name in NAMES:
            run_background_job("app.jobs.Job", "execute", [name])
        enqueue._intake._close()
        remount("ro")
        ended = warm.tick(project.folder)
        remount("rw")

        assert ended.code == 69
        assert "jobs.sqlite3" in ended.said
        check_end(ended, "read-only")
        assert project.trace() == []
        assert warm.tick(project.folder)[:2] == (0, "")
        assert {status for _, status in project.jobs()} == {"completed"}


def test_a_tick_on_a_database_with_a_damaged_page_ends_by_itself_and_says_what_is_wrong(
    project: Project, warm: Warm
) -> None:
    project.write_jobs(JOBS)
    for name in NAMES:
        run_background_job("app.jobs.Job", "execute", [name])
    enqueue._intake._close()
    whole = project.database.read_bytes()
    page_size = int.from_bytes(whole[16:18])
    dice = random.Random(4)  # noqa: S311  # the same garbage in each run
    codes = []

    for page in range(0, len(whole), page_size):
        shutil.rmtree(project.database.parent)
        project.database.parent.mkdir()
        project.database.write_bytes(whole[:page] + dice.randbytes(page_size) + whole[page + page_size :])
        ended = warm.tick(project.folder)
        check_end(ended, f"byte {page}")
        codes.append(ended.code)

    assert codes[:2] == [69, 69]  # the header; the table of jobs
    assert 0 in codes  # pages that nobody reads hurt nobody


@pytest.mark.parametrize("content", [b"garbage " * 1000, b"SQLite format 3\0", b"\0" * 8192])
def test_a_tick_on_a_file_that_is_no_database_says_so_and_leaves_it_alone(
    project: Project, warm: Warm, content: bytes
) -> None:
    project.database.parent.mkdir()
    project.database.write_bytes(content)

    ended = warm.tick(project.folder)

    check_end(ended, "no database")
    assert (ended.code, project.database.read_bytes()) == (69, content)


# The same for the store alone, statement by statement.

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
OWNER = Owner(runner=1, worker="1 1 -", workers=2)
HELD = ClaimedJob(1, "app.jobs.Job", "execute", None, 0, 0, 0, OWNER.runner, OWNER.worker)
FAILURE = Raised(error="error", traceback="traceback")
KEEP = {"completed": 1.0, "failed": 1.0, "cancelled": 1.0}


def within(act: Callable[[JobStore], object]) -> Callable[[Database], object]:
    """Return the act as the worker does it: in a transaction of its own."""

    def run(database: Database) -> object:
        jobs = JobStore(database)
        with jobs.transaction():
            return act(jobs)

    return run


CONFIG = parse_config(
    b"approved_classes: [app.jobs.Job, app.jobs.Tell]\napproved_methods: [execute]\nmax_retries: 0\n"
    b"on_alarm: app.jobs.Tell\non_failure: app.jobs.Tell\n",
    "/srv/app/config/jobs.yaml",
)


def raise_alarm(database: Database) -> None:
    if OVERDUE not in AlarmStore(database).open():
        alarm._raised(database, CONFIG, alarm.Outage(OVERDUE, told="it is so", oldest=None), NOW)


ACTS: dict[str, Callable[[Database], object]] = {
    "enqueue": lambda database: intake.enqueue(database, [new_job(NOW)] * 3),
    "claim": within(lambda jobs: jobs.claim(OWNER, NOW)),
    "claim_one": within(lambda jobs: jobs.claim_one(2, OWNER, NOW)),
    "must_promote": lambda database: JobStore(database).must_promote(NOW),
    "promote": lambda database: JobStore(database).promote(NOW),
    "complete": within(lambda jobs: jobs.complete(HELD, NOW, outcome=Succeeded(), output="output")),
    "retry": within(lambda jobs: jobs.retry(HELD, NOW, failure=FAILURE, output="", available_at=NOW)),
    "fail": within(lambda jobs: jobs.fail(HELD, NOW, failure=FAILURE, output="")),
    "postpone": within(
        lambda jobs: jobs.postpone(HELD, NOW, outcome=Postponed(1.0, "later"), output="", available_at=NOW)
    ),
    "postponements": within(lambda jobs: jobs.postponements(HELD)),
    "note_progress": within(
        lambda jobs: jobs.note_progress(OWNER.runner, OWNER.worker, Reached(HELD.id, 0.4, "half-way"), NOW)
    ),
    "release": within(lambda jobs: jobs.release(HELD, NOW)),
    "held_by": lambda database: JobStore(database).held_by(OWNER.runner, OWNER.worker),
    "held_by_others": lambda database: JobStore(database).held_by_others(2),
    "is_anything_to_do": lambda database: JobStore(database).is_anything_to_do(NOW),
    "look": lambda database: JobStore(database).look(1, NOW),
    "count_due": lambda database: JobStore(database).count_due(NOW),
    "status_of": lambda database: JobStore(database).status_of(1),
    "due_at": lambda database: list(JobStore(database).due_at(NOW)),
    "not_due_at": lambda database: list(JobStore(database).not_due_at(NOW)),
    "start": lambda database: RunnerStore(database).start(NOW, process="1 0 -", lingers=False),
    "seen": lambda database: RunnerStore(database).seen(1, NOW),
    "end": lambda database: RunnerStore(database).end(1, NOW),
    "process_of": lambda database: RunnerStore(database).process_of(1),
    "newest": lambda database: RunnerStore(database).newest(),
    "is_due": lambda database: Upkeep(database, keep=KEEP).is_due(NOW),
    "step": lambda database: Upkeep(database, keep=KEEP).step(NOW),
    "fail, and tell the hook": within(
        lambda jobs: settle(jobs, HELD, FAILURE, NOW, config=CONFIG, output="", dice=0.0)
    ),
    "raise an alarm, and tell the hook": raise_alarm,
}
FAILURES = {  # code: SQLite's text, and whether SQLite rolls the transaction back by itself
    sqlite3.SQLITE_FULL: ("database or disk is full", True),
    sqlite3.SQLITE_IOERR_WRITE: ("disk I/O error", True),
    sqlite3.SQLITE_IOERR_READ: ("disk I/O error", False),
    sqlite3.SQLITE_CORRUPT: ("database disk image is malformed", False),
    sqlite3.SQLITE_BUSY: ("database is locked", False),
}


class FailingConnection:
    """A connection of which the statement number `fail_at` fails as SQLite lets statements fail."""

    def __init__(self, real: sqlite3.Connection, *, fail_at: int, code: int) -> None:
        self.real = real
        self._left = fail_at
        self._refused: object = None  # the statement, until another one comes
        self._code = code

    @property
    def has_failed(self) -> bool:
        return self._left <= 0

    def begin_anew(self) -> None:
        self._refused = None

    def execute(self, *statement: Any) -> object:
        return self._do(self.real.execute, *statement)

    def executemany(self, *statement: Any) -> object:
        return self._do(self.real.executemany, *statement)

    def _do(self, act: Callable[..., object], *statement: Any) -> object:
        self._left -= 1
        # Whoever finds the database busy asks once more, for the same.
        is_asked_again = self._left < 0 and self._code == sqlite3.SQLITE_BUSY and statement[0] is self._refused
        self._refused = None if self._left else statement[0]
        if self._left != 0 and not is_asked_again:
            return act(*statement)
        text, rolls_back = FAILURES[self._code]
        if rolls_back:
            self.real.rollback()
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = self._code
        raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def content_of(path: str) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return list(connection.iterdump())


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A database with a job that OWNER holds, two that are ready, two delayed ones and an old one to prune."""
    path = tmp_path / "prepared.sqlite3"
    database = Database(str(path))
    RunnerStore(database).start(NOW, process="1 0 -", lingers=False)
    delays = (0, 0, 0, 0.001, 3600, 0)
    intake.enqueue(database, [new_job(NOW, delay=delay) for delay in delays])
    with database.transaction() as connection:
        connection.execute(
            "UPDATE custom_jobs SET status = 'processing', runner = 1, worker = '1 1 -', started_at = created_at "
            "WHERE id = 1"
        )
        connection.execute(
            "UPDATE custom_jobs SET status = 'completed', finished_at = '2025-01-01 00:00:00.000000' WHERE id = 6"
        )
        connection.execute("UPDATE custom_jobs SET available_at = '2025-01-01 00:00:00.000000' WHERE id = 4")
    database.close()
    return path


def test_every_public_method_of_the_store_is_looked_at_here() -> None:
    methods = {
        name
        for kind in (JobStore, RunnerStore, Upkeep)
        for name, method in vars(kind).items()
        if callable(method) and not name.startswith("_")
    }

    assert {name for name in ACTS if "hook" not in name} == methods - {"transaction"} | {"enqueue"}


@pytest.mark.parametrize("code", FAILURES)
@pytest.mark.parametrize("name", ACTS)
def test_when_a_statement_fails_the_error_is_ours_and_all_or_nothing_is_written(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.0)
    act = ACTS[name]
    path = str(tmp_path / "jobs.sqlite3")
    before, after = content_of(str(prepared)), None

    for fail_at in itertools.count(1):
        shutil.copy(prepared, path)
        database = Database(path)
        real = database.connection
        failing = FailingConnection(real, fail_at=fail_at, code=code)
        database.connection = failing  # type: ignore[assignment]  # all of it that the store uses
        if fail_at == 1:
            with pytest.raises(StoreError, match=r"jobs\.sqlite3"):
                act(database)
        else:
            with contextlib.suppress(StoreError):
                act(database)
        assert not real.in_transaction
        written = content_of(path)
        if failing.has_failed:
            failing.begin_anew()
            act(database)  # the same connection goes on
        after = after or content_of(path)
        database.close()
        if not failing.has_failed:
            assert fail_at > 1
            return
        assert written in (before, after), fail_at


@pytest.mark.parametrize("code", FAILURES)
def test_when_a_statement_fails_while_the_database_is_made_the_error_is_ours_and_the_next_call_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    connect = sqlite3.connect
    failing: list[FailingConnection] = []
    fail_at = itertools.count(1)

    def failing_connect(*arguments: Any, **options: Any) -> FailingConnection:
        failing.append(FailingConnection(connect(*arguments, **options), fail_at=next(fail_at), code=code))
        return failing[-1]

    for number in itertools.count(1):
        path = str(tmp_path / f"{number}.sqlite3")
        with monkeypatch.context() as patched, contextlib.suppress(StoreError):
            patched.setattr(sqlite3, "connect", failing_connect)
            Database(path).close()
        database = Database(path)
        assert database.fetch("PRAGMA journal_mode") == [("wal",)], (number, code)
        intake.enqueue(database, [new_job(NOW)])
        database.close()
        content_of(path)
        if not failing[-1].has_failed:
            return
