"""tinyjobs on SQLite, as it comes: WAL and synchronous NORMAL."""

from __future__ import annotations

import sqlite3
import sys

from tinyjobs import TinyJobs

from benchmarks import jobs

PROGRAM = "from benchmarks.systems.tinyjobs import app; {}"

app = TinyJobs("sqlite:///tinyjobs.sqlite3", busy_timeout=30.0)
cold = "from benchmarks.systems import tinyjobs; tinyjobs.nothing.enqueue(); tinyjobs.app.close()"


@app.task
def nothing() -> None:
    """Do nothing."""


@app.task
def compute() -> None:
    """Use a millisecond."""
    jobs.compute()


@app.task
def mark() -> None:
    """Write down when it began."""
    jobs.mark()


@app.task
def wait(queued: float) -> None:
    """Write down how long it waited."""
    jobs.wait(queued)


def prepare() -> None:
    """Make the tables."""
    app.start()


def queue(name: str, *arguments: float) -> None:
    """Queue one job."""
    globals()[name].enqueue(*arguments)


def waiting() -> int:
    """Return how many jobs are not done."""
    connection = sqlite3.connect("tinyjobs.sqlite3", timeout=30)
    found = connection.execute("SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')").fetchone()[0]
    connection.close()
    return int(found)


def drain(workers: int) -> list[list[str]]:
    """Return the commands of so many processes that run what is due."""
    return [tick()] * workers


def tick() -> list[str]:
    """Return what a crontab line would start."""
    return [sys.executable, "-c", PROGRAM.format("app.drain(); app.close()")]


def daemon() -> list[str]:
    """Return the command of a worker with its own polling."""
    return [sys.executable, "-c", PROGRAM.format("app.worker().run()")]
