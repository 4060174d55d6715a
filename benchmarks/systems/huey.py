"""Huey on SQLite, with the consumer that its documentation starts. Variant `off`: without any sync.

It keeps no row for a job that is done, only its result, so each job returns one.
"""

from __future__ import annotations

import logging
import os
import sys

from huey import SqliteHuey

from benchmarks import jobs

SETTINGS = {"fsync": False} if os.environ.get("BENCH_VARIANT") == "off" else {}
huey = SqliteHuey("bench", filename="huey.sqlite3", timeout=30, **SETTINGS)
logging.getLogger("huey").setLevel(logging.WARNING)

cold = "from benchmarks.systems import huey; huey.nothing()"


@huey.task()
def nothing() -> int:
    """Do nothing."""
    return 1


@huey.task()
def compute() -> int:
    """Use a millisecond."""
    jobs.compute()
    return 1


@huey.task()
def mark() -> int:
    """Write down when it began."""
    jobs.mark()
    return 1


@huey.task()
def wait(queued: float) -> int:
    """Write down how long it waited."""
    jobs.wait(queued)
    return 1


def prepare() -> None:
    """Make the tables."""
    huey.pending_count()


def queue(name: str, *arguments: float) -> None:
    """Queue one job."""
    globals()[name](*arguments)


def queue_many(name: str, count: int) -> None:
    """Queue so many jobs to be drained; for this their syncs are left out, which would take long."""
    huey.storage.conn.execute("PRAGMA synchronous = OFF")
    for _ in range(count):
        queue(name)


def waiting() -> int:
    """Return how many jobs are not done."""
    return int(huey.pending_count())


def drain(workers: int) -> list[list[str]]:
    """Return the command of a consumer; more than one worker are processes, for threads share one core."""
    kind = "process" if workers > 1 else "thread"
    return [[*_consumer(), "-w", str(workers), "-k", kind]]


def daemon() -> list[str]:
    """Return the command of a consumer with its own polling."""
    return _consumer()


def _consumer() -> list[str]:
    return [sys.executable, "-m", "huey.bin.huey_consumer", "benchmarks.systems.huey.huey", "-q"]
