"""A throw-away project for each test: its own folder, config, app, database and logs; real processes."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from bgjob import clock
from bgjob.store.intake import available_at

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bgjob.store.intake import NewJob

Seen = TypeVar("Seen")

CODE = Path(__file__).resolve().parent.parent
RUNNER = '"""Run one tick."""\n\nfrom bgjob.tick import main\n\nif __name__ == "__main__":\n    main(__file__)\n'


def wait_until(event: Callable[[], Seen], *, limit: float = 30.0) -> Seen:
    """Return what `event` returns as soon as that is true; fail the test when it is not within `limit` seconds."""
    deadline = time.monotonic() + limit
    while not (seen := event()):
        assert time.monotonic() < deadline, f"waited {limit:g} s in vain"
        time.sleep(0.005)
    return seen


def new_job(now: dt.datetime, *, params: str | None = None, priority: int = 0, delay: float = 0.0) -> NewJob:
    """Return what the store is given for a job of app.jobs.Job that is queued at `now`."""
    return {
        "job_class": "app.jobs.Job",
        "method": "execute",
        "params": params,
        "priority": priority,
        "available_at": available_at(delay, now),
        "created_at": clock.to_text(now),
    }


# Whoever starts the tests in the background may have SIGINT ignored, and each child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Project:
    """An app that uses bgjob, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "storage" / "jobs.sqlite3"
        self.runner = folder / "background_runner.py"
        self._started: list[subprocess.Popen[str]] = []
        (folder / "config").mkdir(parents=True)
        (folder / "app").mkdir()
        (folder / "app" / "__init__.py").touch()
        self.runner.write_text(RUNNER)
        self.configure()

    def configure(self, text: str = "", *, methods: str = "execute", classes: str = "app.jobs.Job") -> None:
        """Write a config that approves `classes` and `methods`, with more lines of `text`."""
        retries = "" if "retry_delay" in text else "retry_delay: 0\n"
        (self.folder / "config" / "jobs.yaml").write_text(
            f"approved_classes: [{classes}]\napproved_methods: [{methods}]\n{retries}{text}\n"
        )

    def write_jobs(self, source: str, module: str = "jobs") -> None:
        """Write app/<module>.py."""
        (self.folder / "app" / f"{module}.py").write_text(source)

    def environment(self, **more: str) -> dict[str, str]:
        """Return an environment in which this checkout's bgjob is imported and no config is named."""
        kept = {name: value for name, value in os.environ.items() if name != "BGJOB_CONFIG"}
        return {**kept, "PYTHONPATH": str(CODE), **more}

    def tick(
        self, *arguments: str, check: bool = True, timeout: float = 60, python: Sequence[str] = (), **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run one tick to its end; fail the test unless it exits 0 (or `check=False`). `python`: its options."""
        done = subprocess.run(
            [sys.executable, *python, str(self.runner), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=more.pop("cwd", self.folder),
            env=more.pop("env", self.environment()),
            **more,
        )
        if check:
            assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done

    def start_tick(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        """Start a tick and return at once; one that still runs when the test ends is killed then."""
        started = subprocess.Popen(
            [sys.executable, str(self.runner), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=more.pop("env", self.environment()),
            **more,
        )
        self._started.append(started)
        return started

    def end_started(self) -> None:
        """End what `start_tick` started and the test did not end."""
        for started in self._started:
            started.kill()
            started.wait()
            # Read no more: a worker that outlived its runner, which it must not, would keep us waiting here.
            for pipe in (started.stdout, started.stderr):
                if pipe:
                    pipe.close()

    def tick_on_terminal(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run one tick on a terminal of 100 columns; return its exit code and what stood on the screen."""
        ours, theirs = pty.openpty()
        shown = b""
        try:
            tick = subprocess.Popen(
                [sys.executable, str(self.runner), *arguments],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=self.folder,
                env=self.environment(**{"TERM": "xterm", "COLUMNS": "100", **environment}),
                start_new_session=True,
            )
            os.close(theirs)
            # Linux tells the end of a terminal by an I/O error.
            with contextlib.suppress(OSError):
                while more := os.read(ours, 65_536):
                    shown += more
            return tick.wait(60), shown.decode().replace("\r\n", "\n")
        finally:
            os.close(ours)

    def python(
        self, source: str, *, check: bool = True, timeout: float = 60, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run `source` in a fresh process inside the project, as an app would. `options`: Python's own."""
        done = subprocess.run(
            [sys.executable, *options, "-c", source],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.folder,
            env=self.environment(),
        )
        if check:
            assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done

    def sql(self, statement: str, values: Mapping[str, object] | tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement on the database over a connection of its own, committed."""
        connection = sqlite3.connect(self.database, timeout=30)
        try:
            with connection:
                return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def sql_unchecked(self, statement: str) -> None:
        """Run one statement as a program would that sets the table's CHECKs aside."""
        connection = sqlite3.connect(self.database, timeout=30)
        try:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            with connection:
                connection.execute(statement)
        finally:
            connection.close()

    def jobs(self, columns: str = "id, status") -> list[tuple[Any, ...]]:
        """Return the rows of custom_jobs in the order of their ids."""
        return self.sql(f"SELECT {columns} FROM custom_jobs ORDER BY id")  # noqa: S608  # the test's own columns

    def trace(self, name: str = "trace") -> list[str]:
        """Return the lines that the test's jobs have appended to the file `name` in the project's folder."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def log(self, *, errors: bool = False) -> str:
        """Return what stands in one of the two logs."""
        path = self.folder / "storage" / "logs" / ("background_jobs_errors.log" if errors else "background_jobs.log")
        return path.read_text() if path.exists() else ""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project in a folder of its own, which is also the working directory of the test (so queueing finds it)."""
    made = Project(tmp_path / "project")
    monkeypatch.chdir(made.folder)
    monkeypatch.delenv("BGJOB_CONFIG", raising=False)
    yield made
    made.end_started()
    from bgjob import enqueue

    enqueue._intake._close()
