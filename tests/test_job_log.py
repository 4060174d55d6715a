"""What a job logs stands with its attempt, in between what it prints, and the app's own handlers get it, too."""

from __future__ import annotations

import logging
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from bgjob import logger
from tests.conftest import wait_until
from tests.test_status import bgjob, queue

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import contextlib, io, logging, os, sys, threading
import bgjob

log = bgjob.logger()

class Hostile:
    def __str__(self): raise RuntimeError

class Job:
    def tell(self):
        print("printed before")
        log.info("importing %d rows", 3)
        print("printed after")
        log.warning("one has no name")
    def levels(self):
        log.debug("unheard")
        log.setLevel(logging.DEBUG)
        log.debug("heard")
        log.setLevel(logging.INFO)
    def trouble(self):
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("no good")
    def die(self):
        log.info("the last line")
        os.kill(os.getpid(), 9)
    def elsewhere(self):
        thread = threading.Thread(target=log.info, args=("in a thread",))
        thread.start()
        thread.join()
        if os.fork() == 0:
            bgjob.logger().info("in a child")
            os._exit(0)
        os.wait()
    def diverted(self):
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            log.info("not diverted")
    def wrong(self):
        log.info("%d", "no number")
        log.info("%s", Hostile())
        log.info("goes on")
    def closed(self):
        os.close(2)
        log.info("nowhere to go")
    def much(self):
        for number in range(5_000):
            log.info("line %d", number)
    def configured(self):
        log.info("to all handlers")
"""
METHODS = "tell, levels, trouble, die, elsewhere, diverted, wrong, closed, much, configured"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} (?=[A-Z]+ )")


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("max_retries: 0", methods=METHODS)
    project.write_jobs(JOBS)


def output(project: Project, job_id: int = 1) -> str:
    """Return what is kept of a job's only attempt, without the times."""
    [(text,)] = project.sql("SELECT output FROM attempts WHERE job_id = ?", (job_id,))
    return LINE.sub("", text)


def run(project: Project, method: str, *arguments: str) -> str:
    queue(project, f"'{method}'")
    project.tick(*arguments)
    return output(project)


def test_lines_stand_with_the_attempt_with_time_and_level_between_what_it_printed(project: Project) -> None:
    told = run(project, "tell")

    assert told == ("printed before\nINFO importing 3 rows\nprinted after\nWARNING one has no name\n")
    assert project.sql("SELECT outcome FROM attempts") == [("succeeded",)]
    shown = bgjob(project, "show", "1").stdout
    assert re.search(r"\n    \d{4}-\d\d-\d\d [\d:.]{15} INFO importing 3 rows\n    printed after\n", shown)


def test_lines_are_told_from_info_on_unless_the_job_says_otherwise(project: Project) -> None:
    assert run(project, "levels") == "DEBUG heard\n"


def test_an_exception_is_logged_with_its_traceback(project: Project) -> None:
    told = run(project, "trouble")

    assert told.startswith("ERROR no good\nTraceback (most recent call last):\n")
    assert told.endswith("ZeroDivisionError: division by zero\n")


def test_a_kill_loses_no_line(project: Project) -> None:
    assert run(project, "die") == "INFO the last line\n"
    assert project.jobs("status") == [("failed",)]


def test_threads_and_children_of_the_job_log_as_it_does(project: Project) -> None:
    assert run(project, "elsewhere") == "INFO in a thread\nINFO in a child\n"


def test_a_job_that_diverts_its_output_does_not_divert_what_it_logs(project: Project) -> None:
    assert run(project, "diverted") == "INFO not diverted\n"


def test_a_line_that_cannot_be_made_stops_no_job(project: Project) -> None:
    told = run(project, "wrong")

    assert told.count("--- Logging error ---") == 2
    assert told.endswith("INFO goes on\n")
    assert project.jobs("status") == [("completed",)]


def test_a_closed_standard_error_stops_no_job(project: Project) -> None:
    queue(project, "'closed'")

    project.tick()

    assert project.jobs("status") == [("completed",)]


def test_of_very_many_lines_the_first_and_the_last_are_kept(project: Project) -> None:
    told = run(project, "much")

    assert "INFO line 0\n" in told
    assert " bytes left out …]\n" in told
    assert told.endswith("INFO line 4999\n")


SETUPS = {
    "a file": "logging.basicConfig(filename='app.log', format='%(message)s')",
    "standard error": "logging.basicConfig(format='%(message)s')",
    "standard output": "logging.basicConfig(stream=sys.stdout, format='%(message)s')",
    "errors on standard error": "logging.basicConfig(); logging.getLogger().handlers[0].setLevel('ERROR')",
}


@pytest.mark.parametrize(
    ("setup", "kept", "in_file"),
    [
        ("a file", "INFO to all handlers\n", "to all handlers\n"),
        ("standard error", "to all handlers\n", ""),
        ("standard output", "to all handlers\n", ""),
        ("errors on standard error", "INFO to all handlers\n", ""),
    ],
)
def test_the_apps_own_handlers_get_the_lines_and_none_is_told_twice(
    project: Project, setup: str, kept: str, in_file: str
) -> None:
    project.configure("boot: app.boot", methods=METHODS)
    project.write_jobs(f"import logging, sys\n{SETUPS[setup]}\n", "boot")

    told = run(project, "configured")

    assert told == kept
    assert "\n".join([*project.trace("app.log"), ""]) == (in_file or "")


def test_a_logger_that_was_asked_for_in_boot_works_in_jobs(project: Project) -> None:
    project.configure("boot: app.boot", methods=METHODS)
    project.write_jobs("import bgjob\nbgjob.logger()\n", "boot")

    assert run(project, "configured") == "INFO to all handlers\n"


def test_in_the_runners_own_process_the_lines_go_where_its_own_go(project: Project) -> None:
    queue(project, "'configured'")

    done = project.tick("--in-process")

    assert done.stderr.endswith(" INFO to all handlers\n")
    assert project.sql("SELECT output FROM attempts") == []


def test_outside_of_a_worker_it_is_a_logger_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    log = logger()

    log.info("seen by %s", "the app")
    log.debug("unheard")

    assert log is logger() is logging.getLogger("bgjob.job")
    assert log.handlers == []
    assert caplog.messages == ["seen by the app"]


def test_the_apps_level_for_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("bgjob.job"), "level", logging.ERROR)

    assert logger().level == logging.ERROR


def test_a_running_jobs_lines_are_kept_when_its_worker_is_killed_from_outside(project: Project) -> None:
    project.write_jobs(
        "import bgjob, time\nclass Job:\n    def tell(self):\n        bgjob.logger().info('begun')\n"
        "        open('begun', 'w').close()\n        time.sleep(60)\n"
    )
    queue(project, "'tell'")
    tick = project.start_tick()
    wait_until((project.folder / "begun").exists)
    [(worker,)] = project.jobs("worker")

    os.kill(int(worker.split(maxsplit=1)[0]), signal.SIGKILL)
    tick.communicate(timeout=30)

    assert output(project) == "INFO begun\n"
