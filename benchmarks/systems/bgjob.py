"""bgjob as its users run it: a config file, background_runner.py, logs, lock, approval, isolation, time-outs."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import bgjob

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = "benchmarks.jobs.Jobs"
CONFIG = f"""\
approved_classes: [{JOBS}]
approved_methods: [nothing, compute, mark, wait]
durability: {os.environ.get("BENCH_VARIANT") or "full"}
"""
RUNNER = 'from bgjob.tick import main\n\nif __name__ == "__main__":\n    main(__file__)\n'
DATABASE = "storage/jobs.sqlite3"

# Rows that are none of a drain's business. Far off: in a hundred years. Distinct: no two of one priority.
OTHERS = {
    "finished": "'completed', 0, NULL, :now",
    "delayed at higher priority": "'pending', 100 + i % 10, :far_off, NULL",
    "all priorities distinct": "'pending', i, :far_off, NULL",
    "due at lower priority": "'pending', -1 - i % 10, NULL, NULL",
    "fallen due at once": "'pending', i % 10, :now, NULL",
}
FILL = """
    WITH RECURSIVE counted(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counted WHERE i < :rows)
    INSERT INTO custom_jobs (job_class, method, created_at, updated_at, status, priority, available_at, finished_at)
    SELECT :jobs, 'nothing', :now, :now, {} FROM counted
"""

cold = f"from bgjob import run_background_job; run_background_job({JOBS!r}, 'nothing')"


def prepare() -> None:
    """Write the config and the runner; the first queued job makes the database."""
    Path("config").mkdir()
    Path("config/jobs.yaml").write_text(CONFIG, encoding="utf-8")
    Path("background_runner.py").write_text(RUNNER, encoding="utf-8")


def queue(name: str, *arguments: float, priority: int = 0) -> None:
    """Queue one job."""
    bgjob.run_background_job(JOBS, name, arguments, priority)


def queue_many(name: str, count: int) -> None:
    """Queue so many jobs in one call."""
    bgjob.run_background_jobs([(JOBS, name)] * count)


def waiting() -> int:
    """Return how many jobs are not done."""
    with _database() as database:
        found = database.execute("SELECT count(*) FROM custom_jobs WHERE status IN ('pending', 'processing')")
        return int(found.fetchone()[0])


def drain(workers: int) -> list[list[str]]:
    """Return the command of a tick; its runner forks the workers."""
    return [[*tick(), "--workers", str(workers)]]


def tick() -> list[str]:
    """Return what stands in the crontab."""
    return [sys.executable, "background_runner.py"]


def daemon() -> list[str]:
    """Return the command of a runner that stays."""
    return [*tick(), "--linger", "1h"]


def fill(kind: str, rows: int) -> None:
    """Add so many rows of a kind (see OTHERS) by SQL."""
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    values = {"now": _text(now), "far_off": _text(now + dt.timedelta(days=36_000)), "jobs": JOBS, "rows": rows}
    with _database() as database, database:
        database.execute(FILL.format(OTHERS[kind]), values)


def fallen_due_anew() -> list[int]:
    """Make all waiting rows such as have just fallen due; return the ids of the first 20,000 in the promised order."""
    with _database() as database, database:
        database.execute("UPDATE custom_jobs SET promoted = 0 WHERE status = 'pending' AND promoted = 1")
        order = (
            "SELECT id FROM custom_jobs WHERE status = 'pending' ORDER BY priority DESC, available_at, id LIMIT 20000"
        )
        return [number for (number,) in database.execute(order)]


def started() -> list[tuple[int, float]]:
    """Return id and start, in seconds, of all jobs that were begun, in the order of their starts."""
    with _database() as database:
        rows = database.execute(
            "SELECT id, started_at FROM custom_jobs WHERE started_at IS NOT NULL ORDER BY started_at"
        )
        return [(number, dt.datetime.fromisoformat(text + "+00:00").timestamp()) for number, text in rows]


@contextlib.contextmanager
def _database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(DATABASE, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def _text(moment: dt.datetime) -> str:
    return moment.isoformat(" ", "microseconds")
