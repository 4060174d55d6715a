"""`bgjob list`: its filters, its order, its pages, and what fits a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bgjob.console import cells
from tests.conftest import CODE
from tests.test_status import bgjob, queue

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
class Job:
    def execute(self, **params): pass
    def fail(self, **params): raise ValueError("no good, 100%")
class Other(Job): pass
"""


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("max_retries: 0", methods="execute, fail", classes="app.jobs.Job, app.jobs.Other")
    project.write_jobs(JOBS)


def five_jobs(project: Project) -> None:
    """Queue five jobs: completed, failed, and three that wait."""
    queue(project, "'execute', {'to': 'Ärger'}", "'fail', {'to': 'ann'}")
    project.tick()
    queue(project, "'execute', {'to': 'BOB'}, priority=7", "'execute', delay=3000")
    project.python("from bgjob import run_background_job as queue\nqueue('app.jobs.Other')")


def ids(project: Project, *arguments: str, code: int = 0) -> list[int]:
    told: dict[str, Any] = json.loads(bgjob(project, "list", "--json", *arguments, code=code).stdout)
    return [job["id"] for job in told["jobs"]]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("", [5, 4, 3, 2, 1]),
        ("--status pending", [5, 4, 3]),
        ("--status failed", [2]),
        ("--class app.jobs.Other", [5]),
        ("--class app.jobs.Job --status pending", [4, 3]),
        ("--method fail", [2]),
        ("--priority 7", [3]),
        ("--error ValueError", [2]),
        ("--text bob", [3]),
        ("--text ANN", [2]),
        ("--text 100%", [2]),
        ("--text Ärger", [1]),
        ("--since 1h", [5, 4, 3, 2, 1]),
        ("--until 2999-01-01", [5, 4, 3, 2, 1]),
        ("--limit 2", [5, 4]),
        ("--limit 2 --offset 2", [3, 2]),
        ("--limit 0", []),
        ("--sort oldest", [1, 2, 3, 4, 5]),
        ("--sort oldest --limit 2 --offset 1", [2, 3]),
        ("--sort priority --status pending", [3, 5, 4]),
        ("--sort due --status pending", [3, 5, 4]),
    ],
)
def test_it_lists_what_matches_in_its_order(project: Project, filters: str, expected: list[int]) -> None:
    five_jobs(project)

    assert ids(project, *filters.split()) == expected


@pytest.mark.parametrize(
    "filters", ["--status running", "--error Nope", "--text %ob", "--until 1h", "--since 2999-01-01", "--priority 8"]
)
def test_filters_that_match_nothing_end_with_1_and_a_line(project: Project, filters: str) -> None:
    five_jobs(project)

    done = bgjob(project, "list", *filters.split(), code=1)

    assert (done.stdout, done.stderr) == ("", "no job matches\n")


def test_the_longest_attempts_come_first_when_sorted_by_duration(project: Project) -> None:
    queue(project, "", "", "")
    project.tick()
    for job_id, started in ((1, "09:00:05"), (2, "09:00:00"), (3, "09:00:08")):
        project.sql(
            "UPDATE custom_jobs SET started_at = :started, finished_at = '2026-01-01 09:00:09.000000' WHERE id = :id",
            {"started": f"2026-01-01 {started}.000000", "id": job_id},
        )

    assert ids(project, "--sort", "duration") == [2, 1, 3]


def test_an_empty_queue_is_no_error(project: Project) -> None:
    none = bgjob(project, "list")
    queue(project, "")
    project.sql("DELETE FROM custom_jobs")

    empty = bgjob(project, "list")

    assert (none.stdout, none.stderr) == (empty.stdout, empty.stderr) == ("", "there are no jobs\n")


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ("--status done", "'done' is no status; choose pending, processing"),
        ("--priority high", "'high' is no priority"),
        ("--priority 9223372036854775808", "is no priority"),
        ("--limit -1", "--limit"),
        ("--since whenever", "'whenever' is no time"),
        ("--since 01/02/2026", "can be read in more than one way"),
        ("--sort size", "invalid choice: 'size'"),
        ("--config=", "--config is empty"),
        ("--text \udcff", "is no UTF-8"),
        ("--class \udcff", "is no UTF-8"),
        ("--method \udcff", "is no UTF-8"),
        ("--error \udcff", "is no UTF-8"),
    ],
)
def test_a_wrong_value_is_wrong_usage(project: Project, filters: str, told: str) -> None:
    done = bgjob(project, "list", *filters.split(), code=2)

    assert done.stdout == ""
    assert done.stderr.startswith("bgjob: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_there_is_a_hint_when_the_page_is_full(project: Project) -> None:
    five_jobs(project)

    full, beyond = bgjob(project, "list", "--limit", "2"), bgjob(project, "list", "--offset", "9")

    assert full.stderr == "there may be more: --before 4, or a larger --limit\n"
    assert beyond.stderr == "there are no more than 9 jobs\n"


def test_what_stands_in_the_database_can_not_move_the_cursor(project: Project) -> None:
    queue(project, "")
    project.sql("UPDATE custom_jobs SET job_class = :name, error = :name", {"name": "a\x1b[2J\r\nb\u202e\x00"})
    project.sql_unchecked("UPDATE custom_jobs SET method = x'ff41', priority = 'high', created_at = 7, updated_at = 7")

    line = bgjob(project, "list").stdout.splitlines()[1]
    shown = bgjob(project, "show", "1").stdout
    told = json.loads(bgjob(project, "list", "--json").stdout)

    assert all(text.isprintable() for text in [line, *shown.splitlines()])
    assert "a\\x1b[2J\\r\\nb\\u202e\\x00" in line
    assert told["jobs"][0]["job_class"] == "a\x1b[2J\r\nb\u202e\x00"


def test_a_status_that_is_no_text_is_shown_as_it_is(project: Project) -> None:
    queue(project, "")
    project.sql_unchecked("UPDATE custom_jobs SET status = x'ff'")

    assert r"b'\xff'" in bgjob(project, "list").stdout
    assert r"b'\xff'" in bgjob(project, "show", "1").stdout


@pytest.mark.parametrize("columns", [80, 160])
def test_no_line_is_wider_than_the_terminal(project: Project, columns: int) -> None:
    five_jobs(project)
    project.sql("UPDATE custom_jobs SET params = '{\"to\": \"' || hex(zeroblob(200)) || '日本語' || '\"}'")
    project.sql(
        "UPDATE custom_jobs SET job_class = job_class || '日本語日本語日本語日本語日本語日本語日本語日本語日本語'"
    )
    project.sql("UPDATE custom_jobs SET error = 'ValueError: ' || hex(zeroblob(200)) WHERE status = 'failed'")

    for command in ("list", "status"):
        lines = on_terminal(project, columns, command)

        assert len(lines) > 4
        assert max(map(cells, lines)) <= columns, lines
    assert any("ValueError: 0000" in line for line in on_terminal(project, columns, "list"))


def on_terminal(project: Project, columns: int, *arguments: str) -> list[str]:
    """Return the lines that a command shows on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    shown = b""
    try:
        command = subprocess.Popen(
            [sys.executable, "-m", "bgjob", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=project.folder,
            env=project.environment(TERM="xterm", COLUMNS=str(columns), NO_COLOR="1"),
        )
        os.close(theirs)
        # Linux tells the end of a terminal by an I/O error.
        with contextlib.suppress(OSError):
            while more := os.read(ours, 65_536):
                shown += more
        assert command.wait(60) == 0, shown
    finally:
        os.close(ours)
    return shown.decode().replace("\r\n", "\n").splitlines()


def test_a_reader_that_goes_away_ends_it_quietly(project: Project) -> None:
    queue(project, *["params={'text': 'x' * 5000}"] * 40)

    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bgjob list --limit 40 | head -1; echo ${{PIPESTATUS[0]}}"],
        check=False,
        capture_output=True,
        text=True,
        cwd=project.folder,
        env={**project.environment(), "PYTHONPATH": str(CODE)},
        timeout=60,
    )

    assert done.stdout.splitlines()[1:] == ["0"]
    assert done.stdout.startswith("ID ")
    assert done.stderr == ""


def test_the_search_goes_through_all_stretches(project: Project) -> None:
    queue(project, "params={'to': 'ann'}")
    project.sql("INSERT INTO custom_jobs (id, job_class, method) VALUES (250000, 'app.jobs.Job', 'execute')")

    assert ids(project, "--text", "ann") == [1]
    assert ids(project) == [250000, 1]


def test_a_search_that_is_given_up_says_how_far_it_came_and_how_to_go_on(project: Project) -> None:
    queue(project, *[""] * 3)
    project.sql("INSERT INTO custom_jobs (id, job_class, method) VALUES (1000, 'app.jobs.Job', 'execute')")
    none = ("--within", "0")  # but one stretch

    newest = bgjob(project, "list", "--text", "ann", *none, code=1)
    oldest = bgjob(project, "list", "--text", "ann", "--sort", "oldest", "--after", "1", *none, code=1)
    longest = bgjob(project, "list", "--sort", "duration", *none)
    told = json.loads(bgjob(project, "list", "--json", "--text", "ann", *none, code=1).stdout)

    assert newest.stderr == "looked back to job 4 in 0 ms; go on: --before 4, or --within 10s\n"
    assert oldest.stderr == "looked up to job 999 in 0 ms; go on: --after 999, or --within 10s\n"
    assert longest.stderr.startswith("looked back to job 4 in 0 ms; --within 10s may find longer ones")
    assert told == {"jobs": [], "looked_to": 4, "is_partial": False}


def test_the_pages_of_each_order_follow_one_another(project: Project) -> None:
    queue(project, *[""] * 5)

    assert ids(project, "--limit", "2", "--before", "4") == [3, 2]
    assert ids(project, "--sort", "oldest", "--limit", "2", "--after", "2") == [3, 4]
    assert ids(project, "--sort", "priority", "--limit", "2", "--offset", "3") == [4, 5]
    assert bgjob(project, "list", "--sort", "oldest", "--limit", "2").stderr.startswith("there may be more: --after 2,")
    assert bgjob(project, "list", "--before", "1").stderr == "no job matches\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--sort due --status failed", "--sort due is an order of pending jobs"),
        ("--after 5", "--after goes with --sort oldest"),
        ("--sort oldest --before 5", "--before does not go with --sort oldest"),
        ("--within soon", "'soon' is no span"),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(project: Project, options: str, told: str) -> None:
    assert told in bgjob(project, "list", *options.split(), code=2).stderr.splitlines()[-1]
