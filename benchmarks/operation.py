"""One operation of one system, in a fresh process: `python -m benchmarks.operation SYSTEM OPERATION ...`.

It says one line of JSON at its end.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import registry

Said = dict[str, Any]


def prepare(system: registry.System) -> Said:
    """Make the database."""
    system.prepare()
    return {}


def command(system: registry.System, name: str, *workers: str) -> Said:
    """Return how a program of the system is started; nothing where it has no such program."""
    if name == "cold":
        return {"command": [sys.executable, "-c", system.cold]}
    function = getattr(system, name, None)
    return {"command": function(*map(int, workers)) if function else []}


def load(system: registry.System, name: str, count: str) -> Said:
    """Queue so many jobs between two marks: when the second mark begins, all of them were run."""
    system.queue("mark")
    if hasattr(system, "queue_many"):
        system.queue_many(name, int(count))
    else:
        for _ in range(int(count)):
            system.queue(name)
    system.queue("mark")
    return {"waiting": system.waiting()}


def queue(system: registry.System, count: str) -> Said:
    """Queue so many jobs one by one, as soon as all processes are ready."""
    system.queue("nothing")
    print("ready", flush=True)
    sys.stdin.readline()
    worst, errors = 0.0, 0
    began = time.monotonic()
    for _ in range(int(count)):
        called = time.monotonic()
        try:
            system.queue("nothing")
        except Exception as error:  # noqa: BLE001  # whatever a system raises is counted
            errors += 1
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        worst = max(worst, time.monotonic() - called)
    return {"began": began, "ended": time.monotonic(), "worst": worst, "errors": errors}


def queue_many(system: Any, count: str) -> Said:
    """Queue so many jobs in one call, the second one of the process."""
    system.queue_many("nothing", 1)
    began = time.monotonic()
    system.queue_many("nothing", int(count))
    return {"seconds": time.monotonic() - began}


def send(system: registry.System, count: str, pause: str) -> Said:
    """Queue jobs with a pause between them; each writes down how long it waited since its call began."""
    for number in range(int(count)):
        time.sleep(float(pause) * (0.5 + number * 0.618 % 1))  # an even spread that hits no polling in step
        system.queue("wait", time.monotonic())
    return {}


def waiting(system: registry.System) -> Said:
    """Count what is not done."""
    return {"waiting": system.waiting()}


def fill(system: Any, kind: str, rows: str) -> Said:
    """Add many rows of a kind."""
    system.fill(kind, int(rows))
    return {}


def started(system: Any, since: str) -> Said:
    """Return which jobs were begun since a time, and the times."""
    begun = [(number, moment) for number, moment in system.started() if moment >= float(since)]
    return {"ids": [number for number, _ in begun], "times": [moment for _, moment in begun]}


def fall_due(system: Any) -> Said:
    """Let all waiting rows fall due at once, with a mark before them; return the order that is promised."""
    system.queue("mark", priority=1_000_000)
    return {"ids": system.fallen_due_anew()}


def knock(_: registry.System, database: str) -> Said:
    """Ask for SQLite's write lock again and again until the file `stop` is there; return the longest wait in vain."""
    connection = sqlite3.connect(database, timeout=0, isolation_level=None)
    print("ready", flush=True)
    worst, refused = 0.0, None
    while not Path("stop").exists():
        now = time.monotonic()
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            refused = refused or now
        else:
            worst = max(worst, now - (refused or now))
            refused = None
        time.sleep(0.0005)
    return {"worst": worst}


OPERATIONS = {
    function.__name__: function
    for function in (prepare, command, load, queue, queue_many, send, waiting, fill, started, fall_due, knock)
}


def main() -> None:
    """Do what the command line says."""
    name, operation, *arguments = sys.argv[1:]
    # Whatever a library prints must not get between our lines.
    ours = os.dup(1)
    sys.stdout = os.fdopen(ours, "w")
    os.dup2(2, 1)
    print(json.dumps(OPERATIONS[operation](registry.load(name), *arguments)), flush=True)


if __name__ == "__main__":
    main()
