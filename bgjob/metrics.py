"""Figures of the queue for Prometheus: gathered in one look, told as text, and kept in a file that is replaced whole.

The form is that of https://prometheus.io/docs/instrumenting/exposition_formats/; the names follow
https://prometheus.io/docs/practices/naming/. A label has no more values than the config has classes.
"""

from __future__ import annotations

from typing import NamedTuple

from bgjob import clock, files, tally, version, watch
from bgjob.errors import StoreError
from bgjob.store.alarms import NO_TICK, OVERDUE
from bgjob.store.reading import ReadStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from bgjob.config import Config

OTHERS = "not approved"  # the classes that the config does not name are counted together


class Sample(NamedTuple):
    """One number; `suffix` is what follows the name of its metric."""

    value: float
    labels: dict[str, str]
    suffix: str = ""


class Metric(NamedTuple):
    """Numbers of one kind: gauge, counter or summary."""

    name: str
    kind: str
    told: str
    samples: list[Sample]


def gathered(store: ReadStore, config: Config, now: dt.datetime) -> list[Metric]:
    """Return all figures as they are at `now`."""
    with store.at_once():
        counts = store.counts(now)
        since = _due_since(store, now)
        runner = store.last_runner()
        paused = store.pause() is not None
        alarms = {alarm.kind for alarm in store.alarms()}
        totals = {row.job_class: row for row in store.totals()}
    jobs = [Sample(count, {"status": status}) for status, count in counts.by_status.items()]
    open_alarms = [Sample(kind in alarms, {"kind": kind}) for kind in (NO_TICK, OVERDUE)]
    return [
        Metric("bgjob_info", "gauge", "The bgjob that wrote this.", [Sample(1, {"version": version.__version__})]),
        Metric("bgjob_jobs", "gauge", "Jobs by status.", jobs),
        _gauge("bgjob_jobs_due", "Pending jobs that are due.", counts.due),
        _gauge(
            "bgjob_oldest_due_age_seconds",
            "For how long the oldest due job has been due; 0 if none is.",
            max((now - since).total_seconds(), 0) if since else 0,
        ),
        _gauge("bgjob_workers", "Jobs that may run at once.", config.workers),
        _gauge("bgjob_paused", "1 while the queue is paused.", paused),
        Metric("bgjob_alarm_open", "gauge", "1 while an alarm of this kind is not over.", open_alarms),
        _gauge("bgjob_last_tick_timestamp_seconds", "When the last tick came.", _seconds(watch.last_tick(store.path))),
        _gauge(
            "bgjob_runner_started_timestamp_seconds",
            "When the newest runner took the queue.",
            _seconds(_instant(runner.started) if runner else None),
        ),
        *_of_classes(
            [totals.get(name, tally.Added(name, 0, 0, 0.0)) for name in (*config.classes, tally.NOT_APPROVED)]
        ),
    ]


def _due_since(store: ReadStore, now: dt.datetime) -> dt.datetime | None:
    """Return since when the oldest due job has been due; one that was requeued or handed back, only since then."""
    first = store.first_due(now)
    job = first and store.job(first.id)
    if job is None:
        return None
    # What was written past the CHECKs may be bytes, which can't be compared with a text.
    return _instant(max(text for text in (job.available_at, job.updated_at or job.created_at, "") if type(text) is str))


def _of_classes(rows: Sequence[tally.Added]) -> list[Metric]:
    named = [({"job_class": row.job_class or OTHERS}, row) for row in rows]
    failures = [
        Sample(count, {**labels, "outcome": outcome})
        for labels, row in named
        for outcome, count in zip(tally.FAILURES, (row.raised, row.timed_out, row.crashed), strict=True)
    ]
    durations = [
        sample
        for labels, row in named
        for sample in (
            Sample(row.seconds, labels, "_sum"),
            Sample(row.completed + row.postponed + row.raised + row.timed_out + row.crashed, labels, "_count"),
        )
    ]
    return [
        _counter("jobs_completed", "Jobs completed.", [Sample(row.completed, labels) for labels, row in named]),
        _counter("jobs_failed", "Jobs failed for good.", [Sample(row.failed, labels) for labels, row in named]),
        _counter(
            "attempts_postponed",
            "Attempts put off by the job.",
            [Sample(row.postponed, labels) for labels, row in named],
        ),
        _counter("attempts_failed", "Attempts that failed, by outcome.", failures),
        Metric("bgjob_attempt_duration_seconds", "summary", "For how long attempts kept a worker busy.", durations),
    ]


def _counter(name: str, told: str, samples: list[Sample]) -> Metric:
    return Metric(f"bgjob_{name}_total", "counter", f"{told[:-1]}, since the queue began.", samples)


def _gauge(name: str, told: str, value: float | None) -> Metric:
    return Metric(name, "gauge", told, [] if value is None else [Sample(value, {})])


def _instant(text: str) -> dt.datetime | None:
    try:
        return clock.from_text(text)
    except ValueError:  # written past the CHECKs
        return None


def _seconds(instant: dt.datetime | None) -> float | None:
    return instant.timestamp() if instant else None


def text(metrics: Iterable[Metric]) -> str:
    """Return the figures as Prometheus reads them."""
    lines = []
    for name, kind, told, samples in metrics:
        if samples:
            lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
        for value, labels, suffix in samples:
            within = ",".join(f'{label}="{_escaped(named)}"' for label, named in labels.items())
            lines.append(
                f"{name}{suffix}{{{within}}} {_number(value)}" if within else f"{name}{suffix} {_number(value)}"
            )
    return "".join(f"{line}\n" for line in lines)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def keep(config: Config, now: dt.datetime) -> str | None:
    """Bring the file of the config up to date; return what was wrong, for it must not disturb the queue."""
    path = config.metrics_file
    if path is None:
        return None
    try:
        with ReadStore(config.database) as store:
            figures = text(gathered(store, config, now))
        files.replace(path, figures.encode())
    except (OSError, StoreError) as error:
        what = getattr(error, "strerror", None) or error
        return f"metrics_file: {path} can't be written ({what}); jobs go on without it"
    return None
