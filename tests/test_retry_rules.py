"""Whether a job is tried again may hang on what it raised: retry_on and fail_on, in the config or on its class."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bgjob.config import parse_config
from bgjob.errors import ConfigError
from bgjob.retry import ruling

if TYPE_CHECKING:
    from bgjob.config import ClassRules
    from tests.conftest import Project

LISTS = "approved_classes: [app.jobs.Job]\napproved_methods: [execute]\n"


def rules(text: str = "") -> ClassRules:
    return parse_config((LISTS + text).encode(), "/srv/app/config/jobs.yaml").classes["app.jobs.Job"]


def why(error: type, text: str = "", **own: tuple[type, ...]) -> str | None:
    return ruling(error, rules(text), **own)


class Shouting(type):
    """A metaclass whose own code must not run."""

    def __eq__(cls, _other: object) -> bool:
        raise AssertionError

    def __hash__(cls) -> int:
        raise AssertionError


class HostileError(Exception, metaclass=Shouting):
    pass


ON_FAIL_ON = "not retried: ValueError stands on fail_on"
NOT_ON_RETRY_ON = "not retried: it does not stand on retry_on"


# The decision


def test_without_lists_every_exception_may_be_tried_again() -> None:
    assert [why(error) for error in (ValueError, OSError, SystemExit, HostileError)] == [None] * 4


def test_what_stands_on_fail_on_is_not_tried_again_nor_is_what_derives_from_it() -> None:
    assert why(ValueError, "fail_on: [ValueError]") == ON_FAIL_ON
    assert why(UnicodeDecodeError, "fail_on: [builtins.ValueError]") == ON_FAIL_ON
    assert why(KeyError, "fail_on: [ValueError]") is None


def test_with_retry_on_nothing_else_is_tried_again() -> None:
    assert why(ConnectionError, "retry_on: [OSError]") is None
    assert why(ValueError, "retry_on: [OSError]") == NOT_ON_RETRY_ON


@pytest.mark.parametrize(
    ("retry_on", "fail_on", "error", "again"),
    [
        ("OSError", "FileNotFoundError", ConnectionError, True),
        ("OSError", "FileNotFoundError", FileNotFoundError, False),
        ("ConnectionError", "Exception", ConnectionResetError, True),
        ("ConnectionError", "Exception", ValueError, False),
        ("ConnectionError", "Exception", SystemExit, False),
        ("ValueError", "ValueError", ValueError, False),
        ("LookupError", "ValueError", TypeError, False),
    ],
)
def test_of_both_lists_the_one_with_the_nearest_class_decides(
    retry_on: str, fail_on: str, error: type, *, again: bool
) -> None:
    assert (why(error, f"retry_on: [{retry_on}]\nfail_on: [{fail_on}]") is None) == again


def test_a_name_under_which_a_package_shows_an_exception_is_known_too() -> None:
    assert json.JSONDecodeError.__module__ == "json.decoder"
    for name in ("json.JSONDecodeError", "json.decoder.JSONDecodeError"):
        assert why(json.JSONDecodeError, f"fail_on: [{name}]") == (
            "not retried: json.decoder.JSONDecodeError stands on fail_on"
        )
    assert why(json.JSONDecodeError, "fail_on: [no.such.JSONDecodeError]") is None


def test_the_lists_of_config_and_class_are_taken_together() -> None:
    assert why(ValueError, "fail_on: [KeyError]", fail_on=(ValueError,)) == ON_FAIL_ON
    assert why(KeyError, "retry_on: [OSError]", retry_on=(LookupError,)) is None
    assert why(KeyError, retry_on=(ValueError,)) == NOT_ON_RETRY_ON
    assert why(KeyError, "retry_on: [LookupError]", fail_on=(KeyError,)) is not None


def test_no_code_of_an_exceptions_metaclass_runs() -> None:
    assert why(HostileError, "fail_on: [a.b]", fail_on=(ValueError, HostileError)) is not None


# The config


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("fail_on: [ConectionError]", "the exception 'ConectionError' is none of Python's own exceptions"),
        ("fail_on: [ConectionError]", "did you mean 'ConnectionError'?"),
        ("fail_on: [print]", "the exception 'print' is none of Python's own exceptions"),
        ("retry_on: ValueError", "retry_on is 'ValueError'; allowed: a list such as [ConnectionError,"),
        ("retry_on: [app..Error]", "the exception 'app..Error' "),
        ("retry_on: [3]", "the exception is '3', which YAML does not read as text"),
    ],
)
def test_a_wrong_list_is_told(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(text)

    assert problem in str(caught.value)


def test_a_class_may_have_lists_of_its_own_instead_of_those_of_all() -> None:
    text = "approved_classes: [{app.jobs.Job: {fail_on: []}}]\napproved_methods: []\nfail_on: [ValueError]\n"
    own = parse_config(text.encode(), "/srv/app/config/jobs.yaml").classes["app.jobs.Job"]

    assert own.fail_on == frozenset()
    assert rules("fail_on: [ValueError]").fail_on == {"builtins.ValueError"}


# Real jobs

JOBS = """
import json, os, time

class BadInput(Exception):
    pass

class Job:
    def value(self): raise ValueError("no good")
    def bad(self): raise BadInput("no good")
    def connection(self): raise ConnectionResetError("gone")
    def crash(self): os._exit(1)
    def overrun(self): time.sleep(60)

class Own(Job):
    fail_on = (BadInput, ValueError)

class Heir(Own):
    pass

class Single(Job):
    fail_on = ValueError

class Wrong(Job):
    fail_on = ("ValueError", 3)

class Property(Job):
    @property
    def fail_on(self): raise RuntimeError
"""
METHODS = "value, bad, connection, crash, overrun"
CLASSES = "app.jobs.Job, app.jobs.Own, app.jobs.Heir, app.jobs.Single, app.jobs.Wrong, app.jobs.Property"


def ran(project: Project, *calls: str, config: str = "") -> list[tuple[Any, ...]]:
    """Run jobs (class.method each) to their end; return how often each was tried again, and its verdict."""
    project.configure(f"max_retries: 1\n{config}", methods=METHODS, classes=CLASSES)
    project.write_jobs(JOBS)
    jobs = [("app.jobs." + name, method) for name, method in (call.split(".") for call in calls)]
    project.python(f"from bgjob import run_background_jobs as queue\nqueue({jobs!r})")
    project.tick()
    return project.sql(
        "SELECT retry_count, (SELECT verdict FROM attempts WHERE job_id = j.id ORDER BY id DESC) "
        "FROM custom_jobs AS j WHERE status = 'failed' ORDER BY j.id"
    )


def test_the_lists_of_the_config_hold_for_real_jobs(project: Project) -> None:
    found = ran(project, "Job.bad", "Job.value", "Job.connection", config="fail_on: [app.jobs.BadInput, OSError]")

    assert found == [
        (0, "not retried: app.jobs.BadInput stands on fail_on"),
        (1, None),
        (0, "not retried: OSError stands on fail_on"),
    ]


def test_retry_on_leaves_the_number_of_retries_as_it_is(project: Project) -> None:
    assert ran(project, "Job.connection", "Job.value", config="retry_on: [ConnectionError]") == [
        (1, None),
        (0, NOT_ON_RETRY_ON),
    ]


def test_a_class_names_them_itself_and_its_heirs_inherit_them(project: Project) -> None:
    assert ran(project, "Own.bad", "Heir.value", "Single.value", "Own.connection") == [
        (0, "not retried: app.jobs.BadInput stands on fail_on"),
        (0, ON_FAIL_ON),
        (0, ON_FAIL_ON),
        (1, None),
    ]


def test_crashes_and_timeouts_are_no_exceptions_and_follow_their_own_rules(project: Project) -> None:
    config = "retry_on: [ConnectionError]\nfail_on: [Exception, bgjob.JobTimeout]\ntimeout: 300ms\nmax_crashes: 5"

    assert ran(project, "Job.crash", "Job.overrun", config=config) == [(1, None), (1, None)]


def test_a_wrong_list_on_a_class_is_told_and_the_attempt_treated_as_usual(project: Project) -> None:
    assert ran(project, "Wrong.value", "Property.value") == [(1, None), (1, None)]
    told = "bgjob: fail_on of the class is ignored: it must be a tuple of exception classes"
    assert project.log(errors=True).count(f"\t{told}\n") == 4
    assert project.sql("SELECT count(*) FROM attempts WHERE traceback LIKE ?", (f"%no good\n{told}\n",)) == [(4,)]


def test_the_log_and_show_tell_why_a_job_was_not_tried_again(project: Project) -> None:
    ran(project, "Own.bad")

    shown = project.python(
        "import sys; sys.argv = ['bgjob', 'show', '1']; from bgjob.cli.main import main; main(); sys.stdout.flush()"
    ).stdout

    assert 'verdict="not retried: app.jobs.BadInput stands on fail_on"' in project.log(errors=True)
    assert "\n  not retried: app.jobs.BadInput stands on fail_on\n  Traceback" in shown
