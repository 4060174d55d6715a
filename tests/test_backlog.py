"""A long drain on a terminal: a bar in the last line, and of the jobs only those that failed."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_jobs
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project

JOBS = """
import os, time

class Job:
    def execute(self, place=0):
        if place == 7:
            raise ValueError("no")
        if place == 8:
            os._exit(3)
        while place == 9 and not os.path.exists("go"):
            time.sleep(0.005)
"""
STARTED = "SELECT 1 FROM custom_jobs WHERE started_at"
BAR = r"  draining [━─]+ +\d+ %, +[\d,]+ of 150 jobs.*"


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("max_retries: 0\nmax_crashes: 1")
    project.write_jobs(JOBS)


def queue(count: int, *places: int) -> None:
    run_background_jobs([("app.jobs.Job", "execute", [place]) for place in [*places, *([0] * (count - len(places)))]])


def screen(shown: str) -> list[str]:
    """Return the lines that stand on the terminal in the end: what is erased is gone."""
    plain = re.sub(r"\x1b\[\d+m", "", shown)
    return [line.rpartition("\r\x1b[K")[2] for line in plain.split("\n")]


def test_many_due_jobs_show_a_bar_and_of_each_job_only_that_it_failed(project: Project) -> None:
    queue(150, 7, 8)

    code, shown = project.tick_on_terminal()

    raised, crashed, summary, rest = screen(shown)
    assert code == 0
    assert re.search(BAR, re.sub(r"\x1b\[\d+m", "", shown))
    assert re.fullmatch(r"  \S+ app\.jobs\.Job\.execute \.+ \S+ FAIL", raised)
    assert re.fullmatch(r"  \S+ app\.jobs\.Job\.execute \.+ \S+ FAIL", crashed)
    assert re.fullmatch(r"  148 complete, 2 fail in .*", summary)
    assert rest == "", "the last line was left empty"


@pytest.mark.parametrize(
    ("count", "arguments", "environment"),
    [(99, [], {}), (150, ["-v"], {}), (150, [], {"TERM": "dumb"})],
    ids=["few jobs", "-v", "a dumb terminal"],
)
def test_otherwise_each_job_is_told_and_there_is_no_bar(
    project: Project, count: int, arguments: list[str], environment: dict[str, str]
) -> None:
    queue(count)

    _, shown = project.tick_on_terminal(*arguments, **environment)

    assert "draining" not in shown
    assert "\x1b[K" not in shown
    assert shown.count("DONE") == count


def test_where_there_is_no_terminal_each_job_is_told_to_who_asks_for_it(project: Project) -> None:
    queue(150)

    done = project.tick("--tell")

    assert done.stdout.count("DONE") == 150
    assert "draining" not in done.stdout


class Screen:
    """A tick on a terminal, read while it runs."""

    def __init__(self, project: Project, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.tick = subprocess.Popen(
            [sys.executable, str(project.runner), *arguments],
            stdout=theirs,
            stderr=theirs,
            cwd=project.folder,
            env=project.environment(TERM="xterm", COLUMNS="100", NO_COLOR="1"),
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.shown = ""

    def lines(self) -> list[str]:
        with contextlib.suppress(OSError):  # nothing new, or closed on the other side
            self.shown += os.read(self._ours, 65_536).decode().replace("\r\n", "\n")
        return screen(self.shown)

    def close(self) -> None:
        self.tick.kill()
        self.tick.wait()
        os.close(self._ours)


@pytest.fixture
def start(project: Project) -> Iterator[Callable[..., Screen]]:
    started: list[Screen] = []

    def begin(*arguments: str) -> Screen:
        started.append(Screen(project, *arguments))
        return started[-1]

    yield begin
    for each in started:
        each.close()


def test_the_bar_moves_while_jobs_run(start: Callable[..., Screen], project: Project) -> None:
    queue(151, *([0] * 50), 9)

    seen = start()
    wait_until(lambda: re.fullmatch(r"  draining ━+─+ 33 %,  50 of 151 jobs, \S+/s, .* left", seen.lines()[-1]))
    (project.folder / "go").touch()

    assert seen.tick.wait(30) == 0
    assert wait_until(lambda: re.fullmatch(r"  151 complete in .*", seen.lines()[0]))


def test_the_bar_stays_below_the_lines_of_jobs_that_fail(start: Callable[..., Screen], project: Project) -> None:
    queue(150, 9, 7, 7, 7)
    seen = start()
    wait_until(lambda: re.fullmatch(BAR, seen.lines()[-1]) and project.sql(STARTED))

    (project.folder / "go").touch()

    assert seen.tick.wait(30) == 0
    wait_until(lambda: any(" complete" in line for line in seen.lines()))
    below = re.findall(r"FAIL\n(.*?)(?:\r|$)", seen.shown)
    assert len(below) == 3
    assert all(re.fullmatch(BAR, line) for line in below)
    assert [line for line in seen.lines() if "draining" in line] == []


def test_ctrl_c_in_the_middle_leaves_an_empty_line(start: Callable[..., Screen], project: Project) -> None:
    queue(150, 9)
    project.configure("shutdown_grace: 0")
    seen = start()
    wait_until(lambda: re.fullmatch(BAR, seen.lines()[-1]) and project.sql(STARTED))

    seen.tick.send_signal(signal.SIGINT)

    assert seen.tick.wait(30) == 0
    wait_until(lambda: seen.lines()[-1] == "")
    assert "draining" not in "".join(seen.lines())


def test_after_the_backlog_a_runner_that_lingers_tells_of_each_job_again(start: Callable[..., Screen]) -> None:
    queue(150)
    seen = start("--linger", "60s")
    wait_until(lambda: seen.lines()[-1] == "")

    def told() -> bool:
        queue(1)
        return any(line.endswith("DONE") for line in seen.lines())

    wait_until(told)


def test_what_the_runner_has_to_say_stands_in_a_line_of_its_own(start: Callable[..., Screen], project: Project) -> None:
    queue(150, 9)
    seen = start()
    wait_until(lambda: re.fullmatch(BAR, seen.lines()[-1]) and project.sql(STARTED))

    project.database.rename(project.folder / "elsewhere")

    wait_until(lambda: any(re.match(r"bgjob: .* was deleted or replaced", line) for line in seen.lines()))
    (project.folder / "go").touch()
    assert seen.tick.wait(30) == 0


def test_a_runner_that_hands_over_leaves_the_last_line_to_the_next_ones_bar(
    start: Callable[..., Screen], project: Project
) -> None:
    queue(300, 9)
    project.configure("linger: 60s\nworkers: 1")
    old = start()
    wait_until(lambda: re.fullmatch(BAR.replace("150", "300"), old.lines()[-1]) and project.sql(STARTED))
    new = start()
    wait_until(lambda: re.fullmatch(BAR.replace("150", "300"), new.lines()[-1]))

    (project.folder / "go").touch()

    assert old.tick.wait(30) == 0
    wait_until(lambda: re.search(r"\r\x1b\[K  1 complete in .*\n$", old.shown if old.lines() else ""))
    assert "DONE" not in old.shown
