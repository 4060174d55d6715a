"""`make bench` works from end to end. Only the shape of what it says is looked at, never a time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from benchmarks import registry
from benchmarks.__main__ import PAGE, read
from benchmarks.figures import FIGURES, REFERENCE, Results, Value, shown
from benchmarks.picture import COLOURS, PANELS, picture
from benchmarks.table import table
from tests.conftest import CODE

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = {"date": "2026-01-31", "cores": "2", "system": "Linux", "python": "3", "sqlite": "3", "disk": "ext4"} | {
    "jobs": "10,000",
    "rows": "1,000,000",
}
OF_OTHERS = {"drain 1 unsynced"}  # a figure of Huey alone


@pytest.mark.slow
def test_a_quick_run_measures_every_figure_of_bgjob_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folders = ["--out", str(tmp_path / "out"), "--scratch", str(tmp_path / "scratch")]

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--systems", "bgjob", *folders],
        check=False,
        capture_output=True,
        text=True,
        cwd=CODE,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    machine, *values = map(json.loads, (tmp_path / "out" / "results.jsonl").read_text().splitlines())
    assert set(machine) == set(MACHINE)
    assert {value["figure"] for value in values if value["column"] == "bgjob"} == set(_keys()) - OF_OTHERS
    assert all(isinstance(value["value"], (int, float)) for value in values)
    assert {value["value"] for value in values if value["figure"] in {"due disorder", "four errors"}} == {0}
    assert done.stdout.strip() == (tmp_path / "out" / "table.md").read_text().strip()
    for colours in COLOURS:
        assert ET.parse(tmp_path / "out" / f"{colours}.svg").getroot().tag.endswith("svg")  # noqa: S314  # our own file
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_table_has_a_line_for_each_figure_with_median_spread_and_ratio() -> None:
    values = [Value("drain 1", "bgjob", run, value) for run, value in enumerate((9_000.0, 12_340.0, 13_000.0))]
    values += [Value("drain 1", REFERENCE, run, 20_000.0) for run in range(3)]
    values += [Value("four", "tinyjobs", 0, 5.0), Value("four", "bgjob", 0, 7.0)]

    head, rule, four, drain, *_ = table(MACHINE, Results(values)).splitlines()

    assert head.count("|") == rule.count("|") == four.count("|") == drain.count("|")
    assert "12,300 (9,000–13,000)" in drain  # noqa: RUF001  # the sign of the table
    assert "**0.62** (0.45–0.65)" in drain  # noqa: RUF001  # the same
    assert "| 5° |" in four


def test_ratios_are_taken_within_a_run() -> None:
    pairs = ((1.0, 2.0), (10.0, 20.0), (100.0, 200.0))
    values = [Value("queue", "bgjob", run, ours) for run, (ours, _) in enumerate(pairs)]
    values += [Value("queue", REFERENCE, run, reference) for run, (_, reference) in enumerate(pairs)]

    assert Results(values).ratio("queue") == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.123, "0.12"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (12_345, "12,300")]
)
def test_a_number_is_shown_with_the_digits_that_matter(value: float, text: str) -> None:
    assert shown(value) == text


def test_the_longest_bar_of_each_chart_is_as_long_as_there_is_room() -> None:
    values = [
        Value(panel.figure, column, 0, 10.0 * number)
        for panel in PANELS
        for number, column in enumerate((REFERENCE, *registry.COLUMNS), start=1)
    ]

    drawn = ET.fromstring(picture(Results(values), "light"))  # noqa: S314  # our own text

    charts = [[float(bar.get("width", 0)) for bar in chart if bar.tag.endswith("rect")] for chart in drawn]
    assert [max(widths) for widths in charts if widths] == [220.0] * 4
    assert all(widths == sorted(widths) for widths in charts)


@pytest.mark.parametrize("page", [CODE / "README.md", PAGE], ids=lambda page: page.name)
def test_a_page_shows_the_picture_for_light_and_for_dark(page: Path) -> None:
    shown_files = re.findall(r'src(?:set)?="([^"]+[.]svg)"', page.read_text(encoding="utf-8"))

    assert [name.rpartition("-")[2] for name in shown_files] == ["dark.svg", "light.svg"]
    assert all((page.parent / name).exists() for name in shown_files)


def test_the_page_and_the_pictures_show_the_raw_values_that_are_kept() -> None:
    machine, results = read(CODE / "benchmarks" / "results.jsonl")

    assert table(machine, results) in PAGE.read_text(encoding="utf-8"), "run make bench with --publish"
    for colours in COLOURS:
        file = PAGE.parent / f"performance-{colours}.svg"
        assert file.read_text(encoding="utf-8") == picture(results, colours)


def test_every_figure_has_a_key_of_its_own() -> None:
    assert len(set(_keys())) == len(FIGURES)
    assert {panel.figure for panel in PANELS} <= set(_keys())


def test_a_system_of_the_table_is_one_that_is_measured() -> None:
    assert set(registry.COLUMNS) <= set(registry.SYSTEMS)


def _keys() -> list[str]:
    return [figure.key for figure in FIGURES]
