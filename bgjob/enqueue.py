"""The door for apps: `run_background_job` checks a job against the approved lists and writes its row."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
import threading
from collections.abc import Mapping

from bgjob import approval, clock, files, in_force, signature, wake, watch
from bgjob import params as params_json
from bgjob.errors import BgjobError, DatabaseBusyError, InvalidJobError, StoreError
from bgjob.store import connection
from bgjob.store.intake import available_at, enqueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from bgjob.config import Config
    from bgjob.store.connection import Database
    from bgjob.store.intake import NewJob

LARGEST_PRIORITY = 2**63 - 1
LONGEST_DELAY = dt.timedelta(days=36_525).total_seconds()  # a hundred years: more is a slip of units


def run_background_job(
    job_class: type | str,
    method: str = "execute",
    params: Mapping[str, Any] | list[Any] | tuple[Any, ...] | None = None,
    priority: int = 0,
    delay: float | dt.timedelta = 0,
    *,
    connection: object = None,
) -> bool:
    """Queue one job and return True: its row is then committed and survives kill -9 and power cuts.

    `job_class`: an approved class or its dotted name. `method`: an approved method of it. `params`: a dict becomes
    keyword arguments, a list or tuple positional ones; JSON values only. `priority`: a whole number of 64 bits with
    sign, higher runs first. `delay`: seconds (int or float, 0 to a hundred years) or a timedelta before it is due.
    `connection`: your own connection to the same file (of sqlite3, Django or SQLAlchemy). The row then comes and goes
    with your transaction; it is durable once you have committed, as far as your connection's settings go.

    Raises NotApprovedError for a class or method that is not on the lists, InvalidJobError or InvalidParamsError for
    arguments that can't be queued, ConfigError for a wrong config, StoreError when the database can't be used; all are
    BgjobError, and then no row was written.
    """
    settings = in_force.configs.current()
    now = clock.now()
    job = checked(settings, now, job_class, method, params, priority, delay)
    queue_checked(settings, [job], now, lent=connection)
    return True


def run_background_jobs(
    jobs: Iterable[Mapping[str, Any] | tuple[Any, ...] | list[Any] | type | str], *, connection: object = None
) -> bool:
    """Queue many jobs in one transaction and return True: all of them are committed, or none.

    Each job is a mapping with the arguments of `run_background_job` by name, a tuple or list of them in order, or the
    class alone. `connection`, as there: all of them come and go with your own transaction.
    Raises what `run_background_job` raises; the message names the job by its place, counted from 0.
    """
    return queue_all(jobs, written=lambda new_jobs: new_jobs, connection=connection)


def queue_all(
    jobs: Iterable[Mapping[str, Any] | tuple[Any, ...] | list[Any] | type | str],
    *,
    written: Callable[[list[NewJob]], list[NewJob]],
    connection: object = None,
) -> bool:
    """Do what `run_background_jobs` does; `written` hands the checked jobs to the store, and may count them."""
    if isinstance(jobs, (str, bytes, Mapping, type)) or not hasattr(jobs, "__iter__"):
        message = f"jobs must be a list (or another iterable) of jobs, not one {type(jobs).__name__}"
        raise InvalidJobError(message)
    settings = in_force.configs.current()
    now = clock.now()
    new_jobs = []
    for index, job in enumerate(jobs):
        try:
            if type(job) is tuple and 1 <= len(job) <= len(_NAMES):
                new_jobs.append(checked(settings, now, *job))
            else:
                new_jobs.append(checked(settings, now, **_arguments(job)))
        except BgjobError as error:
            error.args = (f"jobs[{index}]: {error}", *error.args[1:])
            raise
    if new_jobs:
        queue_checked(settings, written(new_jobs), now, lent=connection)
    return True


_NAMES = ("job_class", "method", "params", "priority", "delay")


def _arguments(job: object) -> dict[str, Any]:
    if isinstance(job, (tuple, list)) and 1 <= len(job) <= len(_NAMES):
        return dict(zip(_NAMES, job, strict=False))
    if isinstance(job, (str, type)):
        return {"job_class": job}
    if isinstance(job, Mapping) and "job_class" in job and all(name in _NAMES for name in job):
        return dict(job)
    message = (
        "a job must be a mapping with job_class and any of method, params, priority, delay, or a tuple of these in "
        f"order; this is {type(job).__name__}"
    )
    if isinstance(job, Mapping):
        message += f" with the keys {', '.join(ascii(key)[:40] for key in list(job)[:10])}"
    raise InvalidJobError(message)


def checked(  # noqa: PLR0917  # a job has five parts
    settings: Config,
    now: dt.datetime,
    job_class: object,
    method: object = "execute",
    params: object = None,
    priority: object = 0,
    delay: object = 0,
) -> NewJob:
    """Return the job as it can be queued at `now`; raises what `run_background_job` raises."""
    name, method = approval.approved(settings, job_class, method)
    text = params_json.encode(params, limit=settings.max_params_size)
    signature.check(name, method, params)
    return {
        "job_class": name,
        "method": method,
        "params": text,
        "priority": _checked_priority(priority),
        "available_at": available_at(_checked_delay(delay), now),
        "created_at": clock.to_text(now),
    }


def check_options(priority: object, delay: object) -> None:
    """Raise InvalidJobError for what can't be a job's priority or delay."""
    _checked_priority(priority)
    _checked_delay(delay)


def queue_checked(settings: Config, jobs: list[NewJob], now: dt.datetime, *, lent: object = None) -> int | None:
    """Write the rows of the jobs, and return the id of one that comes alone: every door for apps ends here."""
    if recorder is not None:
        return recorder(jobs)
    if "opentelemetry.trace" in sys.modules:
        from bgjob import tracing

        return tracing.queue(jobs, lambda: _write_rows(settings, jobs, now, lent))
    return _write_rows(settings, jobs, now, lent)


def _write_rows(settings: Config, jobs: list[NewJob], now: dt.datetime, lent: object) -> int | None:
    if lent is not None:
        return _intake.enqueue_along(settings, jobs, now, lent=lent)
    job_id = _intake.enqueue(settings, jobs, now)
    if now >= _intake.fingerprint_due:
        _intake.leave_fingerprint(settings, now)
    return job_id


# A test's `bgjob.testing.fake`: it takes the checked jobs in the place of the database.
recorder: Callable[[list[NewJob]], int] | None = None


def disconnect() -> None:
    """Close this process's connection for queueing, if there is one; the next job opens another."""
    _intake.disconnect()


def _checked_priority(priority: object) -> int:
    if type(priority) is not int:
        message = f"priority must be a whole number, not {type(priority).__name__}"
        raise InvalidJobError(message)
    if not -LARGEST_PRIORITY - 1 <= priority <= LARGEST_PRIORITY:
        message = "priority must fit into 64 bits (-2**63 to 2**63 - 1)"
        raise InvalidJobError(message)
    return priority


def _checked_delay(delay: object) -> float:
    if isinstance(delay, dt.timedelta):
        seconds = delay.total_seconds()
    elif type(delay) is int or type(delay) is float:
        seconds = delay
    else:
        message = f"delay must be seconds (int or float) or a timedelta, not {type(delay).__name__}"
        raise InvalidJobError(message)
    if seconds != seconds:  # noqa: PLR0124  # NaN is what differs from itself
        message = "delay is NaN, not a number of seconds"
        raise InvalidJobError(message)
    if seconds < 0:
        message = "delay must not be negative; 0 means at once"
        raise InvalidJobError(message)
    if seconds > LONGEST_DELAY:
        message = "delay must be at most a hundred years (3,155,760,000 seconds); it is given in seconds"
        raise InvalidJobError(message)
    return seconds


_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)
_ONCE = dt.timedelta(days=1)
_TRY_AGAIN = dt.timedelta(minutes=1)


class _Intake:
    """The one connection of this process for queueing, shared by its threads and closed around every fork.

    An SQLite connection that lives on in a forked child can tear committed transactions, so a fork finds none open.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_writing = False
        self._watch = watch.Watch()
        self._database: Database | None = None
        self._key: tuple[str, str] | None = None
        self._pid = os.getpid()
        self._complete: tuple[int, int] | None = None
        self.fingerprint_due = _LONG_AGO
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
        return job_id

    def enqueue_along(self, settings: Config, jobs: list[NewJob], now: dt.datetime, *, lent: object) -> int | None:
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
        if quiet and now < self.fingerprint_due:
            return
        alarm = None
        with contextlib.suppress(BgjobError):  # the jobs are committed, and nothing here may disturb that
            self._acquire(settings)
            try:
                database = self._current(settings)
                alarm = None if quiet else _noticed(database, settings, now)
                self.leave_fingerprint(settings, now)
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

    def leave_fingerprint(self, settings: Config, now: dt.datetime) -> None:
        """Note in the database who queues here, once a day; the job is committed, and nothing here may disturb it."""
        if not self._lock.acquire(blocking=False):
            return  # another thread queues, and will come by here
        try:
            from bgjob import fingerprint
            from bgjob.store.fingerprints import leave

            self.fingerprint_due = now + _TRY_AGAIN
            database = self._database
            if fingerprint.is_tick or (
                database is not None and leave(database, fingerprint.QUEUEING, fingerprint.take(settings), now)
            ):
                self.fingerprint_due = now + _ONCE
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
        self.fingerprint_due = _LONG_AGO
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


_intake = _Intake()
