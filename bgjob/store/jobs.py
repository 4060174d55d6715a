"""The running side of the store: promote, claim and settle, each job only by who holds it."""

from __future__ import annotations

from typing import NamedTuple

from bgjob import clock, sql
from bgjob.job import ClaimedJob

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    import sqlite3
    from collections.abc import Iterator, Mapping
    from typing import Any

    from bgjob.board import Reached
    from bgjob.job import Failure, Outcome, Postponed
    from bgjob.store.connection import Database, Transaction

# So many delayed rows become ready in one transaction: it holds the write lock for a few milliseconds only.
PROMOTED_AT_ONCE = 1_000
# So many are read at once: the sort of a large backlog costs the same for a few rows as for some thousands.
READ_AT_ONCE = 10_000


class Owner(NamedTuple):
    """Who claims: runner number, worker identity, and how many jobs may run at once in all."""

    runner: int
    worker: str
    workers: int


class Look(NamedTuple):
    """The queue at a glance."""

    newest_runner: int | None
    processing: int
    due: int  # counted up to twice the number of workers; 0 while the queue is paused
    next_available_at: str | None
    is_paused: int


class JobStore:
    """What a worker (or the runner, for a worker that is gone) does to jobs."""

    def __init__(self, database: Database) -> None:
        """Work through `database`."""
        self.database = database
        # Of a backlog too large for one read: up to when it was looked through, and the place of the last job promoted.
        # What is delayed and due by then is worse.
        self._promoted_until = ""
        self._floor: tuple[int, str, int] | None = None

    def _execute(self, statement: str, values: Mapping[str, object] | None = None) -> sqlite3.Cursor:
        return self.database.connection.execute(statement, values or {})

    def transaction(self) -> Transaction:
        """Run several moves as one: committed together or not at all."""
        return self.database.transaction()

    def claim(self, owner: Owner, now: dt.datetime, *, due: dt.datetime | None = None) -> ClaimedJob | None:
        """Take the next ready job; inside a transaction. `due`: up to when delayed jobs were looked at, if not `now`.

        None if nothing is ready, if a delayed job must be promoted first (see `must_promote`), if a newer runner has
        the queue, if as many jobs are running as may, or if the queue is paused.
        """
        since = ""
        if self._floor is not None:
            if self._has_come_down_to(self._floor):
                return None
            since = self._promoted_until
        return self._claimed(sql.CLAIM, owner, now, {"since": since, "due": clock.to_text(due or now)})

    def claim_one(self, job_id: int, owner: Owner, now: dt.datetime) -> ClaimedJob | None:
        """Take the pending job `job_id`, due or not; inside a transaction. None if it is not, or while paused."""
        return self._claimed(sql.CLAIM_ONE, owner, now, {"id": job_id})

    def _claimed(self, statement: str, owner: Owner, now: dt.datetime, values: dict[str, object]) -> ClaimedJob | None:
        values["runner"], values["worker"], values["workers"] = owner
        values["now"] = clock.to_text(now)
        # fetchall: a statement that is not read to its end would hold the transaction open.
        rows = self._execute(statement, values).fetchall()
        return ClaimedJob(*rows[0]) if rows else None

    def must_promote(self, now: dt.datetime) -> bool:
        """Return whether a delayed job has fallen due that could be better than the best ready one.

        Almost always one look at the head of an index tells that nothing has. Of a large backlog only the best are
        promoted; the others, all worse than `_floor`, wait until the ready ones have come down to it.
        """
        since = "" if self._floor is None else self._promoted_until
        if self.database.fetch(sql.DUE_SINCE, {"since": since, "now": clock.to_text(now)}):
            return True
        return self._floor is not None and self._has_come_down_to(self._floor)

    def _has_come_down_to(self, floor: tuple[int, str, int]) -> bool:
        ready = self.database.fetch(sql.READY_HEAD)
        return not ready or _place(ready[0]) > floor

    def promote(self, now: dt.datetime) -> None:
        """Make the best of the delayed jobs that are due ready, in transactions of their own."""
        text = clock.to_text(now)
        if self._floor is not None:
            fallen_due = self._best_delayed(self._promoted_until, text)
            if fallen_due and len(fallen_due) < READ_AT_ONCE:
                self._make_ready(fallen_due, text)
                self._promoted_until = text
                return
        best = self._best_delayed("", text)
        self._make_ready(best, text)
        self._promoted_until = text
        self._floor = _place(best[-1]) if len(best) == READ_AT_ONCE else None

    def _best_delayed(self, since: str, now: str) -> list[tuple[Any, ...]]:
        return self.database.fetch(sql.BEST_DELAYED, {"since": since, "now": now, "most": READ_AT_ONCE})

    def _make_ready(self, rows: list[tuple[Any, ...]], now: str) -> None:
        for start in range(0, len(rows), PROMOTED_AT_ONCE):
            with self.transaction() as connection:
                values = [{"id": row[2], "now": now} for row in rows[start : start + PROMOTED_AT_ONCE]]
                connection.executemany(sql.PROMOTE, values)

    def complete(self, job: ClaimedJob, now: dt.datetime, *, outcome: Outcome, output: str) -> bool:
        """Settle a job that succeeded; return False if it is no longer held by the worker in `job`."""
        if output:
            self._record(job, now, outcome, output)
        return self._settled(sql.COMPLETE, job, now)

    def retry(
        self, job: ClaimedJob, now: dt.datetime, *, failure: Failure, output: str, available_at: dt.datetime
    ) -> bool:
        """Settle a failed attempt that another one follows at `available_at`; return False if it is no longer held."""
        self._record(job, now, failure, output)
        return self._settled(sql.RETRY, job, now, failure, available_at=clock.to_text(available_at))

    def fail(self, job: ClaimedJob, now: dt.datetime, *, failure: Failure, output: str) -> bool:
        """Settle the last failed attempt; return False if the job is no longer held."""
        self._record(job, now, failure, output)
        return self._settled(sql.FAIL, job, now, failure)

    def postpone(
        self, job: ClaimedJob, now: dt.datetime, *, outcome: Postponed, output: str, available_at: dt.datetime
    ) -> bool:
        """Put a job off that asked for it, uncounted, until `available_at`; return False if it is no longer held."""
        self._record(job, now, outcome, output)
        return self._settled(sql.POSTPONE, job, now, error=outcome.error, available_at=clock.to_text(available_at))

    def postponements(self, job: ClaimedJob) -> int:
        """Return how often in a row the job was postponed until now."""
        count: int = self._execute(sql.COUNT_POSTPONEMENTS, {"id": job.id}).fetchone()[0]
        return count

    def release(self, job: ClaimedJob, now: dt.datetime) -> bool:
        """Hand a running job back uncounted; return False if it is no longer held."""
        return self._settled(sql.RELEASE, job, now)

    def _settled(
        self, statement: str, job: ClaimedJob, now: dt.datetime, failure: Failure | None = None, **more: object
    ) -> bool:
        values = {"id": job.id, "runner": job.runner, "worker": job.worker, "now": clock.to_text(now), **more}
        if failure is not None:
            values |= {"error": failure.error, "crashed": int(failure.kind == "crashed")}
        return self._execute(statement, values).rowcount == 1

    def _record(self, job: ClaimedJob, now: dt.datetime, outcome: Outcome, output: str) -> None:
        self._execute(
            sql.RECORD_ATTEMPT,
            {
                "id": job.id,
                "runner": job.runner,
                "worker": job.worker,
                "outcome": outcome.kind,
                "now": clock.to_text(now),
                "error": getattr(outcome, "error", None),
                "traceback": getattr(outcome, "traceback", None) or None,
                "output": output or None,
                "verdict": getattr(outcome, "verdict", None),
            },
        )

    def note_progress(self, runner: int, worker: str, reached: Reached, now: dt.datetime) -> None:
        """Write down how far the job that a worker holds says it is; inside a transaction."""
        values = {**reached._asdict(), "runner": runner, "worker": worker, "now": clock.to_text(now)}
        self._execute(sql.NOTE_PROGRESS, values)

    def held_by(self, runner: int, worker: str) -> ClaimedJob | None:
        """Return the job that a worker of a runner holds, if any."""
        rows = self.database.fetch(sql.HELD_BY_WORKER, {"runner": runner, "worker": worker})
        return ClaimedJob(*rows[0]) if rows else None

    def held_by_others(self, runner: int) -> list[ClaimedJob]:
        """Return the jobs that workers of other runners hold."""
        return [ClaimedJob(*row) for row in self.database.fetch(sql.HELD_BY_OTHERS, {"runner": runner})]

    def is_anything_to_do(self, now: dt.datetime) -> bool:
        """Return whether a job could be claimed at `now`, or one is processing whose runner may be dead."""
        due = self.database.fetch(sql.ANYTHING_DUE, {"now": clock.to_text(now)})[0][0]
        return bool(due or self.database.fetch(sql.RUNNERS_AT_WORK))

    def look(self, workers: int, now: dt.datetime) -> Look:
        """Return what a runner with so many `workers` must know to decide what is next."""
        return Look(*self.database.fetch(sql.LOOK, {"workers": workers, "now": clock.to_text(now)})[0])

    def count_due(self, now: dt.datetime) -> tuple[int, int]:
        """Count the jobs that are due, which takes some 40 ms at a million of them, and those that are processing."""
        due, processing = self.database.fetch(sql.COUNT_DUE, {"now": clock.to_text(now)})[0]
        return due, processing

    def status_of(self, job_id: int) -> str | None:
        """Return the status of a job, or None if there is no such job."""
        rows = self.database.fetch(sql.STATUS_OF, {"id": job_id})
        return rows[0][0] if rows else None

    def due_at(self, instant: dt.datetime) -> Iterator[tuple[ClaimedJob, str | None]]:
        """Yield what a drain at `instant` would run, in its order, with the time at which each is due."""
        return self._waiting(sql.DUE_AT, instant)

    def not_due_at(self, instant: dt.datetime) -> Iterator[tuple[ClaimedJob, str | None]]:
        """Yield what still waits at `instant`, the next one first, with the time at which each is due."""
        return self._waiting(sql.NOT_DUE_AT, instant)

    def _waiting(self, statement: str, instant: dt.datetime) -> Iterator[tuple[ClaimedJob, str | None]]:
        with self.database.errors_explained():
            for row in self._execute(statement, {"at": clock.to_text(instant)}):
                yield ClaimedJob(*row[:9]), row[9]


def _place(row: tuple[Any, ...]) -> tuple[int, str, int]:
    """Return what sorts rows (priority, available_at, id) as a drain does: no available_at comes first."""
    priority, available_at, job_id = row
    return -priority, available_at or "", job_id
