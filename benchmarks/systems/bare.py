"""A bare queue on `sqlite3`: a durable status for each job, priority order, and nothing else. The yardstick.

No approval, isolation, time-out, retry, delay or log: what SQLite and Python leave at best.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time

from benchmarks import jobs

SYNCHRONOUS = os.environ.get("BENCH_VARIANT") or "full"
SCHEMA = """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, arguments TEXT,
        status TEXT NOT NULL DEFAULT 'waiting', priority INTEGER NOT NULL DEFAULT 0,
        queued REAL NOT NULL, started REAL, finished REAL
    );
    CREATE INDEX next ON jobs (priority DESC, id) WHERE status = 'waiting';
"""
QUEUE = "INSERT INTO jobs (name, arguments, queued) VALUES (?, ?, ?)"
CLAIM = """
    UPDATE jobs SET status = 'running', started = ?
    WHERE id = (SELECT id FROM jobs WHERE status = 'waiting' ORDER BY priority DESC, id LIMIT 1)
    RETURNING id, name, arguments
"""
SETTLE = "UPDATE jobs SET status = 'done', finished = ? WHERE id = ?"

cold = "from benchmarks.systems import bare; bare.queue('nothing')"
_held: list[sqlite3.Connection] = []


def prepare() -> None:
    """Make the table."""
    connection = _connection()
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)


def queue(name: str, *arguments: float) -> None:
    """Queue one job in one transaction."""
    _connection().execute(QUEUE, (name, json.dumps(arguments), time.time()))


def queue_many(name: str, count: int) -> None:
    """Queue so many jobs in one transaction."""
    connection = _connection()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(QUEUE, ((name, "[]", time.time()) for _ in range(count)))
    connection.execute("COMMIT")


def waiting() -> int:
    """Return how many jobs are not done."""
    return int(_connection().execute("SELECT count(*) FROM jobs WHERE status <> 'done'").fetchone()[0])


def drain(workers: int) -> list[list[str]]:
    """Return the commands of so many workers."""
    return [[sys.executable, "-m", "benchmarks.systems.bare"]] * workers


def work() -> None:
    """Run all jobs; settling one and claiming the next are one transaction."""
    connection = _connection()
    claimed = connection.execute(CLAIM, (time.time(),)).fetchall()
    while claimed:
        [(number, name, arguments)] = claimed
        getattr(jobs, name)(*json.loads(arguments))
        now = time.time()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(SETTLE, (now, number))
        claimed = connection.execute(CLAIM, (now,)).fetchall()
        connection.execute("COMMIT")


def _connection() -> sqlite3.Connection:
    if not _held:
        _held.append(sqlite3.connect("bare.sqlite3", timeout=30, isolation_level=None))
        _held[0].execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    return _held[0]


if __name__ == "__main__":
    work()
