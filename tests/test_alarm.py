"""The silence alarm: raised once for each outage, by who queues or by the ticks, and ended by the ticks."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from freezegun import freeze_time

from bgjob import alarm, clock, enqueue, process, run_background_job, watch
from bgjob.cli.main import main
from bgjob.config import read_config
from bgjob.console import Console
from bgjob.logs import Logs
from bgjob.store.alarms import AlarmStore
from bgjob.store.connection import Database
from tests.conftest import wait_until
from tests.test_status import bgjob, status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Project

JOBS = """
import os, time

class Job:
    def execute(self):
        pass

    def wait(self):
        open("trace", "a").write("begin\\n")
        while not os.path.exists("go"):
            time.sleep(0.005)

class Tell:
    def execute(self, alarm):
        open("told", "a").write(alarm["kind"] + "\\n")
"""
CLASSES = "app.jobs.Job, app.jobs.Tell"
QUEUE = """
from bgjob import watch, run_background_job as queue
watch._FIRST_MINUTES = 0  # the machine that runs the tests may have been started just now
queue("app.jobs.Job")
"""


@pytest.fixture(autouse=True)
def jobs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.configure("on_alarm: app.jobs.Tell", methods="execute, wait", classes=CLASSES)
    project.write_jobs(JOBS)
    monkeypatch.setattr(watch, "_FIRST_MINUTES", 0)
    look_again(monkeypatch)


def look_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process look at the database at once, as if it had not done so yet."""
    monkeypatch.setattr(enqueue._intake, "_watch", watch.Watch())


def tick_ago(project: Project, minutes: float) -> None:
    """Set the time of the last tick back, as if none had come since."""
    then = time.time() - minutes * 60
    sign(project).touch()
    os.utime(sign(project), (then, then))


def sign(project: Project) -> Path:
    return project.folder / "storage" / "jobs.sqlite3.tick"


def in_minutes(text: str) -> str:
    """Return `text` without the seconds that have passed meanwhile."""
    return re.sub(r"(\d min) \d+ s", r"\1", text)


def text_ago(minutes: float) -> str:
    return clock.to_text(clock.now() - dt.timedelta(minutes=minutes))


def make_older(project: Project, minutes: float, which: str = "status = 'pending'") -> None:
    """Let jobs have been queued so many minutes ago."""
    then = text_ago(minutes)
    project.sql(f"UPDATE custom_jobs SET created_at = ?, updated_at = ? WHERE {which}", (then, then))  # noqa: S608


def work_since(project: Project, minutes: float, *, who: str = "1 0 -") -> None:
    """Enter a runner that was started so many minutes ago."""
    project.sql(
        "INSERT INTO runners (pid, process, version, lingers, started, last_seen) VALUES (1, ?, '0', 0, ?, ?)",
        (who, text_ago(minutes), text_ago(minutes)),
    )


def alarms(project: Project) -> list[tuple[Any, ...]]:
    return project.sql("SELECT kind, ended_at IS NOT NULL FROM alarms ORDER BY id")


def lines(project: Project, word: str) -> list[str]:
    return [line for line in project.log(errors=True).splitlines() if f" {word} " in line]


def hook_jobs(project: Project) -> list[tuple[Any, ...]]:
    return project.sql("SELECT params, priority FROM custom_jobs WHERE job_class = 'app.jobs.Tell'")


@pytest.fixture
def database(project: Project) -> Iterator[Database]:
    opened = Database(str(project.database))
    yield opened
    opened.close()


def look_after(project: Project, database: Database) -> bool:
    """Do what a runner does each half minute."""
    config = read_config(str(project.folder / "config" / "jobs.yaml"))
    logs = Logs(config.log_directory, max_size=config.log_max_size, files=config.log_files)
    console = Console(quiet=True)
    try:
        return alarm.look_after(database, config, clock.now(), logs=logs, console=console)
    finally:
        logs.close()
        console.close()


# No tick comes


def test_jobs_are_due_and_no_tick_came_so_who_queues_raises_the_alarm(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    project.tick()
    tick_ago(project, 7)

    run_background_job("app.jobs.Job")

    told = "no tick for 7 min, and jobs are due: is cron running? bgjob doctor looks for the reason"
    assert [(record.name, record.levelno) for record in caplog.records] == [("bgjob", logging.WARNING)]
    assert [*map(in_minutes, caplog.messages)] == [f"{project.database}: {told}"]
    assert alarms(project) == [("no tick", 0)]
    [line] = lines(project, "alarm")
    assert in_minutes(line[27:]) == f'ERROR alarm alarm=1 kind="no tick" what="{told}"'
    [(params, priority)] = hook_jobs(project)
    facts = json.loads(params)["alarm"]
    assert (facts["id"], facts["kind"], in_minutes(facts["told"])) == (1, "no tick", told)
    assert facts["database"] == str(project.database)
    assert facts["oldest_due"]["id"] == 1
    assert priority == 2**63 - 1


def test_an_outage_is_told_once_and_its_end_and_the_next_one_too(
    project: Project, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tick()
    for _ in range(2):
        tick_ago(project, 7)
        for _ in range(3):
            look_again(monkeypatch)
            run_background_job("app.jobs.Job")
        project.tick()

    assert alarms(project) == [("no tick", 1), ("no tick", 1)]
    assert [len(lines(project, word)) for word in ("alarm", "end-alarm")] == [2, 2]
    assert len(caplog.records) == 2
    assert project.trace("told") == ["no tick", "no tick"]
    assert 'end-alarm alarm=2 kind="no tick" lasted=' in lines(project, "end-alarm")[1]


def test_while_ticks_come_or_nothing_is_due_all_is_quiet(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.tick()
    tick_ago(project, 4)
    run_background_job("app.jobs.Job")
    project.tick()
    tick_ago(project, 7)
    look_again(monkeypatch)

    run_background_job("app.jobs.Job", delay=3600)

    assert alarms(project) == []


def test_a_queue_that_never_saw_a_tick_has_time_to_get_its_cron(
    project: Project, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_background_job("app.jobs.Job")
    make_older(project, 6)
    look_again(monkeypatch)
    run_background_job("app.jobs.Job")
    assert alarms(project) == []
    os.utime(project.folder / "storage" / "jobs.sqlite3.turn", (0, 0))
    look_again(monkeypatch)

    run_background_job("app.jobs.Job")

    assert alarms(project) == [("no tick", 0)]
    assert "no tick ever came, and jobs are due, one of them for 6 min: is cron running" in in_minutes(
        caplog.messages[0]
    )


def test_a_paused_queue_is_no_outage(project: Project, database: Database) -> None:
    project.tick()
    tick_ago(project, 7)
    work_since(project, 10)
    project.sql("INSERT INTO pause (id, since) VALUES (1, ?)", (text_ago(60),))

    run_background_job("app.jobs.Job")
    make_older(project, 6)

    assert not look_after(project, database)
    assert alarms(project) == []


def test_what_waited_in_a_paused_queue_is_overdue_only_some_time_after_it_was_resumed(
    project: Project, database: Database
) -> None:
    project.tick()
    work_since(project, 6)  # it lingered, or was one of those that did
    run_background_job("app.jobs.Job")
    make_older(project, 60)
    assert main(["pause"]) == 0
    assert main(["resume"]) == 0

    assert not look_after(project, database)
    project.sql("UPDATE housekeeping SET resumed_at = ?", (text_ago(5.5),))
    assert look_after(project, database)


def test_a_runner_started_by_hand_needs_no_ticks_unless_it_hangs(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tick()
    tick_ago(project, 7)
    work_since(project, 10, who=process.identity(os.getpid()))
    run_background_job("app.jobs.Job")
    assert alarms(project) == []
    make_older(project, 6)
    look_again(monkeypatch)

    run_background_job("app.jobs.Job")

    assert alarms(project) == [("no tick", 0)]


def test_eight_processes_raise_one_alarm(project: Project) -> None:
    project.tick()
    tick_ago(project, 7)
    ours, theirs = os.pipe()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", f"import bgjob.enqueue, os; os.read({ours}, 1)\n{QUEUE}"],
            pass_fds=[ours],
            stderr=subprocess.PIPE,
            text=True,
            cwd=project.folder,
            env=project.environment(),
        )
        for _ in range(8)
    ]
    os.write(theirs, b"." * 8)

    warnings = [one.communicate(timeout=60)[1] for one in started]

    os.close(ours)
    os.close(theirs)
    assert [one.returncode for one in started] == [0] * 8
    assert len([text for text in warnings if text]) == 1
    assert alarms(project) == [("no tick", 0)]
    assert (len(hook_jobs(project)), len(lines(project, "alarm"))) == (1, 1)


def test_an_outage_that_another_process_has_entered_meanwhile_is_not_entered_again(
    project: Project, database: Database
) -> None:
    store, now = AlarmStore(database), clock.now()
    with database.transaction():
        numbers = [store.begin(kind, now, told="it is so") for kind in ("no tick", "no tick", "overdue")]
    assert store.end(store.open()["no tick"], now)
    with database.transaction():
        numbers.append(store.begin("no tick", now, told="it is so again"))

    assert numbers == [1, None, 2, 3]
    assert alarms(project) == [("no tick", 1), ("overdue", 0), ("no tick", 0)]


def test_only_a_tick_ends_the_lack_of_ticks(project: Project, database: Database) -> None:
    project.tick()
    tick_ago(project, 7)
    run_background_job("app.jobs.Job")
    look_after(project, database)
    assert alarms(project) == [("no tick", 0)]
    tick_ago(project, -1)

    look_after(project, database)

    assert alarms(project) == [("no tick", 1)]


def test_whoever_writes_just_now_is_not_waited_for(project: Project, database: Database) -> None:
    project.tick()
    run_background_job("app.jobs.Job")
    tick_ago(project, 7)
    config = read_config(str(project.folder / "config" / "jobs.yaml"))
    other = sqlite3.connect(project.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    before = time.monotonic()

    assert alarm.notice(database, config, clock.now()) is None

    assert time.monotonic() - before < 1
    other.execute("ROLLBACK")
    other.close()
    assert alarm.notice(database, config, clock.now()) is not None
    assert alarms(project) == [("no tick", 0)]


def test_nothing_that_goes_wrong_with_the_alarm_is_the_callers_concern(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tick()
    tick_ago(project, 7)
    project.sql("DROP TABLE alarms")

    assert run_background_job("app.jobs.Job")
    look_again(monkeypatch)
    assert run_background_job("app.jobs.Job")

    assert project.jobs() == [(1, "pending"), (2, "pending")]


class Handler(logging.Handler):
    """An app's own, which queues a job for each warning, and is broken besides."""

    def emit(self, record: logging.LogRecord) -> None:
        run_background_job("app.jobs.Job", "wait")
        raise ValueError(record)


def test_a_handler_of_the_warning_may_queue_a_job_and_may_fail(project: Project) -> None:
    project.tick()
    tick_ago(project, 7)
    handler = Handler()
    logging.getLogger("bgjob").addHandler(handler)
    try:
        assert run_background_job("app.jobs.Job")
    finally:
        logging.getLogger("bgjob").removeHandler(handler)

    assert [method for (method,) in project.sql("SELECT method FROM custom_jobs ORDER BY id")] == [
        "execute",
        "execute",
        "wait",
    ]


def test_a_clock_that_was_set_back_raises_no_alarm_and_one_that_runs_on_does(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tick()
    with freeze_time(clock.now() - dt.timedelta(days=1)):
        run_background_job("app.jobs.Job")
    assert alarms(project) == []
    look_again(monkeypatch)

    with freeze_time(clock.now() + dt.timedelta(minutes=6)):
        run_background_job("app.jobs.Job")

    assert alarms(project) == [("no tick", 0)]


def test_an_outage_that_a_clock_ahead_of_time_began_is_over_with_the_next_tick(project: Project) -> None:
    project.tick()
    with freeze_time(clock.now() + dt.timedelta(days=1)):
        run_background_job("app.jobs.Job")
    assert alarms(project) == [("no tick", False)]

    project.tick()

    assert alarms(project) == [("no tick", True)]


def test_a_process_looks_for_a_tick_once_a_second_at_most(project: Project) -> None:
    now = clock.now()
    with freeze_time(now):
        run_background_job("app.jobs.Job")
        make_older(project, 6)
        os.utime(project.folder / "storage" / "jobs.sqlite3.turn", (0, 0))
    with freeze_time(now + dt.timedelta(seconds=0.999)):
        run_background_job("app.jobs.Job")
        assert alarms(project) == []

    with freeze_time(now + dt.timedelta(seconds=1)):
        run_background_job("app.jobs.Job")

    assert alarms(project) == [("no tick", 0)]


def test_a_process_looks_at_the_database_once_in_ten_seconds_at_most(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    instant = 1000.0
    monkeypatch.setattr(alarm, "notice", lambda *_: looks.append(instant))
    monkeypatch.setattr(clock, "monotonic", lambda: instant)
    project.tick()
    tick_ago(project, 7)

    for instant in (1000.0, 1001.0, 1009.9, 1010.1, 1011.0, 1021.0):  # noqa: B007  # what the clock tells
        run_background_job("app.jobs.Job")

    assert looks == [1000.0, 1010.1, 1021.0]


def test_a_machine_that_was_just_started_is_left_its_first_minutes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.tick()
    tick_ago(project, 7)
    monkeypatch.setattr(watch, "_FIRST_MINUTES", 120.0)
    monkeypatch.setattr(clock, "monotonic", lambda: 119.0)
    run_background_job("app.jobs.Job")
    assert alarms(project) == []
    monkeypatch.setattr(clock, "monotonic", lambda: 121.0)

    run_background_job("app.jobs.Job")

    assert alarms(project) == [("no tick", 0)]


def test_a_tick_ends_the_outage_also_when_nothing_is_due_any_more(project: Project) -> None:
    project.tick()
    tick_ago(project, 7)
    run_background_job("app.jobs.Job")
    project.sql("DELETE FROM custom_jobs")

    done = project.tick()

    assert (done.stdout, done.stderr) == ("", "")
    assert alarms(project) == [("no tick", 1)]


def test_status_shows_an_outage_on_top(project: Project) -> None:
    project.tick()
    tick_ago(project, 7)
    run_background_job("app.jobs.Job")

    shown = bgjob(project, "status").stdout

    [seen] = status(project)["alarms"]
    assert (seen["kind"], in_minutes(seen["told"])[:18]) == ("no tick", "no tick for 7 min,")
    assert seen["raised_at"].endswith("Z")
    assert in_minutes(shown).startswith("ALARM      no tick for 7 min, and jobs are due: is cron running")


# Ticks come, and yet jobs wait


def test_a_job_that_waits_though_ticks_come_is_told_once(
    project: Project, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    run_background_job("app.jobs.Job")
    project.tick()
    run_background_job("app.jobs.Job")
    make_older(project, 6)
    work_since(project, 6)

    assert look_after(project, database)
    assert look_after(project, database)

    told = "job 2 app.jobs.Job.execute has been due for 6 min though ticks come: a runner hangs, or there is more work"
    assert alarms(project) == [("overdue", 0)]
    assert told in in_minutes(lines(project, "alarm")[0])
    assert in_minutes(capfd.readouterr().err).startswith(f"bgjob: {project.database}: {told}")
    assert len(hook_jobs(project)) == 1


def test_it_is_over_when_nothing_has_waited_for_so_long(project: Project, database: Database) -> None:
    run_background_job("app.jobs.Job")
    make_older(project, 6)
    work_since(project, 6)
    assert look_after(project, database)
    make_older(project, 4)

    assert not look_after(project, database)

    assert alarms(project) == [("overdue", 1)]
    assert len(lines(project, "end-alarm")) == 1


def test_one_of_the_processes_that_queue_warns_too(
    project: Project, database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_background_job("app.jobs.Job")
    project.tick()
    run_background_job("app.jobs.Job")
    make_older(project, 6)
    work_since(project, 6)
    last_tick = sign(project).stat().st_mtime_ns
    look_after(project, database)

    for _ in range(3):
        look_again(monkeypatch)
        run_background_job("app.jobs.Job")

    assert len(caplog.messages) == 1
    assert "job 2 app.jobs.Job.execute has been due for 6 min though ticks come" in in_minutes(caplog.messages[0])
    assert sign(project).stat().st_mtime_ns == last_tick


@pytest.mark.parametrize(
    ("runners", "raised"),
    [
        ([], False),
        ([1], False),
        ([480, 1], False),
        ([480, 5.5, 4, 3, 2, 1], True),
        ([480, 6], True),
    ],
    ids=["never", "just begun", "off for the night", "one a minute", "one hangs"],
)
def test_time_in_which_no_runner_came_is_no_hang(
    project: Project, database: Database, runners: list[float], *, raised: bool
) -> None:
    run_background_job("app.jobs.Job")
    make_older(project, 470)
    for minutes in runners:
        work_since(project, minutes)

    assert look_after(project, database) is raised


@pytest.mark.parametrize(
    ("columns", "overdue"),
    [
        ({"created_at": 60, "updated_at": 60}, True),
        ({"created_at": 60, "updated_at": 1}, False),  # requeued, or handed back, a minute ago
        ({"created_at": 60, "updated_at": 60, "available_at": 1}, False),
        ({"created_at": 60, "updated_at": 60, "available_at": 10}, True),
        ({"created_at": 60, "updated_at": 60, "available_at": 10, "promoted": True}, True),
        ({"created_at": 60, "updated_at": 1, "available_at": 10, "promoted": True}, False),
        ({"created_at": 60, "updated_at": None}, True),
        ({"created_at": None, "updated_at": None}, False),  # nobody knows
    ],
)
def test_a_job_waits_since_it_was_last_made_due(
    project: Project, database: Database, columns: dict[str, int | None], *, overdue: bool
) -> None:
    run_background_job("app.jobs.Job")
    for name, minutes in columns.items():
        value = minutes if minutes is None or minutes is True else text_ago(minutes)
        project.sql(f"UPDATE custom_jobs SET {name} = ?", (value,))  # noqa: S608  # the test's own columns
    work_since(project, 20)

    assert look_after(project, database) is overdue


def test_the_oldest_of_the_due_jobs_is_found_among_all_kinds(project: Project, database: Database) -> None:
    for _ in range(6):
        run_background_job("app.jobs.Job")
    make_older(project, 60)
    for job_id, minutes, promoted in ((1, 10, 0), (2, 12, 0), (3, 11, 1), (4, 13, 1)):
        project.sql(
            "UPDATE custom_jobs SET available_at = ?, promoted = ? WHERE id = ?", (text_ago(minutes), promoted, job_id)
        )
    store = AlarmStore(database)
    found = []
    while (oldest := store.oldest_due(clock.now())) is not None:
        found.append(oldest.id)
        project.sql("DELETE FROM custom_jobs WHERE id = ?", (oldest.id,))

    assert found == [5, 6, 4, 2, 3, 1]


@pytest.mark.slow
def test_ticks_that_a_hung_runner_turns_away_raise_the_alarm_and_end_it(project: Project) -> None:
    run_background_job("app.jobs.Job", "wait")
    hung = project.start_tick()
    wait_until(project.trace)
    os.kill(hung.pid, signal.SIGSTOP)
    run_background_job("app.jobs.Job")
    make_older(project, 6)
    project.sql("UPDATE runners SET started = ?", (text_ago(7),))

    first, second = project.tick(), project.tick()

    assert "has been due for 6 min though ticks come" in in_minutes(first.stderr)
    assert (first.stdout, second.stdout, second.stderr) == ("", "", "")
    assert alarms(project) == [("overdue", 0)]
    assert time.time() - sign(project).stat().st_mtime < 60
    (project.folder / "go").touch()
    hung.kill()
    hung.wait()
    project.tick()
    assert alarms(project) == [("overdue", 1)]
    assert set(project.jobs("status")) == {("completed",)}
