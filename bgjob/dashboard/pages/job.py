"""One job: all of it, why it is not running yet, its attempts, and what can be done to it."""

from __future__ import annotations

import json
import shlex
from typing import NamedTuple

from bgjob import steering
from bgjob.dashboard.response import Refusal
from bgjob.job import COMPLETED, GAVE_UP, PENDING, POSTPONED, PROCESSING
from bgjob.views import log_lines
from bgjob.views.overview import instant
from bgjob.views.waiting import reasons

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt

    from bgjob.dashboard.response import Response
    from bgjob.dashboard.visit import Visit
    from bgjob.store.reading import AttemptRow, JobRow
    from bgjob.views.masks import Masked

_HIGHEST_ID = 2**63 - 1
_FIELDS = (
    "priority", "retry_count", "crash_count", "created_at", "available_at", "started_at", "finished_at", "updated_at",
    "runner", "worker",
)  # fmt: skip


class Entry(NamedTuple):
    """One attempt in the timeline."""

    number: int
    came_to: str
    kind: str  # good, bad, held, running
    started_at: str | None
    finished_at: str | None
    seconds: float | None
    why: str
    error: str
    traceback: str
    output: str


def show(visit: Visit, number: str) -> Response:
    """Return the page; raises Refusal where there is no such job."""
    job_id = int(number)
    with visit.store() as store:
        job = store.job(job_id) if store and job_id <= _HIGHEST_ID else None
        if store is None or job is None:
            raise Refusal(404, f"There is no job {number}: it was never queued here, or deleted or pruned.")
        attempts = store.attempts(job.id)
        logged = log_lines.of_job(visit.config, job.id)
        masked = visit.mask.applied(job.params)
        entries = _timeline(job, attempts, masked)
        return visit.page(
            "job.html",
            store=store,
            job=job,
            why=[masked.hide(reason) for reason in reasons(store, job, visit.config, visit.now)],
            progress=masked.hide_in(store.progress(job.id)),
            params=masked,
            error=masked.hide(str(job.error)) if job.error else "",
            is_told_below=any(entry.error == job.error for entry in entries),
            fields=[(name, getattr(job, name)) for name in _FIELDS],
            entries=entries,
            log=[masked.hide(line) for line in logged.lines],
            log_trouble=logged.trouble,
            verbs=_verbs(job, visit.now),
            as_python=_as_python(job, masked),
            as_command=_as_command(job, masked),
        )


def _verbs(job: JobRow, now: dt.datetime) -> list[steering.Verb]:
    """Return what can be done to the job now."""
    due_at = instant(job.available_at)
    waits = job.status == PENDING and due_at is not None and due_at > now
    verbs = [verb for verb in (steering.REQUEUE, steering.CANCEL, steering.DELETE) if job.status in verb.leaves]
    return [steering.RUN_NOW, *verbs] if waits else verbs


def _timeline(job: JobRow, attempts: list[AttemptRow], masked: Masked) -> list[Entry]:
    """Return the attempts that left a record, and the last one if it left none."""
    entries = [_entry(attempt, masked) for attempt in attempts]
    number = job.retry_count + 1 if isinstance(job.retry_count, int) else 1
    # By their beginning, too: the numbers begin anew where a job was requeued, and stay where it was postponed.
    recorded = {(attempt.attempt, attempt.started_at) for attempt in attempts}
    if job.status == COMPLETED and (number, job.started_at) not in recorded:
        seconds = _seconds(job.started_at, job.finished_at)
        entries.append(Entry(number, "succeeded", "good", job.started_at, job.finished_at, seconds, "", "", "", ""))
    if job.status == PROCESSING:
        entries.append(Entry(number, "running", "running", job.started_at, None, None, "", "", "", ""))
    return entries


def _entry(attempt: AttemptRow, masked: Masked) -> Entry:
    said = attempt.verdict if attempt.verdict in (POSTPONED, GAVE_UP) else None
    kind = "held" if said == POSTPONED else "good" if attempt.outcome == "succeeded" else "bad"
    return Entry(
        number=attempt.attempt,
        came_to=str(said or attempt.outcome),
        kind=kind,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        seconds=_seconds(attempt.started_at, attempt.finished_at),
        why="" if said else masked.hide(attempt.verdict),
        error=masked.hide(attempt.error),
        traceback=masked.hide(attempt.traceback),
        output=masked.hide(attempt.output),
    )


def _seconds(start: str | None, end: str | None) -> float | None:
    began, ended = instant(start), instant(end)
    return max((ended - began).total_seconds(), 0.0) if began and ended else None


def _as_python(job: JobRow, masked: Masked) -> str:
    arguments = [repr(job.job_class), repr(job.method)]
    if masked.params is not None:
        arguments.append(repr(masked.params))
    if job.priority:
        arguments.append(f"priority={job.priority}")
    return f"run_background_job({', '.join(arguments)})"


def _as_command(job: JobRow, masked: Masked) -> str:
    words = ["bgjob", "queue", str(job.job_class), str(job.method)]
    if masked.params is not None:
        told = json.dumps(masked.params, ensure_ascii=False)
        words.append(told if told.isprintable() else json.dumps(masked.params))
    if job.priority:
        words.append(f"--priority={job.priority}")
    return shlex.join(words)
