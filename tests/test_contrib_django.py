"""Django's tasks run as jobs: only approved ones, in Django's transaction if it is told so, with their results."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import django
import pytest

from bgjob.store.connection import Database
from tests.conftest import CODE, Project

if TYPE_CHECKING:
    from pathlib import Path

HOME = "django.tasks" if django.VERSION >= (6,) else "django_tasks"
SETTINGS = """
SECRET_KEY = "for a test"
USE_TZ = True
INSTALLED_APPS = []
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "storage/jobs.sqlite3"}}
APPROVED = ["app.tasks." + name for name in ("note", "anote", "fail", "about", "no_task", "hang")]
TASKS = {
    "default": {"BACKEND": "bgjob.contrib.django.Backend", "QUEUES": ["default", "mail"],
                "OPTIONS": {"approved_tasks": APPROVED}},
    "inside": {"BACKEND": "bgjob.contrib.django.Backend",
               "OPTIONS": {"approved_tasks": APPROVED, "database": "default"}},
}
"""
BOOT = """
import os
import django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "app.settings")
django.setup()
import app.listening
"""
LISTENING = f"""
from {HOME} import signals

def listen(name):
    def told(sender, task_result, **_):
        with open("trace", "a") as trace:
            print(name, sender.__name__, task_result.id, task_result.status, task_result.is_finished, file=trace)
    getattr(signals, name).connect(told, weak=False)

listen("task_enqueued"), listen("task_started"), listen("task_finished")
"""
TASKS = f"""
import time
from {HOME} import task

def write(*words):
    with open("trace", "a") as trace:
        print(*words, file=trace)

@task(priority=3)
def note(text, *, times=1):
    write("note", text * times)
    return "is not kept"

@task
async def anote(text):
    write("anote", text)

@task
def fail():
    raise LookupError("nothing here")

@task
def hang():
    time.sleep(60)

@task(takes_context=True)
def about(context, word):
    write("about", context.task_result.id, context.attempt, word)

@task
def not_on_the_list():
    write("not on the list")

def no_task():
    write("no task")
"""


def prepared(project: Project) -> Project:
    """Give a project Django's settings, some tasks, and a queue."""
    configure(project)
    project.write_jobs(TASKS, "tasks")
    project.write_jobs(SETTINGS, "settings")
    project.write_jobs(BOOT, "boot")
    project.write_jobs(LISTENING, "listening")
    Database(str(project.database)).close()
    return project


def configure(project: Project) -> None:
    project.configure("boot: app.boot\nmax_retries: 1\ntimeout: 300ms", classes="bgjob.contrib.django.TaskJob")


@pytest.fixture
def site(project: Project) -> Project:
    return prepared(project)


def shell(site: Project, source: str) -> Any:
    """Run `source` in a process in which Django is set up; return what it says last, as JSON."""
    told = site.python(IMPORTS + textwrap.dedent(source)).stdout
    return json.loads(told) if told else None


IMPORTS = """
import datetime as dt, json, bgjob
import app.boot
from app import tasks
from django.db import transaction
"""
RESULTS = """
def told(number):
    found = tasks.note.get_backend().get_result(str(number))
    errors = [(one.exception_class_path, one.exception_class.__name__, one.traceback) for one in found.errors]
    return [found.status, found.task.name, found.args, found.kwargs, found.attempts, found.is_finished, errors]
"""


def notes(site: Project) -> list[str]:
    return [line for line in site.trace() if not line.startswith("task_")]


class Story:
    """Six tasks: queued in one process, run by a tick, looked up in another process; the tests below ask about them."""

    def __init__(self, folder: Path) -> None:
        self.site = prepared(Project(folder / "project"))
        self.queued, self.before = shell(self.site, RESULTS + """
later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
queued = tasks.note.enqueue("hi ", times=2)
tasks.anote.enqueue("a")
tasks.about.using(priority=1).enqueue("word")
tasks.fail.enqueue()
tasks.hang.using(priority=-99).enqueue()
tasks.note.using(priority=100, run_after=later, queue_name="mail").enqueue("later")
print(json.dumps([[queued.id, queued.status, queued.attempts, queued.enqueued_at is not None], told(1)]))
""")  # fmt: skip
        self.site.tick()
        self.results, self.queue_name = shell(self.site, RESULTS + """
print(json.dumps([[told(number) for number in range(1, 7)], tasks.note.get_result("6").task.queue_name]))
""")  # fmt: skip


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(tmp_path_factory.mktemp("django"))


def test_a_task_is_queued_run_and_looked_up(story: Story) -> None:
    assert story.queued == ["1", "READY", 0, True]
    assert story.before == ["READY", "note", ["hi "], {"times": 2}, 0, False, []]
    assert story.results[0] == ["SUCCESSFUL", "note", ["hi "], {"times": 2}, 1, True, []]
    assert story.site.jobs("method, job_class")[0] == ("execute", "bgjob.contrib.django.TaskJob")


def test_they_run_by_priority_async_ones_too_and_those_that_take_a_context(story: Story) -> None:
    assert notes(story.site) == ["note hi hi ", "about 3 1 word", "anote a"]


def test_priority_and_time_are_those_of_the_job(story: Story) -> None:
    assert [priority for (priority,) in story.site.jobs("priority")] == [3, 0, 1, 0, -99, 100]
    assert story.site.jobs("status, available_at > created_at")[5] == ("pending", 1)
    assert (story.results[5][0], story.queue_name) == ("READY", "mail")


def test_a_task_that_fails_is_tried_again_and_its_errors_are_told(story: Story) -> None:
    status, name, _, _, attempts, is_finished, errors = story.results[3]

    assert (status, name, attempts, is_finished) == ("FAILED", "fail", 2, True)
    assert [path for path, _, _ in errors] == ["builtins.LookupError"] * 2
    assert "nothing here" in errors[0][2]


def test_a_time_out_is_told_as_one(story: Story) -> None:
    assert story.results[4][0] == "FAILED"
    assert [name for _, name, _ in story.results[4][6]] == ["JobTimeout"] * 2


def test_djangos_signals_tell_of_each_step_and_of_the_end_once(story: Story) -> None:
    told = [line.split()[0::2] for line in story.site.trace() if line.startswith("task_")]

    assert [name for name, number, *_ in told if number == "1"] == ["task_enqueued", "task_started", "task_finished"]
    assert [line for line in story.site.trace() if line.startswith("task_") and " 4 " in line] == [
        "task_enqueued Backend 4 READY False",
        "task_started Backend 4 RUNNING False",
        "task_started Backend 4 RUNNING False",
        "task_finished Backend 4 FAILED True",
    ]
    assert "task_finished Backend 1 SUCCESSFUL True" in story.site.trace()


def test_a_task_that_is_not_approved_is_not_queued(site: Project) -> None:
    told = shell(site, """
        told = []
        for task in (tasks.not_on_the_list, tasks.note.using(queue_name="mail")):
            try:
                task.enqueue("text")
            except bgjob.NotApprovedError as error:
                told.append(str(error))
        print(json.dumps(told))
        """)  # fmt: skip

    assert len(told) == 1
    assert "'app.tasks.not_on_the_list' is not approved" in told[0]
    assert site.jobs() == [(1, "pending")]


def test_whatever_a_row_says_only_approved_tasks_run(site: Project) -> None:
    site.write_jobs("open('trace', 'a').write('imported')", "other")
    names = ["app.tasks.not_on_the_list", "os.system", "app.tasks.no_task", "app.other.task"]
    for name in names:
        params = {"task": name, "args": ["touch trace"], "kwargs": {}, "backend": "default", "queue_name": "default"}
        site.sql(
            "INSERT INTO custom_jobs (job_class, method, params) VALUES (?, 'execute', ?)",
            ("bgjob.contrib.django.TaskJob", json.dumps(params)),
        )
    site.tick()

    assert site.trace() == []
    assert site.jobs("status, retry_count") == [("failed", 0)] * 4
    assert all(name in error for name, (error,) in zip(names, site.jobs("error"), strict=True))


def test_in_djangos_transaction_if_the_options_name_its_database(site: Project) -> None:
    shell(site, """
        inside = tasks.note.using(backend="inside")
        with transaction.atomic():
            inside.enqueue("kept")
            assert bgjob.get_job(1) is None
        try:
            with transaction.atomic():
                inside.enqueue("taken back")
                raise KeyError
        except KeyError:
            pass
        inside.enqueue("at once")
        """)  # fmt: skip
    site.tick()

    assert notes(site) == ["note kept", "note at once"]


def test_without_that_it_is_queued_at_once_whatever_becomes_of_the_transaction(site: Project) -> None:
    shell(site, """
        try:
            with transaction.atomic():
                tasks.note.enqueue("kept all the same")
                raise KeyError
        except KeyError:
            pass
        """)  # fmt: skip

    assert site.jobs() == [(1, "pending")]


def test_results_that_are_not_there_are_said_to_be_missing(site: Project) -> None:
    told = shell(site, """
        tasks.note.enqueue("a")
        told = []
        for backend, id in (("default", "2"), ("default", "x"), ("default", "9" * 30), ("inside", "1"),
                            ("default", None)):
            try:
                tasks.note.using(backend=backend).get_result(id)
            except Exception as error:
                told.append(type(error).__name__)
        print(json.dumps(told))
        """)  # fmt: skip

    assert told == ["TaskResultDoesNotExist"] * 5


@pytest.mark.parametrize("params", ["{}", "[]", "null", "5", '["app.tasks.note", [], {}, "default", "default"]', "{"])
def test_a_row_that_no_backend_has_written_is_the_result_of_no_task(site: Project, params: str) -> None:
    site.sql(
        "INSERT INTO custom_jobs (job_class, method, params) VALUES (?, 'execute', ?)",
        ("bgjob.contrib.django.TaskJob", params),
    )

    told = shell(site, """
        try:
            tasks.note.get_result("1")
        except Exception as error:
            print(json.dumps(type(error).__name__))
        """)  # fmt: skip

    assert told == "TaskResultDoesNotExist"


def test_a_task_that_gave_up_is_told_as_one_whatever_its_reason(site: Project) -> None:
    site.write_jobs(f"{TASKS}\nfrom bgjob import GiveUp\n@task\ndef note():\n    raise GiveUp('closed')\n", "tasks")
    shell(site, "tasks.note.enqueue()")
    site.tick()

    told = shell(site, """
        [error] = tasks.note.get_result("1").errors
        print(json.dumps(error.exception_class is bgjob.GiveUp))
        """)  # fmt: skip

    assert told is True


def test_a_task_that_put_itself_off_tells_of_its_failures_alone(site: Project) -> None:
    site.configure("boot: app.boot\nmax_postponements: 1\nmax_retries: 1", classes="bgjob.contrib.django.TaskJob")
    later = "@task\ndef note():\n    raise RetryLater(0)\n"
    site.write_jobs(f"{TASKS}\nfrom bgjob import RetryLater\n{later}", "tasks")
    shell(site, "tasks.note.enqueue()")
    site.tick()

    told = shell(site, """
        found = tasks.note.get_result("1")
        print(json.dumps([found.status, found.attempts, len(found.errors)]))
        """)  # fmt: skip

    assert len(site.sql("SELECT * FROM attempts")) == 4
    assert told == ["FAILED", 2, 2]


def test_a_cancelled_task_has_failed_and_a_naive_time_is_local_where_django_has_no_zones(site: Project) -> None:
    site.write_jobs(SETTINGS.replace("USE_TZ = True", "USE_TZ = False\nTIME_ZONE = 'Europe/Berlin'"), "settings")
    told = shell(site, """
        later = dt.datetime(2100, 7, 1, 12)
        queued = tasks.note.using(run_after=later).enqueue("later")
        found = tasks.note.get_result(queued.id)
        from django.db import connections
        connections["default"].cursor().execute("UPDATE custom_jobs SET status = 'cancelled'")
        found.refresh()
        print(json.dumps([str(found.task.run_after), queued.enqueued_at.tzinfo is None, found.status]))
        """)  # fmt: skip

    assert told == ["2100-07-01 12:00:00", True, "FAILED"]
    assert site.jobs("available_at") == [("2100-07-01 10:00:00.000000",)]


@pytest.mark.parametrize("options", ["{'approved': []}", "{'approved_tasks': 'app.tasks.note'}"])
def test_options_that_are_none_are_refused(site: Project, options: str) -> None:
    site.write_jobs(f"{SETTINGS}\nTASKS['default']['OPTIONS'] = {options}\n", "settings")

    done = site.python("import app.boot, app.tasks", check=False)

    assert "ImproperlyConfigured: OPTIONS of TASKS['default']" in done.stderr


def test_the_backend_stays_small() -> None:
    path: Path = CODE / "bgjob" / "contrib" / "django.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 150
