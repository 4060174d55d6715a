"""The typed door: a method as it stands in code becomes a row, and the job that is returned says what stands in it."""

from __future__ import annotations

import copy
import datetime as dt
import functools
import json
import pickle
import sqlite3
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
from freezegun import freeze_time

import bgjob
from bgjob import InvalidJobError, InvalidParamsError, NotApprovedError, get_job, queue_job

if TYPE_CHECKING:
    from bgjob.typed import QueueJob
    from tests.conftest import Project

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
SOURCE = """
import functools

def kept(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

def lost(function):
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

class Base:
    def inherited(self, month): pass

class Job(Base):
    def build(self, month, sheets=3, *rest, draft=False):
        with open("trace", "a") as file:
            file.write(f"{month} {sheets} {draft}\\\\n")
    def by_place(self, month, /, year=1): pass
    @staticmethod
    def static(month): pass
    @classmethod
    def made(cls, month): pass
    @kept
    def decorated(self, month): pass
    @lost
    def disguised(self, month): pass
    nameless = lambda self: None
    class Inner:
        def execute(self): pass

def alone(): pass

def inside():
    class Local:
        def execute(self): pass
    return Local
"""


@pytest.fixture
def app(project: Project, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a loaded module whose class Job is approved."""
    project.configure(
        methods="build, by_place, static, made, decorated, disguised, inherited, execute", classes="app.loaded.Job"
    )
    project.write_jobs(SOURCE.replace("\\\\n", "\\n"), "loaded")
    module = types.ModuleType("app.loaded")
    exec((project.folder / "app" / "loaded.py").read_text(), module.__dict__)  # noqa: S102  # the module above
    monkeypatch.setitem(sys.modules, "app.loaded", module)
    return module


def test_the_job_that_is_returned_says_what_stands_in_its_row(app: Any) -> None:
    with freeze_time(NOW):
        job = queue_job.with_options(priority=7, delay=90)(app.Job.build, month="2026-11")

    assert (job.id, job.job_class, job.method, job.params) == (1, "app.loaded.Job", "build", {"month": "2026-11"})
    assert (job.status, job.priority, job.retry_count, job.crash_count) == ("pending", 7, 0, 0)
    assert (job.created_at, job.updated_at, job.available_at) == (NOW, NOW, NOW + dt.timedelta(seconds=90))
    assert (job.started_at, job.finished_at, job.error, job.attempts) == (None, None, None, [])
    assert job == get_job(1)
    assert queue_job(app.Job.build, month="2026-12").id == 2


def test_a_job_never_changes(app: Any) -> None:
    job = queue_job(app.Job.build, month="2026-11")

    with pytest.raises(AttributeError, match="a Job never changes"):
        job.status = "completed"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        job.params = None  # type: ignore[misc]
    job.params["month"] = "2026-12"
    assert job.params == {"month": "2026-11"}


def test_a_job_is_copied_and_pickled_as_it_is(app: Any) -> None:
    job = queue_job(app.Job.build, month="2026-11")

    assert copy.deepcopy(job) == job
    assert pickle.loads(pickle.dumps(job)) == job  # noqa: S301  # our own


def test_the_job_is_run_like_any_other(project: Project, app: Any) -> None:
    queue_job(app.Job.build, "2026-11", draft=True)
    queue_job(app.Job.build, "2026-12", 5)

    project.tick()

    assert project.trace() == ["2026-11 3 True", "2026-12 5 False"]
    found = get_job(2)
    assert found is not None
    assert found.status == "completed"
    assert found.finished_at is not None
    assert found.finished_at.tzinfo is dt.UTC


def test_every_form_of_a_method_names_it(project: Project, app: Any) -> None:
    class Child(app.Job):  # type: ignore[misc]
        pass

    app.Child, Child.__module__, Child.__qualname__ = Child, "app.loaded", "Child"
    project.configure(methods="build, static, made, decorated, inherited", classes="app.loaded.Job, app.loaded.Child")

    for method in (
        app.Job.build,
        app.Job().build,
        app.Job.static,
        app.Job().static,
        app.Job.made,
        app.Job().made,
        app.Job.decorated,
        app.Job().decorated,
        app.Job().inherited,
        Child().build,
        Child().inherited,
        Child.made,
    ):
        queue_job(method, month="2026-11")

    assert [f"{name.rpartition('.')[2]}.{method}" for name, method in project.jobs("job_class, method")] == [
        *["Job.build"] * 2,
        *["Job.static"] * 2,
        *["Job.made"] * 2,
        *["Job.decorated"] * 2,
        "Job.inherited",
        "Child.build",
        "Child.inherited",
        "Child.made",
    ]


@pytest.mark.parametrize(
    ("args", "kwargs", "params"),
    [
        ((), {"month": 1}, {"month": 1}),
        ((1,), {}, [1]),
        ((1, 2, 3), {}, [1, 2, 3]),
        ((1,), {"draft": True}, {"month": 1, "draft": True}),
        ((1, 2), {"draft": True}, {"month": 1, "sheets": 2, "draft": True}),
    ],
)
def test_params_stand_in_the_row_by_place_or_by_name(
    project: Project, app: Any, args: tuple[Any, ...], kwargs: dict[str, Any], params: object
) -> None:
    assert queue_job(app.Job.build, *args, **kwargs).params == params

    [(text,)] = project.jobs("params")
    assert json.loads(text) == params


def test_no_params_are_none(project: Project, app: Any) -> None:
    app.Job.execute = types.FunctionType((lambda self: None).__code__, {}, "execute")  # noqa: ARG005
    app.Job.execute.__module__, app.Job.execute.__qualname__ = "app.loaded", "Job.execute"

    assert queue_job(app.Job.execute).params is None
    assert project.jobs("params") == [(None,)]


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        ((), {}, "'month' is missing"),
        ((), {"mont": 1}, "did you mean 'month'"),
        ((1,), {"colour": 1}, "it takes no 'colour'"),
        ((1,), {"month": 1}, "params name month, given by place already"),
        ((1, 2, 3), {"draft": True}, "all by place or all by name"),
        ((), {"month": {1, 2}}, r"params\['month'\] is set"),
    ],
)
def test_params_that_do_not_fit_are_refused(
    project: Project, app: Any, args: tuple[Any, ...], kwargs: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidParamsError, match=told):
        queue_job(app.Job.build, *args, **kwargs)

    assert not project.database.exists()


def test_params_by_place_only_can_not_be_mixed_with_names(app: Any) -> None:
    with pytest.raises(InvalidParamsError, match="all by place or all by name"):
        queue_job(app.Job.by_place, 1, year=2)
    assert queue_job(app.Job.by_place, 1, 2).params == [1, 2]


class Stranger:
    def execute(self) -> None: ...


def test_what_is_no_method_of_a_class_that_a_runner_finds_is_refused(project: Project, app: Any) -> None:
    def local() -> None: ...

    refused: list[tuple[Any, str]] = [
        ("app.loaded.Job", "queue_job takes a method of a class, such as ReportJob.build, not str"),
        (app.Job, "not type"),
        (print, "not builtin_function_or_method"),
        (functools.partial(app.Job.build), "not partial"),
        ([].append, "not builtin_function_or_method"),
        (types.MethodType(print, app.Job()), "not method"),
        (app.alone, "app.loaded.alone is no method of a class; a job is a method of an approved class"),
        (local, r"<locals>.local was made inside a function \(a decorator without functools.wraps does so, too\)"),
        (lambda: None, "<lambda> was made inside a function"),
        (app.Job.nameless, "app.loaded.Job.<lambda> is not what its class has under that name"),
        (app.Job.disguised, "lost.<locals>.wrapper was made inside a function"),
        (app.Job().disguised, "is not what its class has under that name.* functools.wraps"),
        (app.inside().execute, "was made inside a function"),
        (app.Job.Inner.execute, "app.loaded.Job.Inner.execute stands in a class within a class"),
    ]
    for method, told in refused:
        with pytest.raises(InvalidJobError, match=told):
            queue_job(method)
    assert not project.database.exists()


def test_a_method_that_was_replaced_since_is_refused(app: Any) -> None:
    old = app.Job.build
    app.Job.build = app.Job.decorated

    with pytest.raises(InvalidJobError, match=r"app\.loaded\.Job\.build is not what its class has under that name"):
        queue_job(old, month=1)
    del app.Job
    with pytest.raises(InvalidJobError, match=r"belongs to no class Job of the module app\.loaded as it is loaded"):
        queue_job(old, month=1)


def test_a_class_or_method_that_is_not_approved_is_refused_and_the_way_to_an_inherited_one_is_named(app: Any) -> None:
    with pytest.raises(
        NotApprovedError, match=r"Base' is not approved.*inherits is named by an instance of that class"
    ):
        queue_job(app.Job.inherited, month=1)
    with pytest.raises(NotApprovedError, match=r"test_typed\.Stranger"):
        queue_job(Stranger().execute)


def test_a_class_of_the_script_that_was_started_is_refused(project: Project) -> None:
    done = project.python(
        "from bgjob import queue_job\nclass Job:\n    def execute(self): pass\nqueue_job(Job.execute)", check=False
    )

    assert "stands in the script that was started" in done.stderr


def test_a_class_is_queued_under_the_approved_name_that_leads_to_it(project: Project, app: Any) -> None:
    project.configure(methods="build", classes="app.front.Job")
    front = types.ModuleType("app.front")
    front.Job = app.Job  # type: ignore[attr-defined]
    sys.modules["app.front"] = front
    try:
        assert queue_job(app.Job.build, month=1).job_class == "app.front.Job"
        with pytest.raises(InvalidParamsError):
            queue_job(app.Job.build)
    finally:
        del sys.modules["app.front"]


# Options


def due(queue: QueueJob, app: Any) -> dt.datetime | None:
    return queue(app.Job.build, month=1).available_at


@freeze_time(NOW)
def test_a_delay_is_seconds_a_span_or_a_duration_as_in_the_config(app: Any) -> None:
    five = NOW + dt.timedelta(minutes=5)

    assert due(queue_job.with_options(delay=300), app) == five
    assert due(queue_job.with_options(delay=300.0), app) == five
    assert due(queue_job.with_options(delay=dt.timedelta(minutes=5)), app) == five
    assert due(queue_job.with_options(delay="5m"), app) == five
    assert due(queue_job.with_options(delay=0), app) is None
    assert due(queue_job, app) is None


@freeze_time(NOW)
def test_at_is_any_aware_instant_and_a_past_one_means_at_once(app: Any) -> None:
    east = dt.timezone(dt.timedelta(hours=5, minutes=30))
    later = NOW + dt.timedelta(days=40, microseconds=7)

    assert due(queue_job.with_options(at=later), app) == later
    assert due(queue_job.with_options(at=later.astimezone(east)), app) == later
    assert due(queue_job.with_options(at=NOW), app) is None
    assert due(queue_job.with_options(at=NOW - dt.timedelta(days=1)), app) is None


@freeze_time(NOW)
def test_options_are_kept_and_one_takes_the_others_place(app: Any) -> None:
    urgent = queue_job.with_options(priority=5)
    later = urgent.with_options(delay="1h")
    at = later.with_options(at=NOW + dt.timedelta(days=1))

    first, second, third = (queue(app.Job.build, month=1) for queue in (urgent, later, at))
    last = at.with_options(delay=0)(app.Job.build, month=1)

    assert [job.priority for job in (first, second, third, last)] == [5] * 4
    assert second.available_at == NOW + dt.timedelta(hours=1)
    assert third.available_at == NOW + dt.timedelta(days=1)
    assert last.available_at is None
    assert queue_job(app.Job.build, month=1).priority == 0
    assert repr(later) == "queue_job.with_options(priority=5, delay=3600.0)"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"priority": "high"}, "priority must be a whole number, not str"),
        ({"priority": 2**63}, "64 bits"),
        ({"delay": -1}, "delay must not be negative"),
        ({"delay": "5 minutes"}, "delay '5 minutes' is no duration; write seconds, or a number with ms, s, m, h or d"),
        ({"delay": []}, "delay must be seconds"),
        ({"delay": float("nan")}, "NaN"),
        ({"delay": 5, "at": NOW}, "delay and at contradict each other"),
        ({"at": dt.datetime(2026, 12, 24, 8)}, "at has no time zone.*2026-12-24T08:00:00; make it aware"),  # noqa: DTZ001
        ({"at": "tomorrow"}, "at must be an aware datetime, not str"),
        ({"at": dt.date(2026, 12, 24)}, "at must be an aware datetime, not date"),
    ],
)
def test_an_option_that_can_not_be_is_refused_at_once(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidJobError, match=told):
        queue_job.with_options(**options)


def test_an_instant_too_far_away_is_refused_when_it_is_queued(app: Any) -> None:
    with pytest.raises(InvalidJobError, match="a hundred years"):
        queue_job.with_options(at=dt.datetime.max.replace(tzinfo=dt.UTC))(app.Job.build, month=1)


def test_params_may_have_the_names_of_options(project: Project, app: Any) -> None:
    exec(  # noqa: S102  # one more method
        "def execute(self, method, priority, delay, at, self_): pass\nJob.execute = execute\n"
        "execute.__qualname__ = 'Job.execute'",
        app.__dict__,
    )
    app.Job.execute.__module__ = "app.loaded"

    queue_job(app.Job.execute, method=1, priority=2, delay=3, at=4, self_=5)

    assert project.jobs("params, priority") == [('{"method":1,"priority":2,"delay":3,"at":4,"self_":5}', 0)]


def test_a_connection_of_the_callers_takes_the_job_along(project: Project, app: Any) -> None:
    queue_job(app.Job.build, month=1)
    connection = sqlite3.connect(project.database)
    within = queue_job.with_options(connection=connection, priority=3)

    rolled_back = within(app.Job.build, month=2)
    connection.rollback()
    kept = within.with_options(delay=60)(app.Job.build, month=3)
    assert project.jobs("id") == [(1,)]
    connection.commit()
    connection.close()

    assert rolled_back.params == {"month": 2}
    assert [(number, priority) for number, priority in project.jobs("id, priority")] == [(1, 0), (kept.id, 3)]
    assert get_job(kept.id) == kept


# What it costs


def test_queueing_by_it_in_a_fresh_process_imports_nothing_heavy(project: Project) -> None:
    project.configure(methods="build", classes="app.loaded.Job")
    project.write_jobs(SOURCE.replace("\\\\n", "\\n"), "loaded")
    project.python("import app.loaded, bgjob\nbgjob.queue_job(app.loaded.Job.build, month=1)")

    done = project.python(
        "import sys, app.loaded, bgjob\nbgjob.queue_job(app.loaded.Job.build, month=1)\nprint(*sys.modules)"
    )

    heavy = {"argparse", "dataclasses", "dateutil", "inspect", "logging", "pathlib", "typing", "bgjob.store.reading"}
    assert heavy & set(done.stdout.split()) == set()
    assert "bgjob.typed" in done.stdout.split()


def test_every_public_name_is_there_and_explains_itself() -> None:
    for name in bgjob.__all__:
        if name != "__version__":
            assert getattr(bgjob, name).__doc__, name
