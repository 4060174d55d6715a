"""Colours of the command line: on a terminal that has them, and nowhere else."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = "class Job:\n    def execute(self, fail=False):\n        if fail:\n            raise ValueError('\\x1b[7mno')\n"
CODE = "import sys; from bgjob.cli.main import main; sys.exit(main())"
COMMANDS = [["status"], ["list"], ["show", "1"], ["show", "2"], ["check"], ["show", "99"]]


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("max_retries: 0")
    project.write_jobs(JOBS)
    run_background_job("app.jobs.Job")
    run_background_job("app.jobs.Job", params={"fail": True})
    project.tick()
    run_background_job("app.jobs.Job", delay=3600)


def on_terminal(project: Project, *arguments: str, columns: str = "100", **environment: str) -> str:
    """Return what a command of `bgjob` shows on a terminal."""
    ours, theirs = pty.openpty()
    told = {"TERM": "xterm", "COLUMNS": columns, "NO_COLOR": "", **environment}
    command = subprocess.Popen(
        [sys.executable, "-c", CODE, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=project.folder,
        env=project.environment(**told),
    )
    os.close(theirs)
    shown = b""
    # Linux tells the end of a terminal by an I/O error.
    with contextlib.suppress(OSError):
        while more := os.read(ours, 65_536):
            shown += more
    os.close(ours)
    command.wait(60)
    return shown.decode().replace("\r\n", "\n")


def test_a_status_has_its_colour_wherever_it_stands(project: Project) -> None:
    listed = on_terminal(project, "list")

    assert "\x1b[33mpending\x1b[0m" in listed
    assert "\x1b[32mcompleted\x1b[0m" in listed
    assert "\x1b[31mfailed\x1b[0m" in listed
    assert "\x1b[31mfailed\x1b[0m" in on_terminal(project, "show", "2")
    assert "\x1b[31m1 failed\x1b[0m" in on_terminal(project, "status")


def test_what_is_as_it_should_be_is_green_and_an_error_red(project: Project) -> None:
    assert re.search(r"\x1b\[32m.* is fine: .*\x1b\[0m", on_terminal(project, "check", columns="160"))
    assert "\x1b[31mbgjob:\x1b[0m there is no job 99" in on_terminal(project, "show", "99")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_no_colours_where_none_are_wanted(project: Project, arguments: list[str], environment: dict[str, str]) -> None:
    assert "\x1b" not in on_terminal(project, *arguments, **environment)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_colours_where_there_is_no_terminal(project: Project, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=project.folder,
        env=project.environment(TERM="xterm"),
    )

    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("columns", ["60", "80", "160"])
def test_lines_have_the_same_words_with_colours_as_without_and_fit(
    project: Project, arguments: list[str], columns: str
) -> None:
    coloured = on_terminal(project, *arguments, columns=columns)
    plain = on_terminal(project, *arguments, columns=columns, NO_COLOR="1")

    words = re.sub(r"\d+(\.\d+)? (s|ms)\b", "N s", re.sub(r"\x1b\[\d+m", "", coloured))
    assert words.split() == re.sub(r"\d+(\.\d+)? (s|ms)\b", "N s", plain).split()
    if arguments[0] in ("status", "list"):
        assert max(map(len, plain.splitlines())) <= int(columns)


@pytest.mark.parametrize(
    "arguments",
    [["show", "99"], ["list", "--sort", "priority", "--status", "failed"], ["check"], ["pause", "a", "long", "reason"],
     ["resume"], ["queue", "app.jobs.Job"], ["requeue", "99"]],
    ids=" ".join,
)  # fmt: skip
def test_a_long_sentence_is_broken_between_words(project: Project, arguments: list[str]) -> None:
    project.sql("INSERT INTO pause VALUES (1, '2026-01-01 00:00:00.000000', 'ann', 'deploy of a release in november')")
    text = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=project.folder,
        env=project.environment(TERM="xterm"),
    ).stdout
    project.sql("DELETE FROM pause")
    project.sql("INSERT INTO pause VALUES (1, '2026-01-01 00:00:00.000000', 'ann', 'deploy of a release in november')")

    lines = on_terminal(project, *arguments, columns="60", NO_COLOR="1").splitlines()

    assert len(max(text.splitlines(), key=len)) > 60
    assert max(map(len, lines)) <= 60
    words = {word for word in text.split() if len(word) <= 60}
    assert words <= set(" ".join(lines).split())


def test_what_came_from_outside_brings_no_colour_of_its_own(project: Project) -> None:
    for arguments in COMMANDS:
        assert "\x1b[7m" not in on_terminal(project, *arguments)


def test_where_nothing_is_wrong_nothing_is_red(project: Project) -> None:
    project.sql("DELETE FROM attempts")
    project.sql("DELETE FROM custom_jobs WHERE status = 'failed'")

    assert "0 failed" in on_terminal(project, "status")
    assert "\x1b[31m" not in on_terminal(project, "status")


def test_what_needs_a_person_stands_out(project: Project) -> None:
    paused = "INSERT INTO pause VALUES (1, '2026-01-01 00:00:00.000000', 'ann', 'deploy')"
    project.sql(paused)

    assert "\x1b[33mPAUSED\x1b[0m" in on_terminal(project, "status")
    assert re.search(r"\x1b\[(31mproblem|33mwarning)\x1b\[0m", on_terminal(project, "doctor"))
