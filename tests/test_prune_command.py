"""`bgjob prune` removes finished rows that are old enough, at once; never one that is pending or processing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from bgjob import clock, run_background_job
from bgjob.store import upkeep
from bgjob.store.connection import Database
from bgjob.store.upkeep import STRETCH
from tests.test_byhand import on_terminal
from tests.test_status import bgjob

if TYPE_CHECKING:
    from tests.conftest import Project

DAY = 86_400.0
STATUSES = ("pending", "processing", "completed", "failed", "cancelled")


def insert(project: Project, days: float, *statuses: str) -> None:
    """Insert a row for each status that ended so many days ago, with an attempt."""
    Database(str(project.database)).close()
    then = clock.to_text(clock.later(clock.now(), -days * DAY))
    for status in statuses:
        owner = (1, "1 2 3") if status == "processing" else (None, None)
        project.sql(
            "INSERT INTO custom_jobs (job_class, method, status, updated_at, finished_at, runner, worker)"
            " VALUES ('app.jobs.Job', 'execute', ?, ?, ?, ?, ?)",
            (status, then, then, *owner),
        )
        project.sql(
            "INSERT INTO attempts (job_id, attempt, outcome, finished_at)"
            " SELECT max(id), 1, 'raised', '' FROM custom_jobs"
        )


def left(project: Project) -> list[str]:
    return [status for _, status in project.jobs()]


def test_what_is_older_than_the_config_keeps_goes_with_its_attempts_and_the_log_gets_one_line(project: Project) -> None:
    project.configure("keep: {completed: 7d, failed: 30d, cancelled: 1d}")
    insert(project, 40, *STATUSES)
    insert(project, 10, *STATUSES)
    insert(project, 0.5, *STATUSES)

    done = bgjob(project, "prune")

    assert done.stdout == "pruned 5 jobs (2 completed, 1 failed, 2 cancelled)\n"
    assert left(project) == ["pending", "processing", "pending", "processing", "failed", *STATUSES]
    assert project.sql("SELECT job_id FROM attempts") == project.jobs("id")
    assert re.fullmatch(r".{26} INFO prune who=\S+@\S+ completed=2 failed=1 cancelled=2\n", project.log())


def test_a_span_and_a_status_are_another_measure(project: Project) -> None:
    insert(project, 2, *STATUSES)
    insert(project, 0.5, *STATUSES)

    assert bgjob(project, "prune", "--older-than", "1d", "--status", "failed").stdout == "pruned 1 job (1 failed)\n"
    assert bgjob(project, "prune", "--status", "failed").stdout == "pruned 0 jobs\n"
    assert bgjob(project, "prune", "--older-than", "13h").stdout == "pruned 2 jobs (1 completed, 1 cancelled)\n"
    assert bgjob(project, "prune", "--older-than", "0").stdout.startswith("pruned ")
    assert left(project) == ["pending", "processing", "pending", "processing"]


def test_a_dry_run_counts_and_changes_nothing(project: Project) -> None:
    insert(project, 40, *STATUSES, *["completed"] * 20)
    before = project.jobs("*")

    done = bgjob(project, "prune", "--dry-run")
    document = json.loads(bgjob(project, "prune", "--dry-run", "--json").stdout)

    assert done.stdout == "would prune 23 jobs (21 completed, 1 failed, 1 cancelled)\n"
    assert document == {
        "command": "prune", "dry_run": True, "jobs": 23, "by_status": {"completed": 21, "failed": 1, "cancelled": 1}
    }  # fmt: skip
    assert project.jobs("*") == before
    assert project.log() == ""


def test_before_many_it_asks_on_a_terminal_and_elsewhere_takes_yes(project: Project) -> None:
    insert(project, 40, *["completed"] * 11)

    refused = bgjob(project, "prune", code=2)
    no = on_terminal(project, "prune", typed="n\n")
    assert len(left(project)) == 11
    yes = on_terminal(project, "prune", typed="y\n")

    assert (
        refused.stderr
        == "bgjob: this would prune 11 jobs (11 completed); say --yes to do it, or --dry-run to look first\n"
    )
    assert no[0] == 1
    assert "prune 11 jobs (11 completed)? [y/N] n\nbgjob: nothing was changed\n" in no[1]
    assert (yes[0], left(project)) == (0, [])
    assert yes[1].endswith("pruned 11 jobs (11 completed)\n")
    insert(project, 40, *["completed"] * 11)
    assert json.loads(bgjob(project, "prune", "--yes", "--json").stdout)["jobs"] == 11


def test_nothing_to_prune_is_no_failure_and_without_a_database_none_is_made(project: Project) -> None:
    assert bgjob(project, "prune").stdout == "pruned 0 jobs\n"
    assert not project.database.exists()
    insert(project, 0, *STATUSES)
    assert bgjob(project, "prune").stdout == "pruned 0 jobs\n"
    assert project.log() == ""


def test_a_wrong_span_or_status_is_2(project: Project) -> None:
    assert "'a while' is no span" in bgjob(project, "prune", "--older-than", "a while", code=2).stderr
    assert "invalid choice: 'pending'" in bgjob(project, "prune", "--status", "pending", code=2).stderr


def test_many_go_a_stretch_at_a_time_and_between_two_others_can_write(project: Project) -> None:
    insert(project, 40, *["completed"] * 3)
    then = clock.to_text(clock.later(clock.now(), -40 * DAY))
    project.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
        " INSERT INTO custom_jobs (job_class, method, status, finished_at)"
        " SELECT 'app.jobs.Job', 'execute', 'completed', :then FROM n",
        {"count": 3 * STRETCH, "then": then},
    )
    database = Database(str(project.database))
    steps = upkeep.prune(database, upkeep.cutoffs({"completed": DAY}, clock.now()))

    first = next(steps)
    run_background_job("app.jobs.Job")
    rest = [len(gone) for gone in steps]

    database.close()
    assert first == ["completed"] * STRETCH
    assert rest == [STRETCH, STRETCH, 3]
    assert left(project) == ["pending"]
