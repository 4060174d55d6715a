"""`bgjob status --watch`: look after look, on a terminal and without one, and what it leaves behind."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import pty
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import clock
from bgjob.cli import screen
from bgjob.errors import StoreError
from tests.conftest import CODE, wait_until
from tests.test_status import bgjob, queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture
def start(project: Project) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `bgjob status --watch`, which is ended with the test."""
    started = []

    def begin(*arguments: str, **streams: Any) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | streams
        environment = project.environment(TERM="xterm", LINES="", COLUMNS="")
        command = [sys.executable, "-m", "bgjob", "status", "--watch", *arguments]
        started.append(subprocess.Popen(command, cwd=project.folder, env=environment, **options))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


class Terminal:
    """A terminal of our own, and all that was written to it."""

    def __init__(self, *, lines: int, columns: int) -> None:
        self.ours, self.theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        self.written = ""
        self.resize(lines, columns)

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def seen(self) -> str:
        with contextlib.suppress(OSError):
            while more := os.read(self.ours, 65_536):
                self.written += more.decode()
        return self.written

    def screens(self) -> list[str]:
        """Return what was painted so far, screen by screen."""
        return self.seen().split("\x1b[H")[1:]

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal(lines=24, columns=80)
    yield made
    made.close()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


def line_with(process: subprocess.Popen[str], text: str) -> str:
    """Return the first line that has `text`; the looks before it may have come too early."""
    for _ in range(200):
        if text in (told := line(process)):
            return told
    raise AssertionError(f"{text!r} never came")


def test_without_a_terminal_each_look_is_a_line_and_ctrl_c_ends_it(
    project: Project, start: Callable[..., subprocess.Popen[str]]
) -> None:
    queue(project, "", "")
    process = start("--every", "100ms")

    first, second = line(process), line(process)
    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 0
    assert process.stderr
    assert process.stderr.read() == ""
    for told in (first, second):
        assert told[4] == told[7] == "-"
        assert told[19:] == "  2 pending (2 due), 0 processing, 0 completed, 0 failed\n"


def test_it_sees_a_queue_that_appears_goes_and_is_replaced(
    project: Project, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start("--every", "100ms")

    line_with(process, "there is no database")
    queue(project, "", "")
    line_with(process, "2 pending")
    for name in project.database.parent.iterdir():
        if name.is_file():
            name.unlink()
    line_with(process, "there is no database")
    other = sqlite3.connect(project.database)
    other.execute("PRAGMA application_id = 7")
    other.execute("CREATE TABLE t (x)")
    other.close()
    line_with(process, "belongs to another program")
    project.database.unlink()
    queue(project, "")

    line_with(process, "1 pending")


def test_with_json_each_look_is_a_document_in_a_line(
    project: Project, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start("--every", "100ms", "--json")

    before = json.loads(line(process))
    queue(project, "")
    after = json.loads(line_with(process, '"exists": true'))
    # A look at the moment in which queueing closed the file has left all of the database in its log.
    for log in ("-wal", "-shm"):
        project.database.with_name(f"{project.database.name}{log}").unlink(missing_ok=True)
    project.database.write_text("no database, but long enough to be looked at " * 40)
    broken = json.loads(line_with(process, "error"))

    assert before["exists"] is False
    assert (after["counts"]["pending"], after["due"]) == (1, 1)
    assert "it is no SQLite database" in broken["error"]


def test_a_database_that_can_not_be_used_at_the_first_look_ends_it(project: Project) -> None:
    project.database.parent.mkdir()
    project.database.write_text("no database, but long enough to be looked at " * 40)

    done = bgjob(project, "status", "--watch", code=69)

    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


def test_between_two_looks_nothing_is_held_open(project: Project, start: Callable[..., subprocess.Popen[str]]) -> None:
    queue(project, "")
    process = start("--every", "60s")
    line(process)

    files = [str(file.readlink()) for file in Path(f"/proc/{process.pid}/fd").iterdir()]

    assert files
    assert not [name for name in files if "sqlite3" in name]


def test_whoever_reads_along_may_go_away(project: Project) -> None:
    queue(project, "")

    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bgjob status --watch --every 100ms | head -1; echo ${{PIPESTATUS[0]}}"],
        check=False,
        capture_output=True,
        text=True,
        cwd=project.folder,
        env={**project.environment(), "PYTHONPATH": str(CODE)},
        timeout=60,
    )

    assert done.stdout.splitlines()[1:] == ["0"]
    assert done.stderr == ""


def on(terminal: Terminal) -> dict[str, Any]:
    return {"stdin": terminal.theirs, "stdout": terminal.theirs, "stderr": terminal.theirs, "text": False}


def test_on_a_terminal_it_repaints_the_other_screen_and_leaves_the_last_look(
    project: Project, start: Callable[..., subprocess.Popen[str]], terminal: Terminal
) -> None:
    queue(project, "")
    process = start("--every", "100ms", **on(terminal))
    wait_until(lambda: len(terminal.screens()) > 2)

    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 0
    painted, left = terminal.seen().split(LEAVE)
    assert painted.startswith(ENTER)
    assert "every 100 ms; Ctrl-C ends" in painted
    assert "1 pending (1 due)" in painted
    assert "\x1b[?25h" in terminal.written  # the cursor is back
    assert "1 pending (1 due)" in left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_it_leaves_the_terminal_as_it_was(
    project: Project, start: Callable[..., subprocess.Popen[str]], terminal: Terminal, number: signal.Signals
) -> None:
    queue(project, "")
    process = start(**on(terminal))
    wait_until(terminal.screens)

    process.send_signal(number)

    assert process.wait(30) == 128 + number
    assert terminal.seen().rstrip().endswith(LEAVE)


def test_while_it_is_stopped_the_screen_is_given_back(
    project: Project, start: Callable[..., subprocess.Popen[str]], terminal: Terminal
) -> None:
    queue(project, "")
    # A group of its own, as a shell gives it: the kernel stops no group that nobody could wake (an orphaned one).
    process = start("--every", "60s", **on(terminal), process_group=0)
    wait_until(terminal.screens)

    process.send_signal(signal.SIGTSTP)
    wait_until(lambda: terminal.seen().endswith(LEAVE))
    process.send_signal(signal.SIGCONT)

    wait_until(lambda: terminal.seen().count(ENTER) == 2 and len(terminal.screens()) == 2)


def test_it_fits_the_window_after_a_resize(
    project: Project, start: Callable[..., subprocess.Popen[str]], terminal: Terminal
) -> None:
    queue(project, "")
    process = start("--every", "60s", **on(terminal))
    wait_until(terminal.screens)

    terminal.resize(5, 80)
    process.send_signal(signal.SIGWINCH)
    wait_until(lambda: len(terminal.screens()) > 1 and "more" in terminal.screens()[-1])

    first, last = terminal.screens()[0], terminal.screens()[-1]
    assert first.count("\r\n") < 24
    assert last.count("\r\n") == 4
    assert last.rstrip().endswith("lines more")
    assert "\r\n\x1b[J" in first
    assert "\x1b[J" not in last  # there is nothing below


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--every 5s", "--every goes with --watch"),
        ("--watch --every 0", "--every 0 ms is too often"),
        ("--watch --every soon", "'soon' is no span"),
    ],
)
def test_a_wrong_pace_is_wrong_usage(project: Project, options: str, told: str) -> None:
    assert told in bgjob(project, "status", *options.split(), code=2).stderr.splitlines()[-1]


def test_a_frozen_clock_drives_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [dt.datetime(2026, 11, 24, 2, tzinfo=dt.UTC)]
    monkeypatch.setattr(clock, "now", lambda: now[0])

    def wait(_bell: screen.Bell, seconds: float) -> None:
        now[0] += dt.timedelta(seconds=seconds)
        if now[0].minute == 2:
            raise KeyboardInterrupt

    def look(at: dt.datetime) -> None:
        if at.minute:
            raise StoreError("gone")
        print(at.time())  # noqa: T201  # as a command does

    monkeypatch.setattr(screen.Bell, "wait", wait)

    code = screen.watch(look, lambda what: print(f"! {what}"), every=40.0, on_screen=False)  # noqa: T201  # as above

    assert code == 0
    assert capsys.readouterr().out.splitlines() == ["02:00:00", "02:00:40", "! gone"]
