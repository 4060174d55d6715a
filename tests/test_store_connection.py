"""How the file is opened, how long a writer waits, and what each error of SQLite means to the caller."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bgjob import enqueue, run_background_job, run_background_jobs
from bgjob.errors import BgjobError, DatabaseBusyError, ForeignDatabaseError, StoreError
from bgjob.store import connection, trouble
from bgjob.store.connection import Database
from bgjob.store.reading import ReadStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Project

JOB = "app.jobs.Job"
HOLDER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
held.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.readline()
held.execute("ROLLBACK")
"""


@contextlib.contextmanager
def held_by_another_process(project: Project, statement: str = "BEGIN IMMEDIATE") -> Iterator[Callable[[], None]]:
    """Have another process lock the database; yields the function that lets it go."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(project.database), statement],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def let_go() -> None:
        holder.communicate("go\n", timeout=30)

    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield let_go
    finally:
        holder.kill()
        holder.communicate()


@contextlib.contextmanager
def file_system(folder: Path, *, size: str = "1m") -> Iterator[Callable[[str], None]]:
    """Mount a small file system at `folder`; yields the function that mounts it again with other options."""

    def mount(*arguments: str) -> int:
        return subprocess.run(["mount", *arguments, str(folder)], check=False, capture_output=True).returncode

    if sys.platform != "linux" or mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        pytest.skip("this user may not mount a file system")
    try:
        yield lambda options: None if mount("-o", f"remount,{options}") == 0 else pytest.fail("remount")
    finally:
        # Lazily: a database that is still open is closed by the fixture only.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set as soon as somebody of this process waits for the database."""
    event = threading.Event()
    lose_patience = Database._lose_patience

    def noticed(self: Database, waited: float) -> None:
        event.set()
        lose_patience(self, waited)

    monkeypatch.setattr(Database, "_lose_patience", noticed)
    return event


def in_thread(act: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Start `act` in a thread; its result or its error will stand in the list."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(act())
        except BgjobError as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_a_writer_waits_until_another_process_lets_go(project: Project, waits: threading.Event) -> None:
    Database(str(project.database)).close()

    with held_by_another_process(project) as let_go:
        thread, results = in_thread(lambda: run_background_job(JOB))
        assert waits.wait(30)
        assert results == []
        let_go()
        thread.join(30)

    assert results == [True]
    assert project.jobs() == [(1, "pending")]


def test_a_lock_that_lasts_is_an_error_of_ours_and_leaves_no_row(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.2)
    Database(str(project.database)).close()

    with held_by_another_process(project) as let_go:
        started = time.monotonic()
        with pytest.raises(DatabaseBusyError, match=r"locked by another process for .* nothing was queued") as refusal:
            run_background_job(JOB)
        assert time.monotonic() - started < 5
        let_go()

    assert str(project.database) in str(refusal.value)
    assert isinstance(refusal.value, StoreError)
    assert project.jobs() == []
    assert run_background_job(JOB)


def test_threads_that_pile_up_behind_a_lock_do_not_wait_one_after_the_other(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.3)
    Database(str(project.database)).close()

    with held_by_another_process(project):
        started = time.monotonic()
        waiting = [in_thread(lambda: run_background_job(JOB)) for _ in range(20)]
        for thread, _ in waiting:
            thread.join(30)
        lasted = time.monotonic() - started

    assert {type(result) for _, results in waiting for result in results} == {DatabaseBusyError}
    assert lasted < 4  # one after the other: 20 times half a second
    assert project.jobs() == []


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_a_transaction_of_the_callers_own_is_told_within_seconds(
    project: Project, monkeypatch: pytest.MonkeyPatch, journal_mode: str
) -> None:
    assert connection.PATIENCE_WITH_OURSELVES < 5
    monkeypatch.setattr(connection, "PATIENCE_WITH_OURSELVES", 0.1)
    Database(str(project.database)).close()
    project.sql(f"PRAGMA journal_mode = {journal_mode}")

    with contextlib.closing(sqlite3.connect(project.database, isolation_level=None)) as own:
        own.execute("BEGIN IMMEDIATE")
        own.execute("CREATE TABLE mine (name TEXT)")
        with pytest.raises(DatabaseBusyError, match=r"this same process.*commit or roll back your own transaction"):
            run_background_job(JOB)
        own.execute("COMMIT")

    assert run_background_job(JOB)
    assert project.sql("SELECT count(*) FROM mine") == [(0,)]


def test_a_reader_of_the_callers_own_is_in_nobodys_way(project: Project) -> None:
    Database(str(project.database)).close()

    with contextlib.closing(sqlite3.connect(project.database, isolation_level=None)) as own:
        own.execute("BEGIN")
        own.execute("SELECT * FROM custom_jobs").fetchall()

        assert run_background_job(JOB)
        own.execute("ROLLBACK")


def test_opening_waits_as_writing_does(project: Project, waits: threading.Event) -> None:
    Database(str(project.database)).close()
    project.sql("PRAGMA journal_mode = DELETE")  # in which a writer shuts readers out, too

    with held_by_another_process(project, "BEGIN EXCLUSIVE") as let_go:
        thread, results = in_thread(lambda: run_background_job(JOB))
        assert waits.wait(30)
        let_go()
        thread.join(30)

    assert results == [True]


def test_the_first_call_waits_for_whoever_holds_the_empty_file(project: Project, waits: threading.Event) -> None:
    project.database.parent.mkdir()

    with held_by_another_process(project, "BEGIN EXCLUSIVE") as let_go:
        thread, results = in_thread(lambda: run_background_job(JOB))
        assert waits.wait(30)
        let_go()
        thread.join(30)

    assert results == [True]
    assert project.sql("PRAGMA journal_mode") == [("wal",)]


def test_a_commit_waits_for_readers_where_there_is_no_wal(project: Project, waits: threading.Event) -> None:
    Database(str(project.database)).close()
    project.sql("PRAGMA journal_mode = DELETE")
    database = Database(str(project.database))

    with contextlib.closing(database), contextlib.closing(sqlite3.connect(project.database)) as reader:
        reader.isolation_level = None
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM custom_jobs").fetchall()

        def write() -> bool:
            with database.transaction() as writer:
                writer.execute("INSERT INTO custom_jobs (job_class, method) VALUES ('a', 'b')")
            return True

        writing = threading.Thread(target=write)
        writing.start()
        assert waits.wait(30)
        reader.execute("ROLLBACK")
        writing.join(30)

    assert project.jobs() == [(1, "pending")]


def test_ctrl_c_during_the_wait_leaves_the_database_unlocked(project: Project) -> None:
    Database(str(project.database)).close()
    source = f"""
import sys
from bgjob import run_background_job
from bgjob.store import connection, trouble
lose_patience = connection.Database._lose_patience
def noticed(self, waited):
    print("waits", flush=True)
    connection.Database._lose_patience = lose_patience
    connection.PATIENCE = 1000
    self.connection.execute("PRAGMA busy_timeout = 60000")
connection.Database._lose_patience = noticed
try:
    run_background_job({JOB!r})
except KeyboardInterrupt as error:
    kept = error  # as a console keeps the last traceback, with all that stands in it
    print("interrupted", flush=True)
sys.stdin.readline()
print(run_background_job({JOB!r}))
"""

    with held_by_another_process(project) as let_go:
        caller = subprocess.Popen(
            [sys.executable, "-c", source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=project.folder,
            env=project.environment(),
        )
        assert caller.stdout is not None
        assert caller.stdout.readline() == "waits\n"
        caller.send_signal(signal.SIGINT)
        let_go()
    try:
        assert caller.stdout.readline() == "interrupted\n"

        project.sql("INSERT INTO custom_jobs (job_class, method) VALUES ('a', 'b')")
    finally:
        said, _ = caller.communicate("go\n", timeout=30)

    assert said == "True\n"
    assert len(project.jobs()) == 2


def test_a_transaction_is_whole_or_nothing(project: Project) -> None:
    database = Database(str(project.database))

    with contextlib.closing(database):
        with contextlib.suppress(ZeroDivisionError), database.transaction() as writer:
            writer.execute("INSERT INTO custom_jobs (job_class, method) VALUES ('a', 'b')")
            raise ZeroDivisionError
        with pytest.raises(StoreError, match="CHECK"), database.transaction() as writer:  # noqa: PT012  # one of two
            writer.execute("INSERT INTO custom_jobs (job_class, method) VALUES ('a', 'b')")
            writer.execute("INSERT INTO custom_jobs (job_class, method, priority) VALUES ('a', 'b', 'high')")

        assert not database.connection.in_transaction
    assert project.jobs() == []


@pytest.fixture
def interrupted(project: Project) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Let a signal handler run what is handed over, in the middle of queueing: between BEGIN and COMMIT."""
    assert run_background_job(JOB, params=["first"])
    database = enqueue._intake._database
    assert database is not None
    handlers: list[Callable[[], object]] = []

    def traced(statement: str) -> None:
        if "INSERT" in statement and handlers:
            signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: handlers.pop()())
    database.connection.set_trace_callback(traced)
    try:
        yield handlers.append
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not handlers
    assert project.jobs("params") == [('["first"]',), ('["outer"]',), ('["outer"]',)]


def test_queueing_from_a_signal_handler_in_the_middle_of_queueing_is_refused(
    interrupted: Callable[[Callable[[], object]], None],
) -> None:
    refused: list[BgjobError] = []

    def handler() -> None:
        with pytest.raises(StoreError, match="this thread is queueing already") as refusal:
            run_background_job(JOB, params=["inner"])
        refused.append(refusal.value)

    interrupted(handler)

    assert run_background_jobs([(JOB, "execute", ["outer"])] * 2)
    assert len(refused) == 1


def test_a_fork_by_a_signal_handler_in_the_middle_of_queueing_leaves_the_queueing_alone(
    interrupted: Callable[[Callable[[], object]], None],
) -> None:
    def handler() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    interrupted(handler)

    assert run_background_jobs([(JOB, "execute", ["outer"])] * 2)


@pytest.mark.parametrize(
    "name", ["with blank", "100%", "a?b=c", "a#b", "café", "日本", "a&b", "quote'\"", "new\nline", "file:x", "\\"]
)
def test_any_folder_name_will_do(project: Project, name: str) -> None:
    project.folder.joinpath(name).mkdir()
    database = Database(f"{project.folder}/{name}/storage/jobs.sqlite3")

    with contextlib.closing(database), database.transaction() as writer:
        writer.execute("INSERT INTO custom_jobs (job_class, method) VALUES ('a', 'b')")

    assert project.folder.joinpath(name, "storage", "jobs.sqlite3").stat().st_size > 0


def test_a_path_that_begins_with_two_slashes_will_do(project: Project) -> None:
    Database(f"/{project.database}").close()

    assert project.jobs() == []


def test_all_ways_to_a_file_lead_to_one_path(project: Project) -> None:
    project.folder.joinpath("storage").mkdir()
    project.folder.joinpath("link").symlink_to("storage")

    with contextlib.closing(Database(f"{project.folder}/link/jobs.sqlite3")) as database:
        assert database.path == str(project.database.resolve())


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_durability_says_whether_each_commit_goes_to_the_disk(project: Project, durability: str, level: int) -> None:
    with contextlib.closing(Database(str(project.database), durability=durability)) as database:
        assert database.fetch("PRAGMA synchronous") == [(level,)]


def test_without_a_wal_every_commit_goes_to_the_disk(project: Project) -> None:
    Database(str(project.database)).close()
    project.sql("PRAGMA journal_mode = DELETE")

    with contextlib.closing(Database(str(project.database), durability="normal")) as database:
        assert database.fetch("PRAGMA synchronous") == [(3,)]


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_queueing_is_as_durable_as_the_config_says(project: Project, durability: str, level: int) -> None:
    project.configure(f"durability: {durability}")
    run_background_job(JOB)

    database = enqueue._intake._database

    assert database is not None
    assert database.fetch("PRAGMA synchronous") == [(level,)]


def test_read_only_makes_nothing(project: Project) -> None:
    with pytest.raises(StoreError):
        Database(str(project.database), read_only=True)

    assert not project.database.parent.exists()


def test_what_another_program_left_that_is_no_text_spoils_its_own_row_only(project: Project) -> None:
    Database(str(project.database)).close()
    project.sql("INSERT INTO custom_jobs (job_class, method) VALUES (CAST(x'ff00fe' AS TEXT), 'execute')")
    project.sql("INSERT INTO custom_jobs (job_class, method, params) VALUES (?, 'execute', ?)", (JOB, "[\0]"))
    project.sql("INSERT INTO custom_jobs (job_class, method) VALUES (?, 'execute')", (f"{JOB}\0",))
    run_background_job(JOB)
    project.write_jobs("class Job:\n    def execute(self):\n        open('trace', 'a').write('ran\\n')\n")

    project.tick()

    assert project.jobs() == [(1, "failed"), (2, "failed"), (3, "failed"), (4, "completed")]
    assert project.trace() == ["ran"]


def test_a_file_in_the_place_of_the_folder_is_told(project: Project) -> None:
    project.database.parent.write_text("mine")

    with pytest.raises(StoreError, match=rf"{project.database.parent} is no folder: move it away"):
        run_background_job(JOB)

    assert project.database.parent.read_text() == "mine"


def test_a_folder_in_the_place_of_the_file_is_told(project: Project) -> None:
    project.database.mkdir(parents=True)

    with pytest.raises(StoreError, match=rf"{project.database} is a folder: move it away"):
        run_background_job(JOB)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told_with_owner_and_user(project: Project) -> None:
    project.database.parent.mkdir(mode=0o500)

    with pytest.raises(StoreError, match=rf"belongs to user \d+, this process runs as user {os.geteuid()}"):
        run_background_job(JOB)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_database_of_another_user_is_told_with_owner_and_user(project: Project) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101, S103  # the other user must get there
        path = f"{folder}/jobs.sqlite3"
        Database(path).close()

        said = project.python(f"""
import os
from bgjob import StoreError
from bgjob.store.connection import Database
os.setuid(65534)
try:
    with Database({path!r}).transaction() as writer:
        writer.execute("DROP TABLE attempts")
except StoreError as error:
    print(error)
""").stdout

    assert path in said
    assert "belongs to user 0, this process runs as user 65534" in said


def test_a_read_only_file_system_is_told_and_once_it_is_writable_queueing_goes_on(project: Project) -> None:
    project.database.parent.mkdir()

    with file_system(project.database.parent) as remount:
        remount("ro")
        with pytest.raises(StoreError, match=r"can't be used.*lies on a read-only file system"):
            run_background_job(JOB)
        remount("rw")
        assert run_background_job(JOB)
        enqueue._intake._close()
        remount("ro")
        with pytest.raises(StoreError, match=r"can't be used.*lies on a read-only file system"):
            run_background_job(JOB)
        remount("rw")

        assert run_background_job(JOB)
        assert project.jobs() == [(1, "pending"), (2, "pending")]
        enqueue._intake._close()


def test_what_nobody_has_open_is_read_where_nothing_can_be_written(project: Project) -> None:
    project.database.parent.mkdir()

    with file_system(project.database.parent) as remount:
        run_background_job(JOB)
        enqueue._intake._close()
        remount("ro")

        for command in ("status", "list", "show 1", "cancel --all --dry-run", "run --dry-run"):
            told = project.python(f"from bgjob.cli.main import main; main({command.split()!r})")
            assert told.stdout, command
            assert told.stderr == ""
        with ReadStore(str(project.database)) as store:
            assert store.journal_mode() == "wal"
        remount("rw")


def test_what_nobody_has_open_is_read_where_the_disk_is_full(project: Project) -> None:
    project.database.parent.mkdir()

    with file_system(project.database.parent):
        run_background_job(JOB)
        enqueue._intake._close()
        with contextlib.suppress(OSError), (project.database.parent / "filler").open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass

        with ReadStore(str(project.database)) as store:
            assert store.last_id(10) == 1


def test_what_stands_in_a_log_alone_is_never_left_out_where_nothing_can_be_written(project: Project) -> None:
    project.database.parent.mkdir()

    with file_system(project.database.parent) as remount:
        run_background_job(JOB)
        enqueue._intake._close()
        project.python(
            "import os; from bgjob import sql; from bgjob.store.connection import Database; "
            f"Database({str(project.database)!r}).connection.execute(sql.NOTE_RESUME, {{'now': ''}}); os._exit(0)"
        )
        project.database.with_name("jobs.sqlite3-shm").unlink()
        remount("ro")

        with pytest.raises(StoreError, match="read-only file system"):
            ReadStore(str(project.database))
        remount("rw")


@pytest.mark.parametrize("when", ["before the first job", "later"])
def test_a_full_disk_is_told_and_once_there_is_room_queueing_goes_on(project: Project, when: str) -> None:
    project.database.parent.mkdir()
    filler = project.database.parent / "filler"
    accepted = 0

    with file_system(project.database.parent):
        if when == "later":
            accepted += run_background_job(JOB)
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        with pytest.raises(StoreError, match="disk"):  # noqa: PT012  # a few rows may still fit
            for _ in range(1_000):
                accepted += run_background_job(JOB, params=["x" * 4_000])
        filler.unlink()

        assert run_background_job(JOB)
        assert len(project.jobs()) == accepted + 1
        assert project.sql("PRAGMA integrity_check") == [("ok",)]
        enqueue._intake._close()


def test_a_database_that_may_not_grow_is_told_as_full_and_keeps_no_half_of_a_call(project: Project) -> None:
    run_background_job(JOB)
    database = enqueue._intake._database
    assert database is not None
    database.connection.execute("PRAGMA max_page_count = 20")

    with pytest.raises(StoreError, match="the disk is full; nothing was written"):
        enqueue.run_background_jobs([(JOB, "execute", ["x" * 10_000])] * 20)

    assert project.jobs() == [(1, "pending")]
    assert run_background_job(JOB)


def test_an_error_while_writing_is_told_and_the_next_call_goes_on(project: Project) -> None:
    said = project.python(f"""
import resource
from bgjob import StoreError, run_background_job
run_background_job({JOB!r})
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
accepted = 0
try:
    while accepted < 100:
        accepted += run_background_job({JOB!r}, params=["x" * 10_000])
except StoreError as error:
    print(accepted, "disk" in str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print(run_background_job({JOB!r}))
""").stdout.split()

    assert said[1:] == ["True", "True"]
    assert len(project.jobs()) == int(said[0]) + 2
    assert project.sql("PRAGMA integrity_check") == [("ok",)]


def test_an_old_sqlite_is_told_at_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))

    with pytest.raises(StoreError, match=r"too old for bgjob, which needs 3\.35"):
        run_background_job(JOB)

    assert not project.database.exists()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_NOTADB, ForeignDatabaseError),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoreError),
        (sqlite3.SQLITE_FULL, StoreError),
        (sqlite3.SQLITE_IOERR_SHMSIZE, StoreError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, DatabaseBusyError),
        (sqlite3.SQLITE_LOCKED, DatabaseBusyError),
        (sqlite3.SQLITE_PROTOCOL, DatabaseBusyError),
        (sqlite3.SQLITE_READONLY, StoreError),
        (sqlite3.SQLITE_CANTOPEN, StoreError),
        (sqlite3.SQLITE_MISMATCH, StoreError),
    ],
)
def test_every_error_of_sqlite_becomes_one_of_ours_that_names_the_file(code: int, kind: type[StoreError]) -> None:
    error = sqlite3.OperationalError("what SQLite said")
    error.sqlite_errorcode = code

    ours = trouble.explained(error, "/srv/app/storage/jobs.sqlite3")

    assert type(ours) is kind
    assert str(ours).startswith("/srv/app/storage/jobs.sqlite3")
    assert "what SQLite said" in str(ours)
