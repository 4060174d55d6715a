"""firm-queue on SQLite, as it comes: WAL and synchronous NORMAL."""

from __future__ import annotations

import sqlite3
import sys

import firm.queue
from firm.queue import schema

from benchmarks import jobs

FILE = "firm.sqlite3"
URL = f"sqlite:///{FILE}"
SAME = ["--database-url", URL, "--import", "benchmarks.systems.firm"]
WAITING = [f"SELECT count(*) FROM {table.name}" for table in (schema.ready_executions, schema.claimed_executions)]

runtime = firm.queue.configure(database_url=URL, busy_timeout_ms=30_000)
cold = "from benchmarks.systems import firm; firm.nothing.enqueue()"


@firm.queue.job()
def nothing() -> None:
    """Do nothing."""


@firm.queue.job()
def compute() -> None:
    """Use a millisecond."""
    jobs.compute()


@firm.queue.job()
def mark() -> None:
    """Write down when it began."""
    jobs.mark()


@firm.queue.job()
def wait(queued: float) -> None:
    """Write down how long it waited."""
    jobs.wait(queued)


def prepare() -> None:
    """Make the tables."""
    schema.create_all(runtime.engine)


def queue(name: str, *arguments: float) -> None:
    """Queue one job."""
    globals()[name].enqueue(*arguments)


def waiting() -> int:
    """Return how many jobs are not done."""
    connection = sqlite3.connect(FILE, timeout=30)
    found = sum(connection.execute(statement).fetchone()[0] for statement in WAITING)
    connection.close()
    return int(found)


def drain(workers: int) -> list[list[str]]:
    """Return the commands of so many processes that run what is due."""
    return [[*tick(), "--limit", "1000000"]] * workers


def tick() -> list[str]:
    """Return what a crontab line would start."""
    return [sys.executable, "-m", "firm.queue.cli", "drain", *SAME]
