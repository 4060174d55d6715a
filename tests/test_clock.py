"""The text in which an instant stands in the database: fixed width, so that text order is time order."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from freezegun import freeze_time
from hypothesis import example, given
from hypothesis import strategies as st

from bgjob import clock

instants = st.datetimes(timezones=st.just(dt.UTC))


@given(instants)
@example(dt.datetime.min.replace(tzinfo=dt.UTC))
@example(dt.datetime.max.replace(tzinfo=dt.UTC))
@example(dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
@example(dt.datetime(2038, 1, 19, 3, 14, 8, tzinfo=dt.UTC))
@example(dt.datetime(2100, 2, 28, 23, 59, 59, 999_999, tzinfo=dt.UTC))
def test_every_instant_comes_back_from_its_text(instant: dt.datetime) -> None:
    text = clock.to_text(instant)

    assert clock.from_text(text) == instant
    assert len(text) == 26


@given(instants, instants)
def test_the_order_of_texts_is_the_order_of_instants(first: dt.datetime, second: dt.datetime) -> None:
    assert (clock.to_text(first) < clock.to_text(second)) == (first < second)


def test_a_whole_second_keeps_its_six_zeros() -> None:
    assert clock.to_text(dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) == "2026-01-01 00:00:00.000000"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-01",
        "2026-01-01 00:00:00",
        "2026-01-01 00:00:00.000",
        "2026-01-01T00:00:00.000000",
        "2026-01-01 00:00:00.000000Z",
        "2026-01-01 00:00:00.000000+02:00",
        " 2026-01-01 00:00:00.000000",
        "2026-01-01 00:00:00.000000\n",
        "2026-02-30 00:00:00.000000",
        "2026-01-01 24:00:00.000000",
        "20260101 000000.000000",
        "२०२६-01-01 00:00:00.000000",  # digits of another script
    ],
)
def test_a_text_of_any_other_shape_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        clock.from_text(text)


def test_now_is_aware_and_in_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dt.datetime.now(dt.UTC)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()

    try:
        present = clock.now()
    finally:
        monkeypatch.undo()
        time.tzset()

    assert present.tzinfo is dt.UTC
    assert before <= present < before + dt.timedelta(minutes=1)


def test_monotonic_goes_on_when_a_test_freezes_the_time() -> None:
    with freeze_time("2026-01-01"):
        first = clock.monotonic()
        while clock.monotonic() == first:
            pass

        assert clock.now() == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def test_a_clock_that_is_frozen_within_a_frozen_one_goes_back_to_that() -> None:
    first, second = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    thaw_first = clock.freeze(first)
    thaw_second = clock.freeze(second)

    try:
        assert clock.now() == second
        thaw_second()
        assert clock.now() == first
    finally:
        thaw_first()

    assert clock.now() not in (first, second)


@given(instants, st.floats(allow_nan=False))
@example(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), float("inf"))
@example(dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC), 1.0)
@example(dt.datetime(1, 1, 1, tzinfo=dt.UTC), -1.0)
@example(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), -1e300)
def test_later_is_never_earlier_and_always_an_instant_that_can_be_written(instant: dt.datetime, seconds: float) -> None:
    reached = clock.later(instant, seconds)

    assert reached >= instant if seconds >= 0 else reached <= instant
    assert clock.from_text(clock.to_text(reached)) == reached


def test_later_counts_in_seconds_and_reaches_back_as_well() -> None:
    instant = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    assert clock.later(instant, 1.5) == dt.datetime(2026, 1, 1, 0, 0, 1, 500_000, tzinfo=dt.UTC)
    assert clock.later(instant, -86_400) == dt.datetime(2025, 12, 31, tzinfo=dt.UTC)
