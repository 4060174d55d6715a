"""Spans of time in words that read well."""

from __future__ import annotations

import pytest

from bgjob.console import lasting


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0 ms"),
        (0.00025, "0.25 ms"),
        (0.4, "400 ms"),
        (0.99949, "999 ms"),
        (0.9995, "1.0 s"),
        (1.0, "1.0 s"),
        (59.94, "59.9 s"),
        (59.95, "1 min"),
        (60.0, "1 min"),
        (3_725.0, "1 h 2 min"),
    ],
)
def test_a_span_has_the_unit_that_it_is_rounded_to(seconds: float, told: str) -> None:
    assert lasting(seconds) == told
