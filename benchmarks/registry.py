"""The systems that are measured: a module of benchmarks.systems each, all with the same functions.

`NAME:VARIANT` names a system and how durable its queueing is made; a name alone leaves it as it comes.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable


class System(Protocol):
    """A module of benchmarks.systems; every function works on the working directory."""

    cold: str
    """A whole program that queues one job."""
    prepare: Callable[[], None]
    """Make the database in an empty folder."""
    queue: Callable[..., None]
    """Queue one job of benchmarks.jobs, by its name and arguments."""
    waiting: Callable[[], int]
    """Return how many jobs are not done."""
    drain: Callable[[int], list[list[str]]]
    """Return the commands of so many workers; they may end when nothing is due, or not."""


class Kind(NamedTuple):
    """What there is to know about a system before it is imported."""

    module: str
    needs: str
    survives: str
    """What a job that was queued survives: `power` cut, or only a `kill` of processes."""
    share: int
    """A slow system gets so many times fewer jobs to drain."""


SYSTEMS = {
    "bare": Kind("bare", "sqlite3", "power", 1),
    "bare:normal": Kind("bare", "sqlite3", "kill", 1),
    "bgjob": Kind("bgjob", "bgjob", "power", 1),
    "bgjob:normal": Kind("bgjob", "bgjob", "kill", 1),
    "Huey": Kind("huey", "huey", "power", 4),
    "Huey:off": Kind("huey", "huey", "kill", 4),
    "tinyjobs": Kind("tinyjobs", "tinyjobs", "kill", 4),
    "firm-queue": Kind("firm", "firm", "kill", 20),
    "django-tasks": Kind("django_tasks", "django_tasks_db", "power", 40),
}
COLUMNS = ("bgjob", "Huey", "tinyjobs", "firm-queue", "django-tasks")


def is_installed(name: str) -> bool:
    """Return whether what the system needs can be imported."""
    return importlib.util.find_spec(SYSTEMS[name].needs) is not None


def load(name: str) -> System:
    """Import the module of a system, with its variant in force."""
    os.environ["BENCH_VARIANT"] = name.partition(":")[2]
    return cast("System", importlib.import_module(f"benchmarks.systems.{SYSTEMS[name].module}"))
