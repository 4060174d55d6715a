"""The demo behind `make demo`: queue a handful of jobs, run them, show the table and the logs.

It uses config/demo.yaml, so its database and logs are under storage/demo, thrown away at each start.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bgjob import run_background_job

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config" / "demo.yaml"
STORAGE = ROOT / "storage" / "demo"
MOST_TICKS = 5
SHOWN_JOBS = """
    SELECT id, job_class || '.' || method, priority, status, retry_count, available_at FROM custom_jobs ORDER BY id
"""

JOBS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("a plain job", ("app.custom_jobs.ExampleJob",), {}),
    ("with params", ("app.custom_jobs.ExampleJob", "execute", {"message": "I was given a message."}), {}),
    ("high priority: first of all", ("app.custom_jobs.ReportJob", "execute", {"folder": "app"}), {"priority": 10}),
    (
        "delayed: not before two seconds",
        ("app.custom_jobs.ExampleJob", "execute", ["I was told to wait."]),
        {"delay": 2},
    ),
    ("fails at its first attempt", ("app.custom_jobs.FlakyJob",), {"priority": 5}),
]


def main() -> int:
    """Tell the story from start to end; return 0 when every job completed."""
    os.chdir(ROOT)
    os.environ["BGJOB_CONFIG"] = str(CONFIG)
    shutil.rmtree(STORAGE, ignore_errors=True)

    heading("1. The app queues jobs. Each is in the database when the call has returned True.")
    queue()
    heading("2. The table custom_jobs: everything waits.")
    show_table()
    run_until_nothing_waits()
    heading("4. The table afterwards.")
    show_table()
    heading("5. The logs.")
    show_logs()
    return 0 if all(status == "completed" for (status,) in rows("SELECT status FROM custom_jobs")) else 1


def queue() -> None:
    """Queue each of JOBS, and print the call as one would write it."""
    for why, positional, named in JOBS:
        call = ", ".join([*map(repr, positional), *(f"{name}={value!r}" for name, value in named.items())])
        say(f"# {why}\nrun_background_job({call})  ->  {run_background_job(*positional, **named)}")


def run_until_nothing_waits() -> None:
    """Start the runner as cron would, but as soon as something is due instead of each minute."""
    command = ["background_runner.py", "--config", str(CONFIG.relative_to(ROOT)), "-v"]
    for tick in range(1, MOST_TICKS + 1):
        heading(f"3.{tick} Cron starts the runner: python {' '.join(command)}")
        subprocess.run([sys.executable, *command], check=False)  # noqa: S603 - our own program, fixed arguments
        seconds = seconds_until_due()
        if seconds is None:
            return
        say(f"\n(a job waits for its time, {seconds:.1f} s from now; cron would look again within a minute)")
        time.sleep(seconds)


def seconds_until_due() -> float | None:
    """Return how long the next waiting job has to wait still, None if no job waits."""
    times = [text for (text,) in rows("SELECT available_at FROM custom_jobs WHERE status = 'pending'")]
    if not times:
        return None
    instants = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in times if text]
    return max(0.0, (min(instants) - datetime.now(UTC)).total_seconds()) if len(instants) == len(times) else 0.0


def show_table() -> None:
    """Print the jobs in columns."""
    head = ("id", "job_class.method", "priority", "status", "retry_count", "available_at")
    jobs = rows(SHOWN_JOBS)
    lines = [head, *(tuple("" if value is None else str(value) for value in job) for job in jobs)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip())


def show_logs() -> None:
    """Print both log files whole."""
    for name in ("background_jobs.log", "background_jobs_errors.log"):
        path = STORAGE / "logs" / name
        say(f"--- {path.relative_to(ROOT)}")
        say(path.read_text(encoding="utf-8") if path.exists() else "(not there: nothing to say)\n")


def rows(query: str) -> list[tuple[Any, ...]]:
    """Return the rows of `query` on the demo's database, opened for reading only."""
    with closing(sqlite3.connect(f"{(STORAGE / 'jobs.sqlite3').as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def heading(text: str) -> None:
    """Print a line that tells what comes next."""
    say(f"\n== {text}\n")


def say(text: str) -> None:
    """Print at once, for the runner writes to the same terminal."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
