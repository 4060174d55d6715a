"""What came of the jobs lately: hour by hour, how long they took and waited by class, and why they failed."""

from __future__ import annotations

import collections
import datetime as dt
from typing import NamedTuple

from bgjob import clock
from bgjob.store.runners import HOUR
from bgjob.views.overview import instant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgjob.store.reading import ReadStore, Timing

HOURS = 48
_FAILURES_SINCE = dt.timedelta(hours=HOURS)


class Hour(NamedTuple):
    """The jobs that ended within one hour; `begins` is its first instant."""

    begins: dt.datetime
    completed: int
    failed: int


class Pace(NamedTuple):
    """How long the jobs of a class took and waited, in seconds; of `jobs` that completed lately."""

    job_class: str
    jobs: int
    duration_p50: float
    duration_p95: float
    wait_p50: float
    wait_p95: float


class Reason(NamedTuple):
    """Why attempts failed: the exception's class, or what else became of them; and how many."""

    error: str
    attempts: int


class History(NamedTuple):
    """The last two days."""

    hours: list[Hour]
    paces: list[Pace]
    reasons: list[Reason]


def history(store: ReadStore, now: dt.datetime) -> History:
    """Return what came of the jobs until `now`."""
    return History(_hours(store, now), _paces(store.timings()), _reasons(store.newest_failures(now - _FAILURES_SINCE)))


def _hours(store: ReadStore, now: dt.datetime) -> list[Hour]:
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    begins = [this_hour - dt.timedelta(hours=ago) for ago in reversed(range(HOURS))]
    ended = store.ended_by_hour(begins[0] - dt.timedelta(hours=1), now)
    return [Hour(hour, *ended.get(clock.to_text(hour)[:HOUR], (0, 0))) for hour in begins]


def _paces(timings: Sequence[Timing]) -> list[Pace]:
    durations: dict[str, list[float]] = collections.defaultdict(list)
    waits: dict[str, list[float]] = collections.defaultdict(list)
    for timing in timings:
        started, finished = instant(timing.started_at), instant(timing.finished_at)
        queued, due = instant(timing.created_at), instant(timing.due_at)
        if started and finished:
            durations[timing.job_class].append(max((finished - started).total_seconds(), 0.0))
        if started and (queued or due):
            could_begin = max(filter(None, (queued, due)))
            waits[timing.job_class].append(max((started - could_begin).total_seconds(), 0.0))
    paces = [
        Pace(str(name), len(taken), *_percentiles(taken), *_percentiles(waits[name]))
        for name, taken in durations.items()
    ]
    return sorted(paces, key=lambda pace: (-pace.jobs, pace.job_class))


def _percentiles(values: list[float]) -> tuple[float, float]:
    """Return the least value that half, and that 95 of 100, of the values do not exceed; 0.0 of none."""
    ordered = sorted(values) or [0.0]
    last = len(ordered) - 1
    return ordered[last // 2], ordered[-(-last * 95 // 100)]


def _reasons(failures: Sequence[tuple[str, str | None]]) -> list[Reason]:
    counted = collections.Counter(_reason(outcome, error) for outcome, error in failures)
    return [Reason(*each) for each in sorted(counted.items(), key=lambda each: (-each[1], each[0]))]


def _reason(outcome: str, error: object) -> str:
    """Return the exception's class, without its module, for what was raised; the outcome for what has none."""
    if outcome != "raised" or not isinstance(error, str):
        return str(outcome)
    name = error.partition(":")[0].strip()
    last = name.rpartition(".")[2]
    return last if last.isidentifier() else "other"
