"""Progress: what is told of it, and the bar that a real terminal shows, with rich and without."""

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
from bgjob.pace import Pace
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Project

WITH_RICH = (
    "import sys; from bgjob.cli.main import main; code = main(); print(bool(sys.modules.get('rich'))); sys.exit(code)"
)
WITHOUT_RICH = f"import sys; sys.modules['rich'] = None; {WITH_RICH}"
LINE = b'{"job_class": "app.jobs.Job"}\n'


# What is told


def test_share_count_rate_and_time_left_are_told() -> None:
    pace = Pace(10_000, now=100.0)

    pace.move(4_500, now=105.0)

    assert pace.told(105.0) == "45 %,  4,500 of 10,000 jobs, 900/s, 7 s left"


def test_before_anything_is_done_no_rate_is_made_up() -> None:
    assert Pace(10, now=0.0).told(5.0) == "0 %,  0 of 10 jobs"


def test_where_nobody_knows_how_many_there_are_only_what_is_done_is_told() -> None:
    pace = Pace(None, now=0.0, unit="lines")

    pace.move(4_500, now=3.0)

    assert pace.told(3.0) == "4,500 lines, 1,500/s"
    assert pace.line("reading", 3.0, columns=80, colours=False) == "reading 4,500 lines, 1,500/s"


def test_the_rate_is_that_of_the_last_minute() -> None:
    pace = Pace(100_000, now=0.0)

    for second in range(1, 601):
        pace.move(100 * min(second, 300) + max(second - 300, 0), now=float(second))

    assert pace.told(600.0).endswith("30,300 of 100,000 jobs, 1.0/s, 19 h 21 min left")


@pytest.mark.parametrize(
    ("done", "seconds", "rate"), [(1, 20, "3.0/min"), (1, 1800, "2.0/h"), (1, 7200, "less than 1/h")]
)
def test_a_slow_rate_is_told_by_the_minute_or_hour(done: int, seconds: float, rate: str) -> None:
    pace = Pace(10, now=0.0)

    pace.move(done, now=seconds)

    assert f" {rate}, " in pace.told(seconds)


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 160])
@pytest.mark.parametrize("colours", [True, False])
def test_the_line_fits_the_terminal(columns: int, colours: bool) -> None:  # noqa: FBT001
    pace = Pace(200_000, now=0.0)
    pace.move(123_456, now=1.0)

    line = pace.line("requeueing", 1.0, columns=columns, colours=colours)

    plain = re.sub(r"\x1b\[\d+m", "", line)
    assert len(plain) < columns
    assert ("\x1b" in line) == (colours and "━" in line)
    assert ("━" in plain) == (columns >= 80)


def test_more_than_all_is_no_error() -> None:
    pace = Pace(10, now=0.0)
    pace.move(12, now=1.0)

    assert "10 jobs" in pace.line("x", 1.0, columns=120, colours=False)
    assert Pace(0, now=0.0).line("x", 0.0, columns=80, colours=False)


# What a terminal shows


class Terminal:
    """A command with its standard error on a terminal, and its standard input and output on pipes."""

    def __init__(self, project: Project, code: str, *arguments: str, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=theirs,
            cwd=project.folder,
            env=project.environment(**{"TERM": "xterm", "COLUMNS": "100", **environment}),
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.shown = ""

    def look(self) -> str:
        """Return all that the terminal has got so far."""
        with contextlib.suppress(OSError):  # nothing new, or closed on the other side
            self.shown += os.read(self._ours, 65_536).decode()
        return self.shown

    def feed(self, line: bytes) -> str:
        assert self.process.stdin
        self.process.stdin.write(line)
        self.process.stdin.flush()
        return self.look()

    def end(self) -> str:
        """Let the command come to its end; return what it printed to standard output."""
        out, _ = self.process.communicate(timeout=30)
        self.look()
        return out.decode()

    def hang_up(self) -> None:
        os.close(self._ours)
        self._ours = -1

    def close(self) -> None:
        if self._ours >= 0:
            os.close(self._ours)
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def terminals(project: Project) -> Iterator[list[Terminal]]:
    project.configure()
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


@pytest.mark.parametrize("code", [WITH_RICH, WITHOUT_RICH], ids=["with rich", "without rich"])
def test_a_terminal_shows_a_bar_while_many_are_read_and_an_empty_line_after(
    project: Project, terminals: list[Terminal], code: str
) -> None:
    terminal = Terminal(project, code, "queue", "--file", "-")
    terminals.append(terminal)

    wait_until(lambda: re.search(r"reading .*\d lines, [\d,]+/s", terminal.feed(LINE)))

    out = terminal.end()
    assert re.match(r"queued [\d,]+ jobs\n", out)
    assert re.search(r"\r(\x1b\[1A\x1b\[2K|\x1b\[K)$", terminal.shown), "the line was left empty"
    assert "\x1b[?25l" not in terminal.shown, "a cursor that is hidden stays hidden when somebody kills us"
    assert out.endswith("True\n" if code == WITH_RICH else "False\n")


def test_ctrl_c_leaves_an_empty_line_and_nothing_queued(project: Project, terminals: list[Terminal]) -> None:
    terminal = Terminal(project, WITH_RICH, "queue", "--file", "-")
    terminals.append(terminal)
    wait_until(lambda: "reading" in terminal.feed(LINE))

    terminal.process.send_signal(signal.SIGINT)
    terminal.end()

    assert terminal.process.returncode == 130
    assert re.search(r"\r\x1b\[1A\x1b\[2K$", terminal.shown)
    assert not project.database.exists()


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["--json"], {}), ([], {"TERM": "dumb"}), ([], {"TERM": ""})],
    ids=["--json", "a dumb terminal", "a terminal of no kind"],
)
def test_nothing_is_shown_where_nobody_could_read_it(
    project: Project, terminals: list[Terminal], arguments: list[str], environment: dict[str, str]
) -> None:
    terminal = Terminal(project, WITH_RICH, "queue", "--file", "-", *arguments, **environment)
    terminals.append(terminal)
    fed = Terminal(project, WITH_RICH, "queue", "--file", "-")
    terminals.append(fed)

    def both() -> bool:
        terminal.feed(LINE)
        return "reading" in fed.feed(LINE)

    wait_until(both)  # the other one shows a bar by now

    assert terminal.end().endswith("False\n")
    assert terminal.shown == ""


def test_what_is_done_in_a_moment_shows_no_bar_and_does_not_wait_for_rich(
    project: Project, terminals: list[Terminal]
) -> None:
    run_background_jobs(["app.jobs.Job"] * 50)
    terminal = Terminal(project, WITH_RICH, "cancel", "--all", "--yes")
    terminals.append(terminal)

    assert terminal.end() == "cancelled 50 jobs\nFalse\n"
    assert terminal.shown == ""


SLOW = (
    "import time; from bgjob.store.byhand import ByHand; real = ByHand.cancel\n"
    "def slow(*words):\n    time.sleep(0.4); return real(*words)\n"
    "import bgjob.steering as s; s.CANCEL = s.CANCEL._replace(act=slow)\n"
)


def test_many_that_are_cancelled_show_a_bar_and_ctrl_c_tells_how_many_it_were(
    project: Project, terminals: list[Terminal]
) -> None:
    run_background_jobs(["app.jobs.Job"] * 5_000)
    terminal = Terminal(project, SLOW + WITH_RICH, "cancel", "--all", "--yes")
    terminals.append(terminal)

    wait_until(lambda: re.search(r"cancelling .*[123],000 of 5,000 jobs, .* left", terminal.look()))
    terminal.process.send_signal(signal.SIGINT)
    terminal.end()

    assert terminal.process.returncode == 130
    done = project.sql("SELECT count(*) FROM custom_jobs WHERE status = 'cancelled'")[0][0]
    assert 1_000 <= done < 5_000
    assert terminal.shown.endswith(f"bgjob: stopped: cancelled {done:,} of 5,000 jobs\r\n")


@pytest.mark.parametrize("code", [WITH_RICH, WITHOUT_RICH], ids=["with rich", "without rich"])
def test_a_terminal_that_is_closed_stops_no_work(project: Project, terminals: list[Terminal], code: str) -> None:
    run_background_jobs(["app.jobs.Job"] * 3_000)
    terminal = Terminal(project, SLOW + code, "cancel", "--all", "--yes")
    terminals.append(terminal)
    wait_until(lambda: "cancelling" in terminal.look())

    terminal.hang_up()

    assert terminal.end().startswith("cancelled 3,000 jobs\n")
    assert terminal.process.returncode == 0


def test_neither_the_runner_nor_queueing_nor_plain_commands_import_rich(project: Project) -> None:
    project.write_jobs(
        "import sys\n\nclass Job:\n    def execute(self):\n        print(bool(sys.modules.get('rich')))\n"
    )
    program = "import sys; from bgjob import run_background_job as queue; queue('app.jobs.Job')"

    assert project.python(f"{program}; print(bool(sys.modules.get('rich')))").stdout == "False\n"
    project.tick_on_terminal()

    assert project.sql("SELECT output FROM attempts") == [("False\n",)]
    for command in ("status", "list"):
        code = f"import sys; sys.argv = ['bgjob', '{command}']; {WITH_RICH}"
        assert project.python(code).stdout.endswith("False\n")
