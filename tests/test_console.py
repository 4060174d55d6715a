"""What a person sees at a terminal: one line a job, in colour, and a summary. A pipe, such as cron's, sees nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job, run_background_jobs
from bgjob.console import cells

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import os

class Job:
    def execute(self):
        pass

    def fail(self):
        raise ValueError("no")
"""
LINE = r"  \d\d:\d\d:\d\d app\.jobs\.Job\.{method} \.+ \d+\.\d\dm?s {word}"


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("max_retries: 1\nretry_delay: 1h", methods="execute, fail")
    project.write_jobs(JOBS)
    run_background_job("app.jobs.Job")
    run_background_job("app.jobs.Job", "fail")
    run_background_job("app.jobs.Job", "fail")
    project.sql("UPDATE custom_jobs SET retry_count = 1 WHERE id = 3")


def test_a_terminal_shows_one_line_for_each_job_and_a_summary(project: Project) -> None:
    code, shown = project.tick_on_terminal(NO_COLOR="1")

    done, retry, fail, summary = shown.splitlines()
    assert code == 0
    assert re.fullmatch(LINE.format(method="execute", word="DONE"), done)
    assert re.fullmatch(LINE.format(method="fail", word="RETRY"), retry)
    assert re.fullmatch(LINE.format(method="fail", word="FAIL"), fail)
    assert re.fullmatch(r"  1 complete, 1 retry, 1 fail in \d+\.\d\dm?s", summary)
    assert len({len(line) for line in (done, retry, fail)}) == 1


def test_colours_tell_the_outcomes_apart(project: Project) -> None:
    _, shown = project.tick_on_terminal()

    assert re.findall(r"\x1b\[3\dm\w+\x1b\[0m", shown) == [
        "\x1b[32mDONE\x1b[0m",
        "\x1b[33mRETRY\x1b[0m",
        "\x1b[31mFAIL\x1b[0m",
    ]


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"NO_COLOR": "yes", "COLORTERM": "x"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(project: Project, environment: dict[str, str]) -> None:
    _, shown = project.tick_on_terminal(**environment)

    assert "\x1b" not in shown
    assert "DONE" in shown


def test_an_empty_no_color_means_nothing(project: Project) -> None:
    _, shown = project.tick_on_terminal(NO_COLOR="")

    assert "\x1b[32mDONE" in shown


@pytest.mark.parametrize("columns", ["20", "60", "80", "200"])
def test_lines_fit_the_terminal(project: Project, columns: str) -> None:
    project.sql("UPDATE custom_jobs SET job_class = 'app.jobs.' || hex(zeroblob(40)) WHERE id = 2")

    _, shown = project.tick_on_terminal(NO_COLOR="1", COLUMNS=columns)

    assert max(len(line) for line in shown.splitlines()[:3]) <= max(int(columns), 60)


@pytest.mark.parametrize("name", ["日本語の長い名前です" * 5, "e\u0301" * 70, "日本語", "e\u0301"])
def test_lines_of_wide_and_of_combined_letters_end_in_the_same_column(project: Project, name: str) -> None:
    project.sql("UPDATE custom_jobs SET job_class = :name WHERE id = 2", {"name": f"app.{name}.Job"})

    _, shown = project.tick_on_terminal(NO_COLOR="1", COLUMNS="80")

    assert {cells(line) for line in shown.splitlines()[:3]} == {80}


def test_what_came_from_outside_moves_no_cursor(project: Project) -> None:
    for name in ("\x1b[2J", "\n\n", "\r", "\x9b2J", "\u202e", "\u2028", "\x07"):
        project.sql("INSERT INTO custom_jobs (job_class, method) VALUES (:name, :name)", {"name": name})

    _, shown = project.tick_on_terminal(NO_COLOR="1")

    assert [c for c in shown if not c.isprintable() and c != "\n"] == []
    assert len(shown.splitlines()) == 11


def test_a_tick_with_nothing_to_do_says_so(project: Project) -> None:
    project.tick()

    code, shown = project.tick_on_terminal()

    assert (code, shown) == (0, "  nothing is due\n")


def test_quiet_says_nothing_even_there(project: Project) -> None:
    assert project.tick_on_terminal("-q") == (0, "")


def test_a_pipe_sees_nothing(project: Project) -> None:
    done = project.tick()

    assert (done.stdout, done.stderr) == ("", "")


def test_verbose_tells_a_pipe_too_without_colours(project: Project) -> None:
    done = project.tick("-v")

    assert [line.split()[-1] for line in done.stdout.splitlines()[:3]] == ["DONE", "RETRY", "FAIL"]
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_a_dry_run_of_thousands_fits_a_terminal_and_a_pipe_gets_all_of_it(project: Project) -> None:
    run_background_jobs(["app.jobs.Job"] * 3_000)
    run_background_jobs([("app.jobs.Job", "execute", None, 0, 3_600)] * 2_000)

    code, shown = project.tick_on_terminal("--dry-run")

    lines = shown.splitlines()
    assert code == 0
    assert len(lines) == 2 * (1 + 40 + 1)
    assert [lines[41], lines[83]] == [f"  and {n:,} more (a pipe or a file gets all of them)" for n in (2_963, 1_960)]
    assert len(project.tick("--dry-run").stdout.splitlines()) == 1 + 3_003 + 1 + 2_000
