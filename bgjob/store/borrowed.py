"""The caller's own connection: a job is queued in its transaction, and comes and goes with it.

Taken are sqlite3's connections and what wraps one: Django's, a Session or Connection of SQLAlchemy, peewee's database.
They are known by what they can do; none of these libraries is imported. Nothing here begins, commits or rolls back.
"""

from __future__ import annotations

import os
import sqlite3

from bgjob import files, sql
from bgjob.errors import DatabaseBusyError, StoreError
from bgjob.store import trouble
from bgjob.store.intake import statement_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from bgjob.store.intake import NewJob


class Borrowed:
    """A connection that the caller lends us for one call."""

    def __init__(self, lent: object, database: str) -> None:
        """Take the connection of sqlite3 out of `lent`; raises StoreError unless it is open on the file `database`."""
        self.path = os.path.realpath(database)
        self._lent: Any = lent
        try:
            self._connection = _unwrapped(lent)
            self._check_file()
        except StoreError:
            raise
        except Exception as error:
            # Whatever the library of the caller raises: closed, of another thread, in a broken transaction.
            raise StoreError(f"the connection that was given can't be used: {error}") from error

    @property
    def is_in_transaction(self) -> bool:
        """Whether what is written is not committed yet."""
        return self._connection.in_transaction

    def enqueue(self, jobs: Sequence[NewJob]) -> int | None:
        """Insert `jobs` in their order, all or none; return the id of one that comes alone."""
        cursor = self._connection.cursor()
        try:
            if len(jobs) == 1:
                return cursor.execute(statement_for(jobs[0]), jobs[0]).lastrowid
            # One statement: without a transaction each of several would be committed by itself.
            import json  # noqa: PLC0415  # only many jobs at once need it

            cursor.execute(sql.ENQUEUE_TOGETHER, {"jobs": json.dumps(jobs)})
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_READONLY and os.access(self.path, os.W_OK):
                raise StoreError(
                    f"the connection that was given may only read (mode=ro or query_only); lend one that writes to "
                    f"{self.path}, or none"
                ) from error
            if code == sqlite3.SQLITE_BUSY_SNAPSHOT:
                raise DatabaseBusyError(
                    f"{self.path}: your transaction read before another process wrote, and can't write any more; begin "
                    "it with BEGIN IMMEDIATE (or queue before you read), and try it again as a whole"
                ) from error
            raise trouble.explained(error, self.path) from error
        finally:
            cursor.close()
        return None

    def when_committed(self, act: Callable[[], None]) -> None:
        """Call `act` once the rows are committed, where we can know of that: at once, or by Django."""
        if not self.is_in_transaction:
            act()
        elif getattr(self._lent, "in_atomic_block", False):
            self._lent.on_commit(act)

    def _check_file(self) -> None:
        # The plain PRAGMA, for a SELECT would begin to read; a transaction that has read may find that it can't write.
        cursor = self._connection.cursor()
        cursor.row_factory = None
        names = {row[0]: row[2] for row in cursor.execute("PRAGMA database_list")}
        cursor.close()
        name = names[_MAIN] if isinstance(names[_MAIN], str) else os.fsdecode(bytes(names[_MAIN]))
        if not name:
            raise StoreError(
                f"the connection that was given is to a database in memory; jobs are queued in {self.path}, so give a "
                "connection to that file, or none"
            )
        if os.path.realpath(name) != self.path or files.at(name) is None:
            raise StoreError(
                f"the connection that was given is to {name}; jobs are queued in {self.path}. A transaction reaches "
                f"one file: set `database: {name}` in the config, or give no connection"
            )


_MAIN = 0  # the number of the file that was opened; attached ones have others


def _unwrapped(lent: Any) -> sqlite3.Connection:  # noqa: ANN401  # of any library
    found = lent
    if hasattr(lent, "run_sync"):
        raise StoreError(
            f"{_kind(lent)} works in another thread, where no job can be queued; give a plain connection of sqlite3, "
            "Django or SQLAlchemy, or none"
        )
    if hasattr(lent, "ensure_connection"):
        lent.cursor().close()  # connects, and holds us to Django's rule on threads
        lent.validate_no_broken_transaction()
        found = lent.connection
    elif not isinstance(lent, sqlite3.Connection) and not hasattr(lent, "driver_connection"):
        connect = getattr(lent, "connection", None)
        if callable(connect) and not isinstance(connect, sqlite3.Connection):  # which a cursor has
            found = connect()
        if hasattr(found, "exec_driver_sql"):
            # Begins the transaction of SQLAlchemy, without which its commit would not commit what we write.
            found.exec_driver_sql("PRAGMA database_list").close()
            found = found.connection
    found = getattr(found, "driver_connection", found)
    if not isinstance(found, sqlite3.Connection):
        raise StoreError(
            f"connection must be one of sqlite3, of Django or of SQLAlchemy to an SQLite file, not {_kind(found)}"
        )
    return found


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
