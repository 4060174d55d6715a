"""The door for apps: what may be queued, what is refused, and that every True is a row."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import types
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from freezegun import freeze_time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bgjob
from bgjob import (
    BgjobError,
    ConfigError,
    InvalidJobError,
    InvalidParamsError,
    NotApprovedError,
    StoreError,
    enqueue,
    in_force,
    run_background_job,
    run_background_jobs,
)
from tests.conftest import Project, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOB = "app.jobs.Job"

# Waits for the path of a config, queues one job by it, and says what came of it: again and again.
QUEUER = f"""
import os, sys
from bgjob import run_background_job
print("ready", flush=True)
for path in sys.stdin:
    os.environ["BGJOB_CONFIG"] = path.strip()
    try:
        print(run_background_job({JOB!r}), flush=True)
    except Exception as error:
        print(repr(error), flush=True)
"""


@pytest.fixture
def start(project: Project) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return the function that starts a Python program inside the project."""
    started: list[subprocess.Popen[str]] = []

    def start_python(*arguments: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=project.folder,
                env=project.environment(),
            )
        )
        return started[-1]

    yield start_python
    for process in started:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def rows(project: Project) -> list[tuple[Any, ...]]:
    """Return what was queued, the time of each job as seconds after it was queued."""
    return [
        (job_class, method, params, priority, available_at and round(seconds_between(created_at, available_at), 6))
        for job_class, method, params, priority, created_at, available_at in project.jobs(
            "job_class, method, params, priority, created_at, available_at"
        )
    ]


def seconds_between(first: str, second: str) -> float:
    return (dt.datetime.fromisoformat(second) - dt.datetime.fromisoformat(first)).total_seconds()


def is_intact(project: Project) -> bool:
    return project.sql("PRAGMA integrity_check") == [("ok",)]


# What is queued: every form of the call


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("execute", None, 0, None)),
        (["execute"], ("execute", None, 0, None)),
        (["rebuild"], ("rebuild", None, 0, None)),
        (["execute", {"message": "Hello, World!"}], ("execute", '{"message":"Hello, World!"}', 0, None)),
        (["execute", ["a", 1, None]], ("execute", '["a",1,null]', 0, None)),
        (["execute", ("a", (1, 2))], ("execute", '["a",[1,2]]', 0, None)),
        (["execute", {}], ("execute", "{}", 0, None)),
        (["execute", []], ("execute", "[]", 0, None)),
        (["execute", None], ("execute", None, 0, None)),
        (["execute", [], 10], ("execute", "[]", 10, None)),
        (["execute", [], 0, 30], ("execute", "[]", 0, 30.0)),
        (["execute", {"key": "value"}, 20, 60], ("execute", '{"key":"value"}', 20, 60.0)),
        (["execute", None, -(2**63)], ("execute", None, -(2**63), None)),
        (["execute", None, 2**63 - 1], ("execute", None, 2**63 - 1, None)),
        (["execute", None, 0, 0], ("execute", None, 0, None)),
        (["execute", None, 0, 0.0], ("execute", None, 0, None)),
        (["execute", None, 0, -0.0], ("execute", None, 0, None)),
        (["execute", None, 0, 1.5], ("execute", None, 0, 1.5)),
        (["execute", None, 0, 3_155_760_000], ("execute", None, 0, 3_155_760_000.0)),
        (["execute", None, 0, dt.timedelta()], ("execute", None, 0, None)),
        (["execute", None, 0, dt.timedelta(minutes=1, microseconds=1)], ("execute", None, 0, 60.000001)),
    ],
)
def test_every_form_of_the_call_queues_one_job(
    project: Project, arguments: list[Any], expected: tuple[Any, ...]
) -> None:
    project.configure(methods="execute, rebuild")

    assert run_background_job(JOB, *arguments) is True

    assert rows(project) == [(JOB, *expected)]
    assert project.jobs("id, status, retry_count, crash_count, promoted") == [(1, "pending", 0, 0, 0)]


def test_every_argument_has_its_name(project: Project) -> None:
    run_background_job(
        delay=dt.timedelta(minutes=1), priority=20, params={"key": "value"}, method="execute", job_class=JOB
    )

    assert rows(project) == [(JOB, "execute", '{"key":"value"}', 20, 60.0)]


def test_the_examples_of_the_original_queue_as_they_did_there(project: Project) -> None:
    project.write_jobs("class Job:\n    def execute(self, *args, **kwargs):\n        pass\n")
    project.python("""
from app.jobs import Job
from bgjob import run_background_job
run_background_job(Job, "execute")
run_background_job(Job, "execute", {"message": "Hello, World!"})
run_background_job(Job, "execute", [], 0, 30)
run_background_job(Job, "execute", [], 10)
run_background_job(Job, "execute", {"key": "value"}, 20, 60)
""")

    assert rows(project) == [
        (JOB, "execute", None, 0, None),
        (JOB, "execute", '{"message":"Hello, World!"}', 0, None),
        (JOB, "execute", "[]", 0, 30.0),
        (JOB, "execute", "[]", 10, None),
        (JOB, "execute", '{"key":"value"}', 20, 60.0),
    ]


@pytest.mark.parametrize("instant", ["1970-01-01 00:00:00", "2038-01-19 03:14:08", "2100-02-28 23:59:59.999999"])
def test_the_times_of_a_row_are_utc_text_of_fixed_width_in_every_year(project: Project, instant: str) -> None:
    with freeze_time(instant):
        run_background_job(JOB, delay=1.5)

    ((created, updated, available),) = project.jobs("created_at, updated_at, available_at")
    assert created == updated == f"{instant}{'' if '.' in instant else '.000000'}"
    assert seconds_between(created, available) == 1.5
    assert len(available) == 26


def test_a_job_without_a_delay_is_due_even_when_the_clock_is_set_back(project: Project) -> None:
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n")
    with freeze_time("2099-01-01"):
        run_background_job(JOB)

    project.tick()

    assert project.jobs() == [(1, "completed")]


# Class objects


def test_a_class_is_queued_under_its_own_name(project: Project) -> None:
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n")

    project.python("from app.jobs import Job as Renamed; import bgjob; bgjob.run_background_job(Renamed)")

    assert project.jobs("job_class") == [(JOB,)]


def test_a_class_is_queued_under_the_approved_name_that_its_package_gives_it(project: Project) -> None:
    package = project.folder / "app" / "custom_jobs"
    package.mkdir()
    (package / "__init__.py").write_text("from app.custom_jobs.example_job import ExampleJob\n")
    (package / "example_job.py").write_text("class ExampleJob:\n    def execute(self):\n        pass\n")
    project.configure(classes="app.custom_jobs.ExampleJob")

    project.python("""
from app.custom_jobs import ExampleJob
from app.custom_jobs.example_job import ExampleJob as Same
from bgjob import run_background_job, run_background_jobs
run_background_job(ExampleJob)
run_background_jobs([Same, (Same,), {"job_class": Same}])
""")
    project.tick()

    assert project.jobs("job_class, status") == [("app.custom_jobs.ExampleJob", "completed")] * 4


def test_a_class_of_the_started_script_is_refused_with_the_reason(project: Project) -> None:
    source = """
from bgjob import InvalidJobError, run_background_job
class Job:
    pass
try:
    run_background_job(Job)
except InvalidJobError as error:
    print(error)
"""
    project.write_jobs(source, "script")

    for said in (
        project.python(source).stdout,
        subprocess.run(
            [sys.executable, "-m", "app.script"],
            cwd=project.folder,
            env=project.environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout,
    ):
        assert "'__main__.Job' stands in the script that was started" in said
        assert "move the class into a module of its own" in said
    assert not project.database.exists()


def test_a_class_of_a_function_is_refused(project: Project) -> None:
    class Job:
        pass

    with pytest.raises(NotApprovedError, match="<locals>"):
        run_background_job(Job)

    assert not project.database.exists()


def test_queueing_never_imports_the_module_of_the_job(project: Project) -> None:
    project.write_jobs("raise SystemExit('imported')\n")

    said = project.python(f"""
import sys
from bgjob import run_background_job
run_background_job({JOB!r})
try:
    run_background_job("app.jobs.Jib")
except Exception as error:
    print(type(error).__name__)
print([name for name in sys.modules if name.split(".")[0] == "app"])
""").stdout

    assert said == "NotApprovedError\n[]\n"
    assert project.jobs() == [(1, "pending")]


# Refusals


class Sneaky(str):
    """A text that claims to equal every other one."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        (["app.jobs.Jbo"], NotApprovedError, r"'app\.jobs\.Jbo' is not approved; did you mean 'app\.jobs\.Job'\?"),
        (["os.system"], NotApprovedError, r"'os\.system' is not approved"),
        ([object], NotApprovedError, r"'builtins\.object' is not approved"),
        ([JOB, "excute"], NotApprovedError, r"method 'excute' is not approved; did you mean 'execute'\?"),
        ([JOB, "__init__"], NotApprovedError, "method '__init__' is not approved"),
        ([JOB, ""], NotApprovedError, "method '' is not approved"),
        ([None], InvalidJobError, "job_class must be a class or its dotted name .*, not NoneType"),
        ([Sneaky("os.system")], InvalidJobError, "job_class must be .* not Sneaky"),
        ([JOB, None], InvalidJobError, "method must be the name of a method as text, such as 'execute', not NoneType"),
        ([JOB, Sneaky("os")], InvalidJobError, "method must be .* not Sneaky"),
        ([JOB, len], InvalidJobError, "method must be"),
        ([JOB, "execute", "text"], InvalidParamsError, "params must be"),
        ([JOB, "execute", [float("nan")]], InvalidParamsError, r"params\[0\] is nan"),
        ([JOB, "execute", {"at": dt.date(2026, 1, 1)}], InvalidParamsError, r"params\['at'\] is datetime\.date"),
        ([JOB, "execute", {1: 2}], InvalidParamsError, "the key 1 of type int"),
        ([JOB, "execute", ["x" * 1_048_577]], InvalidParamsError, "params are too large; allowed are 1,048,576 bytes"),
        ([JOB, "execute", None, True], InvalidJobError, "priority must be a whole number, not bool"),
        ([JOB, "execute", None, "high"], InvalidJobError, "priority must be a whole number, not str"),
        ([JOB, "execute", None, "10"], InvalidJobError, "priority must be a whole number, not str"),
        ([JOB, "execute", None, 1.0], InvalidJobError, "priority must be a whole number, not float"),
        ([JOB, "execute", None, None], InvalidJobError, "priority must be a whole number, not NoneType"),
        ([JOB, "execute", None, signal.SIGTERM], InvalidJobError, "priority must be a whole number, not Signals"),
        ([JOB, "execute", None, 2**63], InvalidJobError, "priority must fit into 64 bits"),
        ([JOB, "execute", None, -(2**63) - 1], InvalidJobError, "priority must fit into 64 bits"),
        ([JOB, "execute", None, 10**5_000], InvalidJobError, "priority must fit into 64 bits"),
        ([JOB, "execute", None, 0, True], InvalidJobError, "delay must be seconds .* or a timedelta, not bool"),
        ([JOB, "execute", None, 0, "30"], InvalidJobError, "delay must be seconds .* or a timedelta, not str"),
        ([JOB, "execute", None, 0, "10m"], InvalidJobError, "delay must be seconds .* not str"),
        ([JOB, "execute", None, 0, None], InvalidJobError, "delay must be seconds .* not NoneType"),
        ([JOB, "execute", None, 0, Fraction(1)], InvalidJobError, "delay must be seconds .* not Fraction"),
        ([JOB, "execute", None, 0, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)], InvalidJobError, "not datetime"),
        ([JOB, "execute", None, 0, -1], InvalidJobError, "delay must not be negative; 0 means at once"),
        ([JOB, "execute", None, 0, -0.001], InvalidJobError, "delay must not be negative"),
        ([JOB, "execute", None, 0, dt.timedelta(seconds=-1)], InvalidJobError, "delay must not be negative"),
        ([JOB, "execute", None, 0, float("-inf")], InvalidJobError, "delay must not be negative"),
        ([JOB, "execute", None, 0, float("nan")], InvalidJobError, "delay is NaN"),
        ([JOB, "execute", None, 0, float("inf")], InvalidJobError, "delay must be at most a hundred years"),
        ([JOB, "execute", None, 0, 3_155_760_001], InvalidJobError, "delay must be at most a hundred years"),
        ([JOB, "execute", None, 0, 10**5_000], InvalidJobError, "delay must be at most a hundred years"),
        ([JOB, "execute", None, 0, dt.timedelta.max], InvalidJobError, "delay must be at most a hundred years"),
    ],
)
def test_what_cannot_be_queued_is_refused_by_an_error_of_its_own(
    project: Project, arguments: list[Any], kind: type[BgjobError], told: str
) -> None:
    run_background_job(JOB)

    with pytest.raises(BgjobError, match=told) as refusal:
        run_background_job(*arguments)

    assert type(refusal.value) is kind
    assert project.jobs("id") == [(1,)]


def test_a_refusal_comes_before_the_database_is_made(project: Project) -> None:
    with pytest.raises(NotApprovedError):
        run_background_job("os.system")

    assert not project.database.parent.exists()


def test_the_size_that_params_may_have_is_that_of_the_config(project: Project) -> None:
    project.configure("max_params_size: 10")

    assert run_background_job(JOB, params=["123456"])
    with pytest.raises(InvalidParamsError, match="are 11 bytes of JSON; allowed are 10 bytes"):
        run_background_job(JOB, params=[1234567, 8])
    assert project.jobs("id") == [(1,)]


def test_all_errors_can_be_caught_as_one_and_the_wrong_values_as_value_errors() -> None:
    for name in bgjob.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(bgjob, name), BgjobError)
    assert issubclass(InvalidParamsError, InvalidJobError)
    assert issubclass(InvalidJobError, ValueError)


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.timedeltas(),
    st.datetimes(),
    st.just(JOB),
    st.just("execute"),
    st.lists(st.integers()),
    st.dictionaries(st.text() | st.integers(), st.floats()),
    st.sampled_from([object, object(), 2**63, -(2**63) - 1, 10**5_000]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    job_class=st.just(JOB) | anything,
    method=st.just("execute") | anything,
    params=st.none() | anything,
    priority=st.integers(-(2**64), 2**64) | anything,
    delay=st.floats(-1, 2**33) | anything,
)
def test_a_call_either_leaves_one_row_and_returns_true_or_none_and_raises_our_error(
    project: Project, **arguments: Any
) -> None:
    try:
        accepted = run_background_job(**arguments)
    except BgjobError:
        accepted = False

    found = project.sql("DELETE FROM custom_jobs RETURNING 1") if project.database.exists() else []
    assert len(found) == int(accepted)


# Many in one call


def test_many_jobs_are_queued_in_their_order_in_every_form(project: Project) -> None:
    assert run_background_jobs(
        [
            JOB,
            (JOB,),
            [JOB, "execute", [1]],
            (JOB, "execute", [2], 5, 10),
            {"job_class": JOB},
            {"delay": dt.timedelta(seconds=3), "job_class": JOB, "params": {"a": 1}, "priority": -1},
            types.MappingProxyType({"job_class": JOB, "method": "execute"}),
        ]
    )

    assert rows(project) == [
        (JOB, "execute", None, 0, None),
        (JOB, "execute", None, 0, None),
        (JOB, "execute", "[1]", 0, None),
        (JOB, "execute", "[2]", 5, 10.0),
        (JOB, "execute", None, 0, None),
        (JOB, "execute", '{"a":1}', -1, 3.0),
        (JOB, "execute", None, 0, None),
    ]


def test_many_jobs_may_come_from_a_generator_and_none_at_all_is_fine(project: Project) -> None:
    assert run_background_jobs((JOB, "execute", [number]) for number in range(3_000))
    assert run_background_jobs([])
    assert run_background_jobs(iter(()))

    assert project.jobs("params") == [(f"[{number}]",) for number in range(3_000)]


@pytest.mark.parametrize(
    ("bad", "kind", "told"),
    [
        (("app.jobs.Jbo",), NotApprovedError, r"'app\.jobs\.Jbo' is not approved; did you mean"),
        ((JOB, "excute"), NotApprovedError, "method 'excute' is not approved"),
        ({"job_class": JOB, "params": {1, 2}}, InvalidParamsError, "params must be"),
        ({"job_class": JOB, "priority": "high"}, InvalidJobError, "priority must be a whole number"),
        ({"job_class": JOB, "delay": -1}, InvalidJobError, "delay must not be negative"),
        ({"job_class": JOB, "prority": 1}, InvalidJobError, "this is dict with the keys 'job_class', 'prority'"),
        ({"method": "execute"}, InvalidJobError, "this is dict with the keys 'method'"),
        ({}, InvalidJobError, "a job must be a mapping with job_class"),
        ((), InvalidJobError, "a job must be a mapping with job_class and any of .*; this is tuple"),
        ((JOB, "execute", None, 0, 0, 0), InvalidJobError, "this is tuple"),
        (None, InvalidJobError, "this is NoneType"),
        (7, InvalidJobError, "this is int"),
        ({JOB, "execute"}, InvalidJobError, "this is set"),
    ],
)
def test_one_that_is_wrong_names_its_place_and_none_is_queued(
    project: Project, bad: Any, kind: type[BgjobError], told: str
) -> None:
    good = (JOB, "execute", [1])

    for place in (0, 2):
        jobs = [good, good, good]
        jobs[place] = bad
        with pytest.raises(BgjobError, match=rf"^jobs\[{place}\]: .*{told}") as refusal:
            run_background_jobs(jobs)
        assert type(refusal.value) is kind

    assert not project.database.exists()


@pytest.mark.parametrize("jobs", [None, 5, JOB, b"x", {"job_class": JOB}, object()])
def test_what_is_no_list_of_jobs_is_refused(project: Project, jobs: Any) -> None:
    with pytest.raises(InvalidJobError, match=rf"jobs must be a list .* not one {type(jobs).__name__}"):
        run_background_jobs(jobs)

    assert not project.database.exists()


def test_an_error_of_the_callers_own_generator_comes_through_and_nothing_is_queued(project: Project) -> None:
    def jobs() -> Iterator[tuple[str]]:
        yield (JOB,)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_background_jobs(jobs())

    assert not project.database.exists()


# Many at once


def test_the_first_call_is_safe_when_many_processes_make_it_at_once(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    processes = [start("-c", QUEUER) for _ in range(8)]
    assert [line_of(process) for process in processes] == ["ready"] * 8

    for number in range(12):
        first = Project(tmp_path / f"first{number}")
        for process in processes:
            tell(process, str(first.folder / "config" / "jobs.yaml"))

        assert [line_of(process) for process in processes] == ["True"] * 8
        assert len(first.jobs()) == 8
        assert is_intact(first)


def test_every_true_of_many_processes_and_threads_is_a_row_that_runs_once_while_runners_work(
    project: Project, start: Callable[..., subprocess.Popen[str]]
) -> None:
    project.configure("durability: normal")
    project.write_jobs(
        "class Job:\n    def execute(self, *who):\n        with open('trace', 'a') as file:\n"
        "            file.write(' '.join(map(str, who)) + '\\n')\n"
    )
    source = f"""
import sys, threading
from bgjob import run_background_job, run_background_jobs
print("ready", flush=True)
sys.stdin.readline()
counts = []
def queue(thread):
    count = 0
    for number in range(20):
        count += run_background_job({JOB!r}, params=[int(sys.argv[1]), thread, number], delay=number % 2 / 100)
    count += 5 * run_background_jobs([({JOB!r}, "execute", [int(sys.argv[1]), thread, n]) for n in range(20, 25)])
    counts.append(count)
threads = [threading.Thread(target=queue, args=(n,)) for n in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sum(counts), flush=True)
"""
    queuers = [start("-c", source, str(number)) for number in range(4)]
    assert [line_of(queuer) for queuer in queuers] == ["ready"] * 4

    for queuer in queuers:
        tell(queuer, "go")
    ticks = 0
    while any(queuer.poll() is None for queuer in queuers):
        project.tick()
        ticks += 1

    assert [line_of(queuer) for queuer in queuers] == ["75"] * 4
    while {status for _, status in project.jobs()} != {"completed"}:  # the last ones have a delay
        project.tick()
    expected = {f"{who} {thread} {number}" for who in range(4) for thread in range(3) for number in range(25)}
    assert sorted(project.trace()) == sorted(expected)
    assert len(project.jobs()) == 300
    assert is_intact(project)
    assert ticks


def test_every_true_before_a_kill_is_a_row(project: Project, start: Callable[..., subprocess.Popen[str]]) -> None:
    source = f"""
import itertools
from bgjob import run_background_job
for number in itertools.count():
    print(number, run_background_job({JOB!r}, params=[number]), flush=True)
"""
    said: list[str] = []

    for _ in range(4):
        queuer = start("-c", source)
        said += [line_of(queuer) for _ in range(25)]
        queuer.send_signal(signal.SIGKILL)
        said += queuer.communicate()[0].splitlines()

    told = [f"[{line.split()[0]}]" for line in said if line.endswith("True")]
    found = [params for (params,) in project.jobs("params")]
    assert len(told) >= 100
    # The very last one of each round may have been committed and not yet told.
    assert len(found) - len(told) <= 4
    for params in told:
        found.remove(params)
    assert is_intact(project)


def test_a_forked_child_queues_and_ends_as_usual_and_tears_nothing(project: Project) -> None:
    project.python(f"""
import os, sys, threading
from bgjob import run_background_job
run_background_job({JOB!r}, params=["before"])
stop = threading.Event()
def meanwhile():
    number = 0
    while not stop.is_set():
        run_background_job({JOB!r}, params=["thread", number := number + 1])
    print(number)
thread = threading.Thread(target=meanwhile)
thread.start()
children = []
for number in range(12):
    pid = os.fork()
    if pid == 0:
        if number % 3:
            run_background_job({JOB!r}, params=["child", number])
            own = threading.Thread(target=run_background_job, args=({JOB!r}, "execute", ["child's thread", number]))
            own.start()
            own.join()
        sys.exit(0)
    children.append(pid)
    run_background_job({JOB!r}, params=["parent", number])
codes = [os.waitpid(child, 0)[1] for child in children]
stop.set()
thread.join()
assert codes == [0] * 12, codes
run_background_job({JOB!r}, params=["after"])
""")

    found = [tuple(json.loads(params)) for (params,) in project.jobs("params")]
    assert found.count(("before",)) == found.count(("after",)) == 1
    assert sorted(row[1] for row in found if row[0] == "parent") == list(range(12))
    assert sorted(row[1] for row in found if row[0] == "child") == [n for n in range(12) if n % 3]
    assert sorted(row[1] for row in found if row[0] == "child's thread") == [n for n in range(12) if n % 3]
    threads = [row[1] for row in found if row[0] == "thread"]
    assert threads == list(range(1, len(threads) + 1))
    assert is_intact(project)


@pytest.mark.parametrize("python_is_told", [True, False])
def test_a_child_of_a_server_that_forks_in_c_queues_over_a_connection_of_its_own(
    project: Project, *, python_is_told: bool
) -> None:
    project.python(f"""
import ctypes, os, sys
from bgjob import enqueue, run_background_job
c = ctypes.PyDLL(None)
run_background_job({JOB!r}, params=["before"])
inherited = id(enqueue._intake._database.connection)
for number in range(5):
    pid = c.fork()
    if pid == 0:
        if {python_is_told}:
            c.PyOS_AfterFork_Child()
        run_background_job({JOB!r}, params=["child", number])
        assert id(enqueue._intake._database.connection) != inherited
        sys.exit(0)
    run_background_job({JOB!r}, params=["parent", number])
    assert id(enqueue._intake._database.connection) == inherited
    assert os.waitpid(pid, 0)[1] == 0
""")

    found = sorted(params for (params,) in project.jobs("params"))
    both = [f'["{who}",{number}]' for who in ("child", "parent") for number in range(5)]
    assert found == sorted(['["before"]', *both])
    assert is_intact(project)


def test_no_connection_is_open_while_a_fork_happens(project: Project) -> None:
    said = project.python(f"""
import os
from bgjob import enqueue, run_background_job
run_background_job({JOB!r})
was_open = enqueue._intake._database is not None
child = os.fork()
os.write(1, f"{{was_open}} {{enqueue._intake._database}} ".encode())
if child:
    os.waitpid(child, 0)
""").stdout

    assert said == "True None " * 2


def test_a_running_job_queues_others_wherever_the_tick_was_started(project: Project, tmp_path: Path) -> None:
    project.write_jobs("""
import os, sys
from bgjob import run_background_job, run_background_jobs

class Job:
    def execute(self, name="first"):
        if name == "first":
            run_background_job("app.jobs.Job", params=["second"])
            run_background_jobs([(Job, "execute", ["third"]), {"job_class": Job, "params": ["fourth"], "delay": 999}])
            child = os.fork()
            if child == 0:
                run_background_job(Job, params=["fifth"])
                os._exit(0)
            os.waitpid(child, 0)
""")
    run_background_job(JOB)

    project.tick(cwd=tmp_path)

    assert project.jobs("params, status") == [
        (None, "completed"),
        ('["second"]', "completed"),
        ('["third"]', "completed"),
        ('["fourth"]', "pending"),
        ('["fifth"]', "completed"),
    ]
    assert is_intact(project)


def test_threads_of_one_process_share_one_connection(project: Project) -> None:
    accepted: list[bool] = []

    def queue() -> None:
        accepted.extend(run_background_job(JOB) for _ in range(10))

    threads = [threading.Thread(target=queue) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert accepted == [True] * 80
    assert len(project.jobs()) == 80


# The config of the moment


def is_config_kept() -> bool:
    """Return whether the config will be read again only if its file changes: not so in the first moments of a file."""
    held = in_force.configs._held
    return held is not None and held[2] is not None


def test_an_edited_config_holds_for_the_next_call(project: Project) -> None:
    with pytest.raises(NotApprovedError):
        run_background_job("app.jobs.Other")
    project.configure(classes="app.jobs.Job, app.jobs.Other")
    assert run_background_job("app.jobs.Other")
    project.configure(methods="rebuild")
    with pytest.raises(NotApprovedError):
        run_background_job("app.jobs.Other")
    with pytest.raises(NotApprovedError):
        run_background_job(JOB)


def test_an_edit_of_the_same_size_that_keeps_the_files_time_is_seen_as_well(project: Project) -> None:
    path = project.folder / "config" / "jobs.yaml"
    project.configure(classes="app.jobs.Job")
    assert run_background_job(JOB)
    wait_until(lambda: run_background_job(JOB) and is_config_kept())
    before = path.stat()

    project.configure(classes="app.jobs.Jab")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(NotApprovedError):
        run_background_job(JOB)


def test_edits_in_quick_succession_are_all_seen(project: Project) -> None:
    for _ in range(100):
        project.configure(classes="app.jobs.Jab")
        with pytest.raises(NotApprovedError):
            run_background_job(JOB)
        project.configure(classes="app.jobs.Job")
        with pytest.raises(InvalidParamsError):  # approved, then: a commit would take too long for this test
            run_background_job(JOB, params=[object])


def test_two_edits_within_one_step_of_the_file_systems_clock_are_both_seen(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000_000_000_000
    monkeypatch.setattr("bgjob.in_force.time.time_ns", lambda: now)
    monkeypatch.setattr(in_force, "_stamp", lambda _: (now - 4_000_000, 1, 1))
    assert run_background_job(JOB)

    project.configure(classes="app.jobs.Jab")

    with pytest.raises(NotApprovedError):
        run_background_job(JOB)


def test_a_config_that_does_not_change_is_read_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_until(lambda: run_background_job(JOB) and is_config_kept())
    queued = len(project.jobs())
    monkeypatch.setattr("bgjob.config.read_config", pytest.fail)

    for _ in range(3):
        assert run_background_job(JOB)

    assert len(project.jobs()) == queued + 3


def test_a_config_that_is_broken_or_gone_refuses_and_queueing_goes_on_once_it_is_mended(project: Project) -> None:
    path = project.folder / "config" / "jobs.yaml"
    assert run_background_job(JOB)
    path.write_text("approved_classes: [")
    with pytest.raises(ConfigError, match=str(path)):
        run_background_job(JOB)
    path.unlink()
    with pytest.raises(ConfigError, match=r"there is no config/jobs\.yaml"):
        run_background_job(JOB)
    project.configure()

    assert run_background_job(JOB)
    assert len(project.jobs()) == 2


def test_the_config_is_found_from_a_folder_below(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    below = project.folder / "app" / "deep" / "down"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)

    assert run_background_job(JOB)

    assert project.jobs() == [(1, "pending")]


def test_each_working_directory_has_its_own_queue(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Project(tmp_path / "other")
    other.configure(classes="app.jobs.Other")

    for _ in range(2):
        monkeypatch.chdir(project.folder)
        run_background_job(JOB)
        monkeypatch.chdir(other.folder)
        run_background_job("app.jobs.Other")
        with pytest.raises(NotApprovedError):
            run_background_job(JOB)

    assert project.jobs("job_class") == [(JOB,)] * 2
    assert other.jobs("job_class") == [("app.jobs.Other",)] * 2


def test_the_config_named_in_the_environment_comes_first(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Project(tmp_path / "other")
    assert run_background_job(JOB)

    monkeypatch.setenv("BGJOB_CONFIG", os.path.relpath(other.folder / "config" / "jobs.yaml"))
    assert run_background_job(JOB)

    assert len(project.jobs()) == len(other.jobs()) == 1


def test_a_working_directory_that_is_gone_is_an_error_of_ours(project: Project) -> None:
    said = project.python(f"""
import os
from bgjob import ConfigError, run_background_job
os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
try:
    run_background_job({JOB!r})
except ConfigError as error:
    print(error)
os.environ["BGJOB_CONFIG"] = {str(project.folder / "config" / "jobs.yaml")!r}
print(run_background_job({JOB!r}))
""").stdout

    assert said.startswith("the working directory is gone")
    assert said.endswith("True\n")


# The database of the moment


def test_the_first_call_makes_the_folder_and_the_table(project: Project) -> None:
    assert not project.database.parent.exists()

    assert run_background_job(JOB)

    assert project.jobs() == [(1, "pending")]


def delete_all(project: Project) -> None:
    for file in project.database.parent.iterdir():
        file.unlink()


def delete_folder(project: Project) -> None:
    shutil.rmtree(project.database.parent)


def delete_database_alone(project: Project) -> None:
    project.database.unlink()


def move_all_away(project: Project) -> None:
    project.database.parent.rename(project.folder / "old")


@pytest.mark.parametrize("remove", [delete_all, delete_folder, delete_database_alone, move_all_away])
def test_a_database_that_is_taken_away_is_made_anew_and_no_job_goes_to_the_old_one(
    project: Project, remove: Callable[[Project], None]
) -> None:
    assert run_background_job(JOB, params=["old"])
    remove(project)

    for number in range(3):
        assert run_background_job(JOB, params=["new", number])

    assert project.jobs("params") == [('["new",0]',), ('["new",1]',), ('["new",2]',)]
    assert is_intact(project)


def test_after_another_process_made_the_new_database_the_next_call_goes_there(project: Project) -> None:
    queue = f"from bgjob import run_background_job; assert run_background_job({JOB!r}, params=['other'])"
    run_background_job(JOB, params=["old"])
    delete_all(project)

    project.python(queue)
    run_background_job(JOB, params=["ours"])
    project.python(queue)
    run_background_job(JOB, params=["ours again"])
    enqueue._intake._close()

    assert project.jobs("params") == [('["other"]',), ('["ours"]',), ('["other"]',), ('["ours again"]',)]
    assert is_intact(project)


@pytest.mark.parametrize("queues_again", [True, False])
def test_an_app_that_copies_its_database_harms_no_job(project: Project, *, queues_again: bool) -> None:
    # Closing a file drops all locks that this process has on it, SQLite's among them: the next process to close the
    # database takes itself for the last one, and deletes the log.
    source = f"""
import shutil, subprocess, sys
from bgjob import run_background_job
queue = "from bgjob import run_background_job; run_background_job('{JOB}', params=['other'])"
def let_another_process_queue():
    subprocess.run([sys.executable, "-c", queue], check=True)
run_background_job({JOB!r}, params=["ours"])
shutil.copy("storage/jobs.sqlite3", "backup")
let_another_process_queue()
if {queues_again}:
    run_background_job({JOB!r}, params=["ours"])
    run_background_job({JOB!r}, params=["ours"])
    let_another_process_queue()
    run_background_job({JOB!r}, params=["ours"])
"""

    project.python(source)

    ours, other = ('["ours"]',), ('["other"]',)
    expected = [ours, other, ours, ours, other, ours] if queues_again else [ours, other]
    assert project.jobs("params") == expected
    assert is_intact(project)


def test_a_link_that_leads_elsewhere_is_followed_at_the_next_call(project: Project) -> None:
    for name in ("one", "two"):
        project.folder.joinpath(name).mkdir()
    link = project.database.parent
    link.symlink_to("one")
    run_background_job(JOB, params=[1])

    link.unlink()
    link.symlink_to("two")
    run_background_job(JOB, params=[2])

    assert project.jobs("params") == [("[2]",)]


def test_an_edited_database_path_holds_for_the_next_call(project: Project) -> None:
    run_background_job(JOB)
    project.configure("database: elsewhere/queue.db")
    run_background_job(JOB, params=[2])

    assert project.jobs("params") == [(None,)]
    project.database = project.folder / "elsewhere" / "queue.db"
    assert project.jobs("params") == [("[2]",)]


def test_a_refusal_by_the_store_leaves_the_process_able_to_queue(project: Project) -> None:
    project.database.parent.write_text("in the way")
    with pytest.raises(StoreError):
        run_background_job(JOB)
    project.database.parent.unlink()

    assert run_background_job(JOB)


def test_queueing_imports_little(project: Project) -> None:
    said = project.python(f"""
import sys
from bgjob import run_background_job
run_background_job({JOB!r})
heavy = "logging typing dataclasses argparse pathlib subprocess filelock difflib"
print(*set(heavy.split()) & set(sys.modules))
""").stdout

    assert said == "\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counted in /proc")
def test_queueing_prints_nothing_and_leaves_no_descriptor_behind(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    def open_files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    run_background_job(JOB)
    before = open_files()

    for number in range(20):
        run_background_job(JOB)
        with pytest.raises(BgjobError):
            run_background_job("os.system")
        if number % 5 == 0:
            delete_all(project)

    assert open_files() == before
    assert capfd.readouterr() == ("", "")
