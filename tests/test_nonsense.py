"""What another program writes past the CHECKs, and other odd things: each hurts itself alone and stops no queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job, run_background_jobs
from tests import test_logs
from tests.test_execution import run_each

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Project

NONSENSE = [
    "params = x'5b5d'",
    "retry_count = 'many'",
    "retry_count = -5",
    "retry_count = x'00'",
    "retry_count = 1.5",
    "crash_count = -7",
    "crash_count = 'many'",
    "available_at = x'00'",
    "available_at = ''",
    "available_at = 'soon'",
    "priority = 'high', available_at = '2026-01-01 00:00:00.000000'",
    "status = 'processing'",
    "status = 'processing', runner = 77",
    "status = 'processing', worker = 'x'",
    "status = 'processing', runner = 'x', worker = 'x'",
    "status = 'processing', runner = 1.5, worker = '0 0 0'",
    "status = 'processing', runner = x'00', worker = '1 2 3'",
    "status = 'processing', runner = 0, worker = '1 2 3'",
]


@pytest.mark.parametrize("body", ["pass", "1 / 0"], ids=["succeeds", "fails"])
@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_row_of_nonsense_stops_no_other_job_in_this_tick_or_the_next(
    project: Project, nonsense: str, body: str
) -> None:
    project.configure("max_retries: 1", classes="app.jobs.Job, app.innocent.Job")
    project.write_jobs(f"class Job:\n    def execute(self):\n        {body}\n")
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n", "innocent")
    run_background_jobs([["app.jobs.Job"], ["app.innocent.Job"]])
    project.sql_unchecked(f"UPDATE custom_jobs SET {nonsense} WHERE id = 1")  # noqa: S608  # our own text

    project.tick()
    run_background_job("app.innocent.Job")
    project.tick()

    innocent = project.sql("SELECT status FROM custom_jobs WHERE job_class = 'app.innocent.Job'")
    assert innocent == [("completed",), ("completed",)]


def test_a_dry_run_tells_of_times_that_are_none(project: Project) -> None:
    run_background_jobs([["app.jobs.Job"]] * 2)
    project.sql_unchecked("UPDATE custom_jobs SET available_at = 'soon' WHERE id = 1")
    project.sql_unchecked("UPDATE custom_jobs SET available_at = x'00' WHERE id = 2")

    done = project.tick("--dry-run")

    assert done.stdout.count("its available_at is no time") == 2


def test_an_async_method_that_returns_a_generator_has_not_run_it(project: Project) -> None:
    source = "def steps():\n    yield\nclass Job:\n    async def execute(self):\n        return steps()\n"

    rows = run_each(project, {"a generator": source})

    assert rows["a generator"][0] == "failed"


def test_an_exception_whose_attributes_exit_is_no_crash(project: Project) -> None:
    odd = "type('E', (Exception,), {'__getattribute__': lambda self, name: exit(name)})"

    rows = run_each(project, {"odd": f"class Job:\n    def execute(self):\n        raise {odd}\n"})

    assert rows["odd"][:3] == ("failed", 1, 0)


@pytest.mark.parametrize(
    "body",
    [
        "raise SyntaxError('x', ('f\\ny', 'three', -5, 5, 'four', 2))",
        """class Meta(type):
            def __getattribute__(cls, name): exit(name)
        raise Meta('E', (Exception,), {})""",
    ],
    ids=["a syntax error of nonsense", "a metaclass that exits"],
)
def test_a_traceback_is_kept_whatever_the_exception_is(project: Project, body: str) -> None:
    run_each(project, {"odd": f"class Job:\n    def execute(self):\n        {body}\n"})

    tracebacks = project.sql("SELECT traceback FROM attempts")
    assert tracebacks
    assert all("app/case_0.py" in traceback for (traceback,) in tracebacks)


@pytest.mark.parametrize(
    "spoil",
    [
        test_logs.a_file_in_the_place_of_the_folder,
        test_logs.folders_in_the_place_of_the_files,
        test_logs.a_full_disk,
        test_logs.pipes_that_nobody_reads,
        test_logs.a_link_that_leads_nowhere,
        test_logs.a_link_that_leads_to_itself,
    ],
)
def test_a_long_tick_without_its_logs_says_so_once(project: Project, spoil: Callable[[Path], object]) -> None:
    project.configure("max_retries: 0", methods="execute, fail")
    project.write_jobs("import time\nclass Job:\n    def execute(self): time.sleep(2.3)\n    def fail(self): 1 / 0\n")
    run_background_jobs([("app.jobs.Job", "fail"), ("app.jobs.Job", "execute")])
    spoil(test_logs.main_log(project).parent)

    done = project.tick()

    assert project.jobs("status") == [("failed",), ("completed",)]
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_an_error_log_alone_that_cannot_be_written_is_told(project: Project) -> None:
    project.configure("max_retries: 0")
    project.write_jobs("class Job:\n    def execute(self): 1 / 0\n")
    run_background_job("app.jobs.Job")
    test_logs.main_log(project).parent.mkdir()
    test_logs.error_log(project).symlink_to("/dev/full")

    done = project.tick()

    assert project.jobs("status") == [("failed",)]
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("end", ["os._exit(0)", "os._exit(3)", "os.abort()"])
def test_a_boot_that_ends_its_process_is_named_and_blamed_on_no_job(project: Project, end: str) -> None:
    project.configure("boot: app.boot")
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n")
    project.write_jobs(f"import os\n{end}\n", "boot")
    run_background_job("app.jobs.Job")

    done = project.tick(check=False)

    assert done.returncode == 78
    assert "app.boot" in done.stderr
    assert project.jobs("status, retry_count, crash_count") == [("pending", 0, 0)]
