"""django-tasks with its database backend on SQLite, as Django comes: a rollback journal, synced."""

from __future__ import annotations

import sqlite3
import sys

import django
from django.conf import settings

from benchmarks import jobs

FILE = "django.sqlite3"
WAITING = "SELECT count(*) FROM django_tasks_database_dbtaskresult WHERE status IN ('READY', 'RUNNING')"
PROGRAM = """
import sys
import benchmarks.systems.django_tasks
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "db_worker", "-v", "0", *sys.argv[1:]])
"""

if not settings.configured:
    settings.configure(
        SECRET_KEY="for a benchmark",
        USE_TZ=True,
        INSTALLED_APPS=["django_tasks", "django_tasks_db"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FILE, "OPTIONS": {"timeout": 30}},
        },
        TASKS={"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()

from django_tasks import task

cold = "from benchmarks.systems import django_tasks; django_tasks.nothing.enqueue()"


@task()
def nothing() -> None:
    """Do nothing."""


@task()
def compute() -> None:
    """Use a millisecond."""
    jobs.compute()


@task()
def mark() -> None:
    """Write down when it began."""
    jobs.mark()


@task()
def wait(queued: float) -> None:
    """Write down how long it waited."""
    jobs.wait(queued)


def prepare() -> None:
    """Make the tables."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def queue(name: str, *arguments: float) -> None:
    """Queue one job."""
    globals()[name].enqueue(*arguments)


def waiting() -> int:
    """Return how many jobs are not done."""
    connection = sqlite3.connect(FILE, timeout=30)
    found = connection.execute(WAITING).fetchone()[0]
    connection.close()
    return int(found)


def drain(workers: int) -> list[list[str]]:
    """Return the commands of so many workers that end when nothing is due."""
    return [tick()] * workers


def tick() -> list[str]:
    """Return what a crontab line would start."""
    return [sys.executable, "-c", PROGRAM, "--batch", "--no-startup-delay"]
