"""Connections to the SQLite file: how they open, how a write transaction begins, what SQLite's errors mean."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import sqlite3
import struct
import time

from bgjob import clock, files, turn
from bgjob.errors import DatabaseBusyError, StoreError
from bgjob.store import schema, trouble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypeVar

    Result = TypeVar("Result")

OLDEST_SQLITE = (3, 35, 0)  # the first with RETURNING

_NO_VALUES: Mapping[str, object] = {}
_SHARED_FIRST = 0x40000002  # where SQLite's shared locks begin (https://sqlite.org/src/file/src/os.h)

# How long a writer waits for other writers; then the caller gets our own error.
PATIENCE = 30.0
# The lock is held by this very process: another thread may be about to commit, but our own caller never will.
PATIENCE_WITH_OURSELVES = 3.0


class Database:
    """One connection to the file at `path`, for one process; a fork must not carry it over."""

    def __init__(self, path: str, *, durability: str = "normal", read_only: bool = False) -> None:
        """Open the file, and create it with its tables unless `read_only`.

        `path` is absolute. `durability` is `full` (a commit survives a power cut) or `normal`.
        Raises StoreError when the file can't be used, ForeignDatabaseError when it isn't ours.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            message = (
                f"SQLite {sqlite3.sqlite_version} is too old for bgjob, which needs 3.35; use a newer Python build"
            )
            raise StoreError(message)
        self.path = os.path.realpath(path)
        self._durability = durability
        self._turn = turn.Turn(f"{self.path}.turn")
        self._transaction = Transaction(self)
        self._log_index: tuple[int, int] | None = None
        self.is_at_rest = False  # read as a file that does not change
        with self.errors_explained():
            self.connection = self._open(read_only=read_only)
            try:
                stat = os.stat(self.path)
                try:
                    self._patiently(lambda: self._prepare(durability, read_only=read_only))
                except sqlite3.OperationalError as error:
                    if not (read_only and trouble.is_of_the_place(error) and _is_at_rest(self.path)):
                        raise
                    self.connection.close()
                    self.is_at_rest = True
                    self.connection = self._connected("mode=ro&immutable=1")
                    self._patiently(lambda: self._prepare(durability, read_only=read_only))
            except BaseException:
                self.close()
                raise
        self.identity = (stat.st_dev, stat.st_ino)

    def _open(self, *, read_only: bool) -> sqlite3.Connection:
        if not read_only:
            _make_folder(os.path.dirname(self.path))
            _make_file(self.path)
        return self._connected("mode=ro" if read_only else "mode=rwc")

    def _connected(self, how: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{files.quoted(self.path)}?{how}",
            uri=True,
            timeout=0,  # the waiting is done by _patiently
            isolation_level=None,
            check_same_thread=False,
        )

    def _prepare(self, durability: str, *, read_only: bool) -> None:
        self.connection.text_factory = _text
        if not schema.is_ours(self):
            if read_only:
                raise StoreError(schema.what_is_missing(self))
            schema.create(self)
        journal_mode = self.connection.execute("PRAGMA journal_mode").fetchone()[0]
        if journal_mode != "wal":
            # Synced is also the folder, from which a commit removes its journal: one that came back would undo it.
            self.connection.execute("PRAGMA synchronous = EXTRA")
        elif durability == "full":
            self.connection.execute("PRAGMA synchronous = FULL")
        else:
            self.connection.execute("PRAGMA synchronous = NORMAL")
        # Our pages are half of SQLite's default, so twice as many make the usual 4 MB; a log that a long reader let
        # grow is cut back to that.
        self.connection.execute("PRAGMA wal_autocheckpoint = 2000")
        self.connection.execute("PRAGMA journal_size_limit = 4194304")
        self._log_index = files.at(f"{self.path}-shm") if journal_mode == "wal" else None
        if journal_mode == "wal" and durability == "normal" and not read_only:
            self._turn.allow_trying_first()

    def close(self) -> None:
        """Close the connection; closing twice is fine."""
        self.connection.close()
        self._turn.close()

    def descriptors(self) -> list[int]:
        """Return the numbers under which the database's files are open in this process."""
        ours = {file for name in (self.path, f"{self.path}-wal", f"{self.path}-shm") if (file := files.at(name))}
        return [number for number in range(3, _MOST_DESCRIPTORS) if files.behind(number) in ours]

    def has_lost_its_log(self) -> bool:
        """Return whether the write-ahead log was deleted under us; what we would write to it would be lost.

        A program that opens and closes the database's file by itself (a backup within a job) drops SQLite's locks of
        its whole process (https://sqlite.org/howtocorrupt.html, 2.2), and then whoever closes last tidies up: first the
        -shm, then the -wal. We look at the former, for ext4 notes who looked at the time of a file (Linux 6.13,
        multigrain timestamps), and the next sync of the -wal would take half as long again.
        """
        return (
            self._log_index is not None
            and files.at(f"{self.path}-shm") != self._log_index
            and files.at(self.path) == self.identity  # else all of it went, and what stands there is a new queue's
        )

    def keep_log(self) -> None:
        """Keep anybody from deleting the write-ahead log for as long as this process lives (Linux).

        A lock of its own descriptor (fcntl(2), "open file description locks") on the byte that the last one to close
        would lock for itself; a job that drops SQLite's locks does not drop this one. Not where there is no log:
        there it would hold up every commit. The descriptor is never closed: that would drop SQLite's locks in turn.
        """
        if self._log_index is None or not hasattr(fcntl, "F_OFD_SETLK"):
            return
        keeper = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        asked = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, _SHARED_FIRST, 1, 0)
        with contextlib.suppress(OSError):  # without it workers look after each job
            fcntl.fcntl(keeper, fcntl.F_OFD_SETLK, asked)

    def reopen(self) -> None:
        """Begin anew after the log was lost; whoever deleted it has brought all that stood in it into the database.

        The old connection is closed first: beside it SQLite would share the deleted -shm with the new one, and nobody
        else would see what that commits.
        """
        self.connection.close()
        with self.errors_explained():
            self.connection = self._open(read_only=False)
            self._patiently(lambda: self._prepare(self._durability, read_only=False))

    def begin(self) -> None:
        """Begin a write transaction, waiting up to 30 s for other writers; raise DatabaseBusyError after that.

        A connection that syncs nothing tries at once, and takes its turn only where that was in vain.
        IMMEDIATE always: a transaction that reads first and then writes fails at once with BUSY.
        """
        if self._turn.tries_first and self.begin_if_free():
            return
        self._turn.take()
        self._patiently(self.connection.execute, "BEGIN IMMEDIATE")

    def begin_if_free(self) -> bool:
        """Begin a write transaction unless somebody writes just now; return whether it was begun."""
        return self._at_once("BEGIN IMMEDIATE", _NO_VALUES) is not None

    def write(self, statement: str, values: Mapping[str, object]) -> int | None:
        """Run one statement that writes, as a transaction of its own: committed when this returns.

        Returns the id of the row that an INSERT has made. Raises DatabaseBusyError after 30 s of
        waiting for other writers, StoreError when it can't be written.
        """
        try:
            cursor = self._at_once(statement, values) if self._turn.tries_first else None
            if cursor is None:
                self._turn.take()
                cursor = self._patiently(self.connection.execute, statement, values)
        except BaseException as error:
            self.undo(error)
            raise
        self._turn.pass_on()
        return cursor.lastrowid

    def _at_once(self, statement: str, values: Mapping[str, object]) -> sqlite3.Cursor | None:
        """Run a statement; None if somebody else writes just now."""
        try:
            return self.connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            if not trouble.is_busy(error):
                raise
        return None

    def _patiently(self, act: Callable[..., Result], *arguments: object) -> Result:
        started = None
        while True:
            try:
                return act(*arguments)
            except sqlite3.OperationalError as error:
                if not trouble.is_busy(error):
                    raise
            started = started or clock.monotonic()
            waited = clock.monotonic() - started
            self._lose_patience(waited)
            # Short naps of random length instead of SQLite's growing ones, in which a writer starves among others.
            time.sleep(random.uniform(0.1, 1) * min(max(waited / 10, 0.001), 0.05))  # noqa: S311  # spreads writers, no secret

    def _lose_patience(self, waited: float) -> None:
        if waited >= PATIENCE_WITH_OURSELVES and self._we_hold_the_write_lock():
            message = (
                f"{self.path} is locked by an open transaction of this same process, which waits for us as we for it; "
                "commit or roll back your own transaction on this file before you queue"
            )
            raise DatabaseBusyError(message)
        if waited >= PATIENCE:
            message = (
                f"{self.path} was locked by another process for {waited:.0f} s; nothing was queued or changed. "
                "Look for a program that keeps a transaction open on this file"
            )
            raise DatabaseBusyError(message)

    def _we_hold_the_write_lock(self) -> bool:
        """Tell from the kernel's list of locks (Linux) whether a connection of this process is the one that writes."""
        inodes = set()
        for name in (self.path, self.path + "-shm"):
            with contextlib.suppress(OSError):
                inodes.add(str(os.stat(name).st_ino))
        try:
            with open("/proc/locks", encoding="ascii") as locks:
                lines = [line.split() for line in locks]
        except (OSError, ValueError):
            return False
        ours = str(os.getpid())
        # 12: POSIX  ADVISORY  WRITE 4242 fe:01:262147 120 120
        return any(
            len(line) > 5 and line[3] == "WRITE" and line[4] == ours and line[5].rpartition(":")[2] in inodes  # noqa: PLR2004  # columns as above
            for line in lines
        )

    def transaction(self) -> Transaction:
        """Run a `with` block in one write transaction: committed as a whole, or not at all."""
        return self._transaction

    def fetch(self, statement: str, values: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT outside a transaction; StoreError where the database can't be read."""
        try:
            return self._patiently(self._rows, statement, values or {})
        except (sqlite3.Error, OSError) as error:
            raise trouble.explained(error, self.path) from error

    def _rows(self, statement: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, values).fetchall()

    def commit(self) -> None:
        """Commit; in DELETE journal mode readers may hold this up, so wait for them as for writers."""
        self._patiently(self.connection.execute, "COMMIT")
        self._turn.pass_on()

    def rollback(self) -> None:
        """Leave no transaction open; SQLite has rolled back by itself after a full disk or an I/O error."""
        if self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
        self._turn.pass_on()

    def undo(self, error: BaseException) -> None:
        """Roll back after `error`, and raise it as ours if it is SQLite's or the system's."""
        self.rollback()
        if isinstance(error, (sqlite3.Error, OSError)):
            raise trouble.explained(error, self.path) from error

    @contextlib.contextmanager
    def errors_explained(self) -> Iterator[None]:
        """Turn SQLite's and the system's errors into ours, with the file, the cause and the way out."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise trouble.explained(error, self.path) from error

    def switch_to_wal(self) -> bool:
        """Switch the file to write-ahead logging; False where the file system can't.

        The switch needs the file for itself and ignores the busy timeout, so two first starts retry here.
        """
        try:
            return bool(
                self._patiently(lambda: self.connection.execute("PRAGMA journal_mode = WAL").fetchone())[0] == "wal"
            )
        except sqlite3.OperationalError as error:
            if trouble.is_of_the_disk(error):
                raise
            return False


def _is_at_rest(path: str) -> bool:
    """Return whether all that was committed, and nothing else, stands in the file itself.

    So it is while nobody has it open. Who may not write beside it, or finds the disk full, can't make the -shm then, by
    which readers and writers agree. So it is read as a file that does not change; whoever begins to write meanwhile
    spoils this look only.
    """
    try:
        return not any(os.path.exists(log) and os.stat(log).st_size for log in (f"{path}-wal", f"{path}-journal"))
    except OSError:
        return False


def _make_folder(folder: str) -> None:
    """Make `folder` and those above it, each synced into the one above, so that a power cut can't take it away."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    if above != folder:
        _make_folder(above)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    handle = os.open(above, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_file(path: str) -> None:
    """Make an empty file as the umask says; SQLite would make it 0644, and shut out the group whatever the umask."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))


class Transaction:
    """A write transaction of a Database, as a `with` block. They follow each other, so one object serves them all."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        """Begin nothing yet."""
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        """Begin; raises DatabaseBusyError after the patience for other writers is used up."""
        database = self._database
        try:
            database.begin()
        except BaseException as error:
            # Ctrl-C often comes while we wait, and is raised when the wait is over.
            database.undo(error)
            raise
        return database.connection

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Commit, or roll back what raised."""
        if error is not None:
            self._database.undo(error)
            return
        try:
            self._database.commit()
        except BaseException as failure:
            self._database.undo(failure)
            raise


_MOST_DESCRIPTORS = 256


# Another program can store bytes that are no UTF-8; they must spoil their own row only. A partial, for it decodes each
# text of each row: so no function of Python's is called for it.
_text = functools.partial(str, encoding="utf-8", errors="surrogateescape")
