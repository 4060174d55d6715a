"""Whose database a file is, and how it gets its tables: migrations that only add.

PRAGMA user_version holds `1000 * oldest + version`: `version` is how many migrations have run, `oldest` the version
that code must know at least. So older code works beside a newer database until a migration says that it can't.
"""

from __future__ import annotations

import sqlite3

from bgjob import sql
from bgjob.errors import ForeignDatabaseError
from bgjob.store import trouble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.store.connection import Database

_SPREAD = 1000


def is_ours(database: Database) -> bool:
    """Return True if the tables are there and complete, False if they are to be made or added to.

    Raises ForeignDatabaseError for another program's file or a database that needs newer code.
    """
    if database.connection.in_transaction:
        return _is_ours(database.connection, database.path)
    # One transaction: another process may be making the tables between two of our looks.
    database.connection.execute("BEGIN")
    try:
        return _is_ours(database.connection, database.path)
    finally:
        database.rollback()


def _is_ours(connection: sqlite3.Connection, path: str) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (user_version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == sql.APPLICATION_ID:
        oldest, version = divmod(user_version, _SPREAD)
        if oldest > len(sql.MIGRATIONS) or user_version < 0:
            message = (
                f"{path} was written by a newer bgjob (its version is {version}, this code knows "
                f"{len(sql.MIGRATIONS)}); install the newer bgjob here as well"
            )
            raise ForeignDatabaseError(message)
        if version >= 1:
            _check_columns(connection, path)
        return bool(version >= len(sql.MIGRATIONS))
    if application != 0 or user_version != 0:
        message = (
            f"{path} belongs to another program (its application_id is {application}, its user_version "
            f"{user_version}); set another `database:` in the config"
        )
        raise ForeignDatabaseError(message)
    if _columns(connection):
        message = (
            f"{path} has a table custom_jobs that bgjob did not make; rename that table or set another `database:` in "
            "the config"
        )
        raise ForeignDatabaseError(message)
    return False


def _check_columns(connection: sqlite3.Connection, path: str) -> None:
    missing = sql.CUSTOM_JOBS_COLUMNS - _columns(connection)
    if missing:
        message = f"{path}: the table custom_jobs lacks {', '.join(sorted(missing))}; restore it from a backup"
        raise ForeignDatabaseError(message)


def _columns(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute(sql.TABLE_COLUMNS)}


def what_is_missing(database: Database) -> str:
    """Return why a database that is not complete can't be read, and what completes it."""
    if _columns(database.connection):
        return f"{database.path} was last used by an older bgjob; the next tick or queued job brings it up to date"
    return f"{database.path} has no table custom_jobs yet; the next tick or queued job makes it"


def create(database: Database) -> None:
    """Make what is missing, in one transaction; any number of processes may do so at once."""
    fresh = database.connection.execute("PRAGMA page_count").fetchone()[0] == 0
    # A commit writes at least a row, an index entry and the highest id, on a page each: half the page, half to write.
    database.connection.execute("PRAGMA page_size = 2048")
    wal = database.switch_to_wal()
    try:
        _migrate(database)
    except sqlite3.OperationalError as error:
        # Some file systems accept WAL and fail at the first write, since they can't share memory.
        if not (wal and fresh) or trouble.is_of_the_disk(error) or trouble.is_busy(error):
            raise
        database.connection.execute("PRAGMA journal_mode = DELETE")
        _migrate(database)


def _migrate(database: Database) -> None:
    database.begin()
    try:
        connection = database.connection
        # Read again: another process may have migrated while we waited for the lock.
        if not is_ours(database):
            (user_version,) = connection.execute("PRAGMA user_version").fetchone()
            oldest, version = divmod(user_version, _SPREAD)
            for migration in sql.MIGRATIONS[version:]:
                for statement in migration:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {sql.APPLICATION_ID:d}")
            connection.execute(f"PRAGMA user_version = {oldest * _SPREAD + len(sql.MIGRATIONS):d}")
        database.commit()
    except BaseException:
        database.rollback()
        raise
