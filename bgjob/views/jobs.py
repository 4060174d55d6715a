"""What a program is told of a job: all of its row, and its attempts, as fixed values."""

from __future__ import annotations

from bgjob.config_values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from typing import Any, dataclass_transform

    from bgjob.store.reading import AttemptRow, JobRow

    @dataclass_transform(frozen_default=True, kw_only_default=True)
    class Frozen(Value):
        """What type checkers need to know of a Value: its parts, and that they are never assigned to."""

else:
    Frozen = Value


class Attempt(Frozen):
    """One attempt of a job that failed, was postponed or printed something; the others leave no record."""

    __slots__ = ("attempt", "error", "finished_at", "outcome", "output", "started_at", "traceback", "verdict")
    attempt: int  # its number, from 1
    outcome: str  # succeeded, raised, timed out or crashed
    verdict: str | None  # postponed, gave up, or why it was not tried again
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    error: str | None  # in one line
    traceback: str | None
    output: str | None  # what it printed, its first and last 32 KB


class Progress(Frozen):
    """How far an attempt said it was."""

    __slots__ = ("fraction", "text", "updated_at")
    fraction: float | None  # a share from 0 to 1
    text: str | None
    updated_at: dt.datetime | None


class Job(Frozen):
    """One job as it was when it was queued or looked up; it never changes, `bgjob.get_job(job.id)` looks again.

    All times are aware, in UTC; None where there is none yet, or where another program wrote what is no time.
    """

    __slots__ = (  # noqa: RUF023  # in the order in which people look for them
        "id", "job_class", "method", "params_json", "status", "priority", "retry_count", "crash_count", "available_at",
        "created_at", "updated_at", "started_at", "finished_at", "error", "database",
    )  # fmt: skip
    id: int
    job_class: str  # the approved dotted name
    method: str
    params_json: str | None  # as text
    status: str  # pending, processing, completed, failed or cancelled
    priority: int  # higher runs first
    retry_count: int
    crash_count: int
    available_at: dt.datetime | None  # not due before; None: at once
    created_at: dt.datetime | None
    updated_at: dt.datetime | None
    started_at: dt.datetime | None  # of the last attempt
    finished_at: dt.datetime | None  # of the last attempt
    error: str | None  # of the last attempt, if it failed or was postponed
    database: str  # the file that it stands in

    @property
    def params(self) -> Any:  # noqa: ANN401  # whatever was queued
        """A dict (keyword arguments), a list (positional ones) or None; the text itself if it is no JSON."""
        import json  # noqa: PLC0415  # queueing has it; who only reads may not need it

        try:
            return None if self.params_json is None else json.loads(self.params_json)
        except (ValueError, TypeError, RecursionError):  # written by another program
            return self.params_json

    @property
    def attempts(self) -> list[Attempt]:
        """The recorded attempts, the first one first, read from the database at each call.

        Raises StoreError when the database can't be read.
        """
        from bgjob.store import reading  # noqa: PLC0415  # who queues does not ask

        with reading.ReadStore(self.database) as store:
            return [_attempt(row) for row in store.attempts(self.id)]

    @property
    def progress(self) -> Progress | None:
        """How far the last attempt said it was, read from the database at each call; None if it said nothing.

        Raises StoreError when the database can't be read.
        """
        from bgjob.store import reading  # noqa: PLC0415  # as above
        from bgjob.views.overview import instant  # noqa: PLC0415  # as above

        with reading.ReadStore(self.database) as store:
            row = store.progress(self.id)
        return row and Progress(fraction=row.fraction, text=row.text, updated_at=instant(row.updated_at))


def job_of(row: JobRow, database: str) -> Job:
    """Return the job that stands in a row of the database."""
    from bgjob.views.overview import instant  # noqa: PLC0415  # as above

    return Job(
        id=row.id,
        job_class=row.job_class,
        method=row.method,
        params_json=row.params,
        status=row.status,
        priority=row.priority,
        retry_count=row.retry_count if isinstance(row.retry_count, int) else 0,
        crash_count=row.crash_count,
        available_at=instant(row.available_at),
        created_at=instant(row.created_at),
        updated_at=instant(row.updated_at),
        started_at=instant(row.started_at),
        finished_at=instant(row.finished_at),
        error=row.error,
        database=database,
    )


def _attempt(row: AttemptRow) -> Attempt:
    from bgjob.views.overview import instant  # noqa: PLC0415  # as above

    parts = {name: getattr(row, name) for name in Attempt.__slots__}
    return Attempt(**{**parts, "started_at": instant(row.started_at), "finished_at": instant(row.finished_at)})
