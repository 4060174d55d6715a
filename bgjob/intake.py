"""This process's connection for queueing, and what comes with each job: the runner's wake-up, the look at an outage."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import threading

from bgjob import files, wake, watch
from bgjob.errors import BgjobError, DatabaseBusyError, StoreError
from bgjob.store import connection
from bgjob.store.intake import enqueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.config import Config
    from bgjob.store.connection import Database
    from bgjob.store.intake import NewJob

_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)
_ONCE = dt.timedelta(days=1)
_TRY_AGAIN = dt.timedelta(minutes=1)


class Intake:
    """The one connection of this process for queueing, shared by its threads and closed around every fork.

    An SQLite connection that lives on in a forked child can tear committed transactions, so a fork finds none open.
    """

    def __init__(self) -> None:
        """Open nothing yet; hear of forks from now on."""
        self._lock = threading.RLock()
        self._is_writing = False
        self._watch = watch.Watch()
        self._database: Database | None = None
        self._key: tuple[str, str] | None = None
        self._pid = os.getpid()
        self._complete: tuple[int, int] | None = None
        self._fingerprint_due = _LONG_AGO
        os.register_at_fork(before=self._before_fork, after_in_parent=self._in_parent, after_in_child=self._in_child)

    def enqueue(self, settings: Config, jobs: list[NewJob], now: dt.datetime) -> int | None:
        """Insert the jobs in a transaction of our own; return the id of one that comes alone."""
        self._acquire(settings)
        try:
            job_id, path, alarm = self._write(settings, jobs, now)
        finally:
            self._lock.release()
        wake.ping(path)
        if alarm:
            _tell(alarm)
        if now >= self._fingerprint_due:
            self._leave_fingerprint(settings, now)
        return job_id

    def enqueue_borrowing(self, settings: Config, jobs: list[NewJob], now: dt.datetime, *, lent: object) -> int | None:
        """Insert the jobs in the transaction of the caller's own connection; return the id of one that comes alone."""
        from bgjob.store.borrowed import Borrowed

        borrowed = Borrowed(lent, settings.database)
        if self._complete is None or self._complete != files.at(borrowed.path):
            self._make_complete(settings, look_only=borrowed.is_in_transaction)
        number = borrowed.enqueue(jobs)
        borrowed.when_committed(lambda: self._attend(settings, borrowed.path, now))
        return number

    def _make_complete(self, settings: Config, *, look_only: bool) -> None:
        """See to it, once, that the tables are there; they can't be made while the caller's transaction is open."""
        self._acquire(settings)  # so that no fork finds it open
        try:
            database = connection.Database(settings.database, read_only=look_only)
            self._complete = database.identity
            database.close()
        except StoreError as error:
            if look_only and type(error) is StoreError:
                error.args = (f"{error}, not a job within an open transaction: start background_runner.py once",)
            raise
        finally:
            self._lock.release()

    def _attend(self, settings: Config, path: str, now: dt.datetime) -> None:
        """Do what else comes with queueing, once the rows that the caller's connection wrote are committed."""
        wake.ping(path)
        quiet = self._watch.is_quiet(path, now, alarm_after=settings.alarm_after)
        if quiet and now < self._fingerprint_due:
            return
        alarm = None
        with contextlib.suppress(BgjobError):  # the jobs are committed, and nothing here may disturb that
            self._acquire(settings)
            try:
                database = self._current(settings)
                alarm = None if quiet else _noticed(database, settings, now)
                self._leave_fingerprint(settings, now)
            finally:
                self._lock.release()
        if alarm:
            _tell(alarm)

    def _acquire(self, settings: Config) -> None:
        if self._pid != os.getpid():
            self._in_child()
        if not self._lock.acquire(timeout=connection.PATIENCE):
            message = f"{settings.database} is locked: other threads of this process wait for it; nothing was queued"
            raise DatabaseBusyError(message)

    def _leave_fingerprint(self, settings: Config, now: dt.datetime) -> None:
        """Note in the database who queues here, once a day; the job is committed, and nothing here may disturb it."""
        if not self._lock.acquire(blocking=False):
            return  # another thread queues, and will come by here
        try:
            from bgjob import fingerprint
            from bgjob.store.fingerprints import leave

            self._fingerprint_due = now + _TRY_AGAIN
            database = self._database
            if fingerprint.is_tick or (
                database is not None and leave(database, fingerprint.QUEUEING, fingerprint.take(settings), now)
            ):
                self._fingerprint_due = now + _ONCE
        except Exception:  # noqa: BLE001, S110  # as said above
            pass
        finally:
            self._lock.release()

    def _write(self, settings: Config, jobs: list[NewJob], now: dt.datetime) -> tuple[int | None, str, str | None]:
        if self._is_writing:
            message = (
                f"{settings.database}: this thread is queueing already (from a signal handler?); nothing was queued"
            )
            raise StoreError(message)
        self._is_writing = True
        try:
            database = self._current(settings)
            job_id = enqueue(database, jobs)
            quiet = self._watch.is_quiet(database.path, now, alarm_after=settings.alarm_after)
            alarm = None if quiet else _noticed(database, settings, now)
        except BaseException:
            # Ctrl-C or the like may leave a transaction open, and with it all writers locked out. And what could not be
            # synced still stands in the log, to be found after a crash: the last one to close the file drops the log.
            self._close()
            raise
        finally:
            self._is_writing = False
        return job_id, database.path, alarm

    def _current(self, settings: Config) -> Database:
        key = settings.database, settings.durability
        database = self._database
        if database is not None and (
            key != self._key
            or files.at(settings.database) != database.identity  # a deleted one would lose its rows
            or database.has_lost_its_log()
        ):
            self._close()
            database = None
        if database is None:
            database = connection.Database(settings.database, durability=settings.durability)
            self._database, self._key = database, key
        return database

    def disconnect(self) -> None:
        """Close the connection, unless this thread is just writing."""
        with self._lock:
            if not self._is_writing:
                self._close()

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _before_fork(self) -> None:
        self._lock.acquire()
        if not self._is_writing:  # else a signal handler forks in the middle of it: then the child lets it be
            self._close()

    def _in_parent(self) -> None:
        self._lock.release()

    def _in_child(self) -> None:
        self._lock = threading.RLock()
        self._is_writing = False
        self._pid = os.getpid()
        self._fingerprint_due = _LONG_AGO
        if self._database is not None:
            # A server that forks in C never told us before. Closing this connection, even at exit, would tear the
            # parent's transactions, so nothing may ever close it.
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._database.connection))
            self._database = None


def _noticed(database: Database, settings: Config, now: dt.datetime) -> str | None:
    """Return what must be told of an outage; whatever goes wrong here, the jobs are committed already."""
    try:
        from bgjob import alarm

        return alarm.notice(database, settings, now)
    except Exception:  # noqa: BLE001  # a later call looks again
        return None


def _tell(told: str) -> None:
    # Once nothing is locked any more, for the app's own handlers run here; one of them may queue a job.
    from bgjob import alarm

    with contextlib.suppress(Exception):
        alarm.warn(told)
