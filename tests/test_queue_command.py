"""`bgjob queue`: the same checks and errors as the function, times as delays, and files of jobs, all or none."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest

from bgjob import clock
from tests.test_status import bgjob

if TYPE_CHECKING:
    from tests.conftest import Project

COLUMNS = "job_class, method, params, priority"
JOB = "app.jobs.Job"


@pytest.fixture(autouse=True)
def two_methods(project: Project) -> None:
    project.configure(methods="execute, rebuild")


@pytest.mark.parametrize(
    ("words", "row"),
    [
        ([JOB], (JOB, "execute", None, 0)),
        ([JOB, "rebuild"], (JOB, "rebuild", None, 0)),
        ([JOB, "rebuild", '{"a": "ü"}', "--priority", "-3"], (JOB, "rebuild", '{"a":"ü"}', -3)),
        ([JOB, '{"a": 1}'], (JOB, "execute", '{"a":1}', 0)),
        ([JOB, " [1, 2]", "--priority", "7"], (JOB, "execute", "[1,2]", 7)),
        ([JOB, "execute", "null"], (JOB, "execute", None, 0)),
    ],
)
def test_one_job_is_queued_as_the_words_say(project: Project, words: list[str], row: tuple[object, ...]) -> None:
    done = bgjob(project, "queue", *words)

    assert done.stdout == f"queued {JOB}\n"
    assert project.jobs(COLUMNS) == [row]
    assert project.jobs("status, available_at") == [("pending", None)]


@pytest.mark.parametrize(("delay", "seconds"), [("90", 90), ("1.5m", 90), ("2h", 7200)])
def test_a_delay_is_a_span(project: Project, delay: str, seconds: float) -> None:
    bgjob(project, "queue", JOB, "--delay", delay)

    [(created, available)] = project.jobs("created_at, available_at")
    assert (clock.from_text(available) - clock.from_text(created)).total_seconds() == seconds


@pytest.mark.parametrize("form", ["{:%Y-%m-%dT%H:%M:%S%z}", "{:%Y-%m-%d %H:%M}"])
def test_at_is_a_time_with_its_zone_or_local_and_never_comes_early(project: Project, form: str) -> None:
    at = (
        (clock.now() + dt.timedelta(days=3))
        .replace(second=0, microsecond=0)
        .astimezone(dt.timezone(dt.timedelta(hours=5)) if "%z" in form else None)
    )

    bgjob(project, "queue", JOB, "--at", form.format(at))

    [(available,)] = project.jobs("available_at")
    assert dt.timedelta(0) <= clock.from_text(available) - at < dt.timedelta(seconds=5)


def test_the_config_that_is_named_is_the_one_that_counts(project: Project) -> None:
    other = project.folder / "config" / "other.yaml"
    other.write_text(f"approved_classes: [{JOB}]\napproved_methods: [execute]\ndatabase: storage/other.sqlite3\n")

    done = bgjob(project, "queue", "--json", "--config", str(other), JOB)

    assert json.loads(done.stdout) == {"command": "queue", "jobs": 1}
    assert not project.database.exists()
    assert (project.folder / "storage" / "other.sqlite3").exists()


LINES = """
{"job_class": "app.jobs.Job", "params": {"n": 1}, "priority": 5, "delay": 60}
["app.jobs.Job", "rebuild", [2]]

"app.jobs.Job"
"""


@pytest.mark.parametrize("source", ["lines.jsonl", "-"])
def test_many_come_from_a_file_or_standard_input_in_their_order(project: Project, source: str) -> None:
    (project.folder / "lines.jsonl").write_text("\ufeff" + LINES)

    done = bgjob(project, "queue", "--file", source, typed=LINES)

    assert done.stdout == "queued 3 jobs\n"
    assert project.jobs(COLUMNS) == [
        (JOB, "execute", '{"n":1}', 5),
        (JOB, "rebuild", "[2]", 0),
        (JOB, "execute", None, 0),
    ]


def test_a_line_may_say_at_what_time(project: Project) -> None:
    at = clock.now() + dt.timedelta(days=2)
    line = {"job_class": JOB, "at": at.isoformat()}

    bgjob(project, "queue", "--file", "-", typed=json.dumps(line))

    [(available,)] = project.jobs("available_at")
    assert dt.timedelta(0) <= clock.from_text(available) - at < dt.timedelta(seconds=5)


@pytest.mark.slow
def test_a_hundred_thousand_lines_are_queued_all_or_none(project: Project) -> None:
    path = project.folder / "lines.jsonl"
    good = "".join(f'{{"job_class": "{JOB}", "params": [{n}]}}\n' for n in range(100_000))
    path.write_text(good + '{"job_class": "app.jobs.Jop"}\n')

    refused = bgjob(project, "queue", "--file", str(path), code=1)
    assert refused.stderr.startswith(f"bgjob: {path}, line 100001: 'app.jobs.Jop' is not approved; did you mean")
    assert not project.database.exists() or project.jobs() == []

    path.write_text(good)
    assert bgjob(project, "queue", "--file", str(path)).stdout == "queued 100,000 jobs\n"
    assert project.sql("SELECT count(*), count(DISTINCT params) FROM custom_jobs") == [(100_000, 100_000)]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "which job? Name its class"),
        (["app.jobs.Jop"], 1, "'app.jobs.Jop' is not approved; did you mean 'app.jobs.Job'?"),
        ([JOB, "executed"], 1, "is not approved"),
        ([JOB, "execute", '{"a": 1,\n "b": }'], 2, "PARAMS-JSON: line 2, column 7: Expecting value"),
        ([JOB, "execute", "{'a': 1}"], 2, "PARAMS-JSON: line 1, column 2: Expecting property name"),
        ([JOB, '{"a": 1, "a": 2}'], 2, "PARAMS-JSON: the key 'a' stands twice"),
        ([JOB, "[NaN]"], 1, "params[0] is nan, which JSON can't hold"),
        ([JOB, "execute", "5"], 1, "params must be a dict"),
        ([JOB, "[" * 100_000], 2, "PARAMS-JSON: "),
        ([JOB, "--priority", "high"], 2, "'high' is no priority"),
        ([JOB, "--priority", str(2**63)], 2, "is no priority; any whole number of 64 bits is"),
        ([JOB, "--delay", "soon"], 2, "'soon' is no span"),
        ([JOB, "--delay", "1", "--at", "2999-01-01"], 2, "not allowed with"),
        ([JOB, "--at", "2001-01-01"], 2, "2001-01-01 is past"),
        ([JOB, "--at", "9999-01-01"], 1, "delay must be at most a hundred years"),
        ([JOB, "--at", "sometime"], 2, "'sometime' is no time"),
        ([JOB, "--file", "-"], 2, "with --file each line says all of its job"),
        (["--file", "nowhere.jsonl"], 2, "nowhere.jsonl can't be read: No such file or directory"),
        (["--file", "app"], 2, "app can't be read: Is a directory"),
    ],
)
def test_bad_words_are_one_clear_line_and_queue_nothing(
    project: Project, words: list[str], code: int, told: str
) -> None:
    done = bgjob(project, "queue", *words, code=code)

    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not project.database.exists()


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ('{"job_class": "app.jobs.Job"', 2, "column 29: Expecting ',' delimiter; nothing was queued"),
        ("5", 1, "a line must be a JSON object with job_class, an array, or the class alone as text"),
        ('{"job_clas": "app.jobs.Job"}', 1, "a job must be a mapping with job_class"),
        ('{"job_class": "app.jobs.Job", "delay": -1}', 1, "delay must not be negative"),
        ('{"job_class": "app.jobs.Job", "delay": 1, "at": "2999-01-01"}', 1, "delay and at contradict each other"),
        ('{"job_class": "app.jobs.Job", "at": 5}', 1, "at must be a time as text"),
        ('{"job_class": "app.jobs.Job", "at": "never"}', 2, "'never' is no time"),
        ('{"job_class": "app.jobs.Job", "params": {"a": 1, "a": 2}}', 2, "the key 'a' stands twice"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_none_is_queued(
    project: Project, line: str, code: int, told: str
) -> None:
    (project.folder / "lines.jsonl").write_text(f'"{JOB}"\n\n{line}\n"{JOB}"\n')

    done = bgjob(project, "queue", "--file", "lines.jsonl", code=code)

    assert done.stderr.startswith("bgjob: lines.jsonl, line 3: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not project.database.exists()


def test_bytes_that_are_no_text_are_named_by_their_line(project: Project) -> None:
    (project.folder / "lines.jsonl").write_bytes(b'"app.jobs.Job"\n"\xff"\n')

    done = bgjob(project, "queue", "--file", "lines.jsonl", code=1)

    assert "lines.jsonl, line 2: byte 2 is no UTF-8" in done.stderr


def test_a_file_without_a_job_is_no_match(project: Project) -> None:
    assert (
        bgjob(project, "queue", "--file", "-", code=1, typed="\n\n").stderr
        == "bgjob: there is no job in standard input\n"
    )
