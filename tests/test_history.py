"""What the overview tells of the last two days: hours, paces, reasons; and whether background work is alive."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from bgjob import clock, memo
from bgjob.store.reading import ReadStore, Timing
from bgjob.views import history, pulse
from bgjob.views.pulse import DEAD, FINE, LATE, Pulse
from tests.visitor import add, make_database

if TYPE_CHECKING:
    from tests.conftest import Project

NOW = dt.datetime(2026, 11, 24, 12, 30, tzinfo=dt.UTC)


def text(**before: float) -> str:
    return clock.to_text(NOW - dt.timedelta(**before))


def test_there_are_48_hours_of_which_the_last_is_this_one(project: Project) -> None:
    add(
        project,
        {"span": "2026-11-24 12", "job_class": "a.A", "completed": 3, "failed": 1},
        {"span": "2026-11-24 12", "job_class": "b.B", "completed": 4},
        {"span": "2026-11-22 13", "job_class": "a.A", "completed": 5},
        {"span": "2026-11-22 12", "job_class": "a.A", "completed": 99},
        {"span": "2026-11-24 12:30", "job_class": "a.A", "completed": 99},
        table="tallies",
    )

    with ReadStore(str(project.database)) as store:
        hours = history.history(store, NOW).hours

    assert len(hours) == 48
    assert (hours[0].begins, hours[0].completed) == (dt.datetime(2026, 11, 22, 13, tzinfo=dt.UTC), 5)
    assert (hours[-1].completed, hours[-1].failed) == (7, 1)
    assert sum(hour.completed for hour in hours) == 12


def test_paces_are_percentiles_of_durations_and_waits() -> None:
    timings = [
        Timing("a.A", text(minutes=10), text(minutes=10), text(minutes=9), text(minutes=9, seconds=-number))
        for number in range(1, 101)
    ]
    timings.append(Timing("b.B", text(hours=1), text(minutes=5), text(minutes=4), text(minutes=4)))  # queued when due
    timings.append(Timing("b.B", "odd", None, text(minutes=4), text(minutes=5)))  # ended before it began

    first, second = history._paces(timings)

    assert (first.job_class, first.jobs, first.duration_p50, first.duration_p95) == ("a.A", 100, 50.0, 96.0)
    assert (first.wait_p50, first.wait_p95) == (60.0, 60.0)
    assert (second.job_class, second.jobs, second.duration_p95, second.wait_p50) == ("b.B", 2, 0.0, 60.0)


@pytest.mark.parametrize(
    ("outcome", "error", "reason"),
    [
        ("raised", "ValueError: no", "ValueError"), ("raised", "app.errors.Wrong: a: b", "Wrong"),
        ("raised", "KeyError", "KeyError"), ("raised", "no class at all", "other"), ("raised", "", "other"),
        ("raised", None, "raised"), ("timed out", "JobTimeout: x", "timed out"), ("crashed", None, "crashed"),
        ("raised", b"\xff", "raised"),
    ],
)  # fmt: skip
def test_a_reason_is_the_class_of_the_exception(outcome: str, error: str | None, reason: str) -> None:
    assert history._reasons([(outcome, error)]) == [(reason, 1)]


def test_the_most_frequent_reason_comes_first() -> None:
    failures = [("raised", "B: x"), ("raised", "A: x"), ("raised", "B: y"), ("crashed", None)]

    assert history._reasons(failures) == [("B", 2), ("A", 1), ("crashed", 1)]


@pytest.mark.parametrize(
    ("seconds", "is_at_work", "state"),
    [(0, False, FINE), (89, False, FINE), (91, False, LATE), (None, False, DEAD), (100_000, False, DEAD),
     (100_000, True, FINE), (None, True, FINE), (-60, False, FINE)],
)  # fmt: skip
def test_the_light_turns_amber_and_then_red(seconds: float | None, *, is_at_work: bool, state: str) -> None:
    last = None if seconds is None else NOW - dt.timedelta(seconds=seconds)

    assert Pulse([], None, last, is_at_work=is_at_work).state(NOW) == state


def test_the_pulse_of_a_queue_is_its_last_tick(project: Project) -> None:
    make_database(project)
    with ReadStore(str(project.database)) as store:
        assert pulse.pulse(store) == Pulse([], None, None, is_at_work=False)
        memo.leave_sign_of_life(str(project.database))
        beat = pulse.pulse(store)

    assert beat.last_tick is not None
    assert beat.state(beat.last_tick) == FINE
