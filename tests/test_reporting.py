"""A job can ask which one it is and tell how far it is: seen while it runs, kept to the end of the attempt."""

from __future__ import annotations

import decimal
import json
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import current_job, execution, reporting, run_background_job, set_progress, sql
from bgjob import jobs as jobs_of
from bgjob.board import LONGEST_TEXT, SIZE, Board, Reached
from bgjob.config import read_config
from bgjob.job import ClaimedJob
from tests.conftest import wait_until
from tests.test_architecture import open_pipe
from tests.test_status import bgjob, queue, status

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import asyncio, json, os, signal, sys, threading, time
import bgjob
from bgjob import current_job, set_progress

def tell(**more):
    job = current_job()
    facts = None if job is None else {**job._asdict(), "seconds_left": job.seconds_left}
    with open("trace", "a") as trace:
        trace.write(json.dumps(facts) + "\\n")

def wait():
    go = os.open("go", os.O_RDONLY)
    os.read(go, 2)
    os.close(go)

tell()

class Job:
    def execute(self):
        pass
    def ask(self):
        tell()
    def ask_and_fail(self):
        tell()
        raise ValueError("no good")
    async def ask_later(self):
        await asyncio.sleep(0)
        tell()
    def ask_in_thread(self):
        thread = threading.Thread(target=tell)
        thread.start()
        thread.join()
    def ask_in_child(self):
        if os.fork() == 0:
            tell()
            set_progress(0.9, "the child")
            os._exit(0)
        os.wait()
        set_progress(0.2, "the parent")
    def ask_after_timeout(self):
        try:
            time.sleep(60)
        finally:
            tell()
    def report(self, *steps):
        for fraction, text in steps:
            set_progress(fraction, text)
    def report_in_thread(self):
        thread = threading.Thread(target=set_progress, args=(0.3, "in a thread"))
        thread.start()
        thread.join()
    async def report_later(self):
        await asyncio.sleep(0)
        await asyncio.to_thread(set_progress, 0.4, "in a coroutine's thread")
    def report_and(self, what):
        set_progress(0.25, "a quarter")
        {"fail": lambda: 1 / 0, "exit": lambda: os._exit(3), "overrun": lambda: time.sleep(60),
         "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
         "retry": lambda: (_ for _ in ()).throw(bgjob.RetryLater(3600))}[what]()
    def stay(self):
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        set_progress(0.75, "stuck")
        time.sleep(60)
    def wait(self, fraction, text, then=None):
        set_progress(fraction, text)
        wait()
        if then:
            set_progress(*then)
            wait()
    def once(self):
        if current_job().attempt == 1:
            set_progress(0.5, "first attempt")
            raise ValueError("no good")
        wait()
    def wrong(self):
        set_progress(40)
    def close_files(self):
        os.closerange(3, 256)
        set_progress(0.5, "closed all files")
    def forever(self):
        n = 0
        while True:
            n += 1
            set_progress(0.5, f"row {n}")
"""
METHODS = (
    "execute, ask, ask_and_fail, ask_later, ask_in_thread, ask_in_child, ask_after_timeout, report, report_in_thread, "
    "report_later, report_and, stay, wait, once, wrong, close_files, forever"
)


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    configure(project)
    project.write_jobs(JOBS)


def configure(project: Project, text: str = "max_retries: 0") -> None:
    project.configure(text, methods=METHODS)


def asked(project: Project) -> list[dict[str, Any] | None]:
    """Return what the jobs were told of themselves; the first one is what their module was told at its import."""
    return [json.loads(line) for line in project.trace()]


def progress(project: Project, job_id: int = 1) -> tuple[Any, ...] | None:
    """Return share and text that are shown of a job."""
    told = json.loads(bgjob(project, "show", str(job_id), "--json").stdout)["progress"]
    return (told["fraction"], told["text"]) if told else None


def written(project: Project) -> list[tuple[Any, ...]]:
    return project.sql("SELECT job_id, fraction, text FROM progress ORDER BY job_id")


# Which job it is


def test_outside_of_a_job_there_is_none() -> None:
    assert current_job() is None


def test_after_a_job_there_is_none_any_more(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(project.folder)
    project.write_jobs("class Job:\n    def execute(self): raise ValueError\n", "others")
    project.configure(classes="app.others.Job")

    execution.execute(
        read_config("config/jobs.yaml"), ClaimedJob(1, "app.others.Job", "execute", None, 0, 0, 0, 1, "w")
    )

    assert current_job() is None


def test_a_job_is_told_which_one_it_is(project: Project) -> None:
    configure(project, "max_retries: 1\ntimeout: 60s")
    queue(project, "'ask_and_fail', priority=7")

    project.tick()

    _, first, second = asked(project)
    assert first
    assert second
    assert 50 < first.pop("seconds_left") <= 60
    assert first == {
        "id": 1,
        "job_class": "app.jobs.Job",
        "method": "ask_and_fail",
        "priority": 7,
        "attempt": 1,
        "is_last_attempt": False,
    }
    assert (second["attempt"], second["is_last_attempt"]) == (2, True)


def test_it_is_there_when_the_jobs_module_is_imported(project: Project) -> None:
    queue(project, "'execute'")

    project.tick()

    [told] = asked(project)
    assert told
    assert told["id"] == 1


@pytest.mark.parametrize("method", ["ask_later", "ask_in_thread"])
def test_it_is_the_same_in_coroutines_and_threads(project: Project, method: str) -> None:
    queue(project, f"'{method}'")

    project.tick()

    told = asked(project)[1]
    assert told
    assert (told["id"], told["method"]) == (1, method)


@pytest.mark.parametrize("where", ["", "--in-process"])
def test_each_job_of_a_worker_is_told_its_own(project: Project, where: str) -> None:
    queue(project, "'ask'", "'ask'", "'ask'")

    project.tick(*where.split())

    assert [told and told["id"] for told in asked(project)] == [1, 1, 2, 3]


def test_a_child_that_the_job_forks_is_not_the_job(project: Project) -> None:
    queue(project, "'ask_in_child'")

    project.tick()

    assert asked(project)[1] is None
    assert written(project) == [(1, 0.2, "the parent")]


def test_no_time_is_left_after_the_timeout(project: Project) -> None:
    configure(project, "max_retries: 0\ntimeout: 500ms")
    queue(project, "'ask_after_timeout'")

    project.tick()

    told = asked(project)[1]
    assert told
    assert told["seconds_left"] == 0


def test_the_value_never_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rules:
        max_retries = 0

    monkeypatch.setattr(reporting, "running", (ClaimedJob(1, "a.B", "c", None, 0, 0, 0, 1, "w"), Rules))
    job = current_job()
    assert job

    with pytest.raises(AttributeError):
        job.id = 2  # type: ignore[misc]
    assert job.seconds_left is None


# How far it is


@pytest.mark.parametrize(
    ("fraction", "seen"), [(0, 0.0), (1, 1.0), (0.4, 0.4), (None, None), (decimal.Decimal("0.5"), 0.5), (1 + 1e-12, 1)]
)
def test_a_share_may_be_any_number_from_0_to_1_or_unknown(
    monkeypatch: pytest.MonkeyPatch, fraction: Any, seen: float | None
) -> None:
    monkeypatch.setattr(reporting, "running", (ClaimedJob(7, "a.B", "c", None, 0, 0, 0, 1, "w"), None))
    monkeypatch.setattr(reporting, "board", Board())

    set_progress(fraction, "text")

    assert reporting.board.read() == Reached(7, seen, "text")


@pytest.mark.parametrize("fraction", [40, -0.1, 1.01, float("nan"), float("inf"), 10**400])
def test_a_share_out_of_range_is_refused_also_outside_of_a_job(fraction: float) -> None:
    with pytest.raises(ValueError, match="the progress of a job is a share from 0 to 1, or None, not"):
        set_progress(fraction)


def test_a_share_just_out_of_range_is_told_as_it_is() -> None:
    with pytest.raises(ValueError, match=r"not 1\.0000001;"):
        set_progress(1.0000001)


@pytest.mark.parametrize("fraction", ["0.4", True, b"1", [0.5], 1j])
def test_a_share_that_is_no_number_is_refused(fraction: Any) -> None:
    with pytest.raises(TypeError, match="the progress of a job is a share from 0 to 1, or None, not"):
        set_progress(fraction)


@pytest.mark.parametrize("text", [b"bytes", 5, ["a"]])
def test_a_text_that_is_none_is_refused(text: Any) -> None:
    with pytest.raises(TypeError, match="the text of a job's progress is a str or None, not"):
        set_progress(0.5, text)


def test_outside_of_a_job_nothing_happens() -> None:
    set_progress(0.5, "text")

    assert reporting.board.read() is None


def test_a_wrong_share_fails_the_job_with_a_clear_text(project: Project) -> None:
    queue(project, "'wrong'")

    project.tick()

    [(error,)] = project.jobs("error")
    assert error == "ValueError: the progress of a job is a share from 0 to 1, or None, not 40; 40 % is 0.4"


def test_it_is_seen_while_the_job_runs(project: Project) -> None:
    queue(project, "'wait', [0.4, 'importing rows', [0.999, 'nearly\\x1b there']]")
    go = open_pipe(project.folder / "go")
    tick = project.start_tick()
    wait_until(lambda: project.database.exists() and written(project))

    first, shown = status(project)["running"][0]["progress"], bgjob(project, "status").stdout
    listed, listing = bgjob(project, "list").stdout, json.loads(bgjob(project, "list", "--json").stdout)
    os.write(go, b"go")
    wait_until(lambda: written(project) != [(1, 0.4, "importing rows")])
    later, whole = bgjob(project, "status").stdout, bgjob(project, "show", "1").stdout
    os.write(go, b"go")
    tick.communicate(timeout=30)
    os.close(go)

    assert (first["fraction"], first["text"], first["updated_at"][-1]) == (0.4, "importing rows", "Z")
    assert ", 40 %: importing rows\n" in shown
    assert listed.splitlines()[1].endswith("  app.jobs.Job.wait  40 %: importing rows")
    assert listing["jobs"][0]["progress"]["fraction"] == 0.4
    assert ", 99 %: nearly\\x1b there\n" in later
    assert "\nprogress      99 %: nearly\\x1b there (" in whole


@pytest.mark.parametrize("where", ["", "--in-process"])
def test_the_last_value_is_kept_however_short_the_job_was(project: Project, where: str) -> None:
    queue(
        project, "'report', [[0.1, 'a'], [0.2, None], [None, 'c']]", "'execute'", "'report', [[0.5, 'a'], [0.6, None]]"
    )

    project.tick(*where.split())

    assert written(project) == [(1, None, "c"), (3, 0.6, None)]
    assert project.jobs("status") == [("completed",)] * 3


@pytest.mark.parametrize(
    ("method", "expected"),
    [("report_in_thread", (0.3, "in a thread")), ("report_later", (0.4, "in a coroutine's thread"))],
)
def test_threads_and_coroutines_may_tell(project: Project, method: str, expected: tuple[float, str]) -> None:
    queue(project, f"'{method}'")

    project.tick()

    assert progress(project) == expected


@pytest.mark.parametrize(
    ("what", "outcome"),
    [("fail", "raised"), ("exit", "crashed"), ("die", "crashed"), ("overrun", "timed out"), ("retry", "raised")],
)
def test_however_an_attempt_ends_it_is_known_how_far_it_came(project: Project, what: str, outcome: str) -> None:
    configure(project, "max_retries: 0\ntimeout: 500ms")
    queue(project, f"'report_and', ['{what}']")

    project.tick()

    assert progress(project) == (0.25, "a quarter")
    assert project.sql("SELECT outcome FROM attempts") == [(outcome,)]


def test_it_is_known_of_a_job_that_was_killed_after_its_timeout(project: Project) -> None:
    configure(project, "max_retries: 0\ntimeout: 500ms\ntimeout_grace: 50ms")
    queue(project, "'stay'")

    project.tick()

    assert progress(project) == (0.75, "stuck")
    assert project.sql("SELECT outcome FROM attempts") == [("timed out",)]


def test_a_worker_that_is_killed_while_it_tells_leaves_what_it_told(project: Project) -> None:
    queue(project, "'forever'")
    tick = project.start_tick()
    wait_until(lambda: project.database.exists() and written(project))
    [(worker,)] = project.jobs("worker")

    os.kill(int(worker.split()[0]), signal.SIGKILL)
    tick.communicate(timeout=30)

    [(_, fraction, text)] = written(project)
    assert fraction == 0.5
    assert text.startswith("row ")
    assert project.jobs("status") == [("failed",)]


def test_after_the_death_of_the_runner_too_the_last_that_was_seen_is_kept(project: Project) -> None:
    queue(project, "'forever'")
    tick = project.start_tick()
    wait_until(lambda: project.database.exists() and written(project))

    tick.kill()
    tick.communicate(timeout=30)
    configure(project, "max_retries: 0\nmax_crashes: 1")
    project.tick()

    told = progress(project)
    assert told
    assert told[1].startswith("row ")
    assert project.jobs("status") == [("failed",)]


def test_in_python_a_job_has_its_progress(project: Project) -> None:
    queue(project, "'report', [[0.5, 'half']]", "'execute'")
    project.tick()

    silent, telling = jobs_of()

    told = telling.progress
    assert told
    assert (told.fraction, told.text, told.updated_at) == (0.5, "half", telling.finished_at)
    assert silent.progress is None


def test_the_next_attempt_begins_without_any(project: Project) -> None:
    configure(project, "max_retries: 1")
    queue(project, "'once'")
    go = open_pipe(project.folder / "go")
    tick = project.start_tick()
    wait_until(lambda: project.database.exists() and project.jobs("retry_count, status") == [(1, "processing")])

    during = progress(project), status(project)["running"][0]["progress"]
    os.write(go, b"go")
    tick.communicate(timeout=30)
    os.close(go)

    assert written(project) == [(1, 0.5, "first attempt")]
    assert (during, progress(project)) == ((None, None), None)


def test_a_requeued_job_begins_without_any(project: Project) -> None:
    queue(project, "'report_and', ['fail']")
    project.tick()

    bgjob(project, "requeue", "1")

    assert progress(project) is None


def test_it_goes_with_its_job(project: Project) -> None:
    queue(project, "'report', [[0.1, 'a']]", "'report', [[0.2, 'b']]")
    project.tick()

    bgjob(project, "delete", "1")

    assert written(project) == [(2, 0.2, "b")]


def test_each_of_two_workers_tells_of_its_own_job(project: Project) -> None:
    configure(project, "max_retries: 0\nworkers: 2")
    queue(project, "'wait', [0.1, 'one']", "'wait', [0.2, 'two']")
    go = open_pipe(project.folder / "go")
    tick = project.start_tick()
    wait_until(lambda: project.database.exists() and len(written(project)) == 2)

    told = {row["id"]: row["progress"]["text"] for row in status(project)["running"]}
    os.write(go, b"gogo")
    tick.communicate(timeout=30)
    os.close(go)

    assert told == {1: "one", 2: "two"}


def test_a_locked_database_holds_up_neither_the_job_nor_its_runner(project: Project) -> None:
    configure(project, "max_retries: 0\ntimeout: 1s\ntimeout_grace: 100ms")
    queue(project, "'execute'")
    project.tick()  # and so the pruning, which writes, is done
    queue(project, "'stay'")
    tick = project.start_tick()
    wait_until(lambda: project.jobs("status")[1:] == [("processing",)])
    _, (worker,) = project.jobs("worker")
    locking = sqlite3.connect(project.database, isolation_level=None, timeout=30)
    locking.execute("BEGIN IMMEDIATE")

    wait_until(lambda: not _command(worker), limit=10)
    locking.execute("COMMIT")
    locking.close()
    tick.communicate(timeout=30)

    assert progress(project, 2) == (0.75, "stuck")


def _command(worker: str) -> bytes:
    """Return the command line of a process; nothing for one that has ended, and waits to be reaped."""
    return (Path("/proc") / worker.split(maxsplit=1)[0] / "cmdline").read_bytes()


def test_a_job_that_closes_all_files_may_still_tell(project: Project) -> None:
    queue(project, "'close_files'", "'execute'")

    project.tick()

    assert written(project) == [(1, 0.5, "closed all files")]
    assert project.jobs("status") == [("failed",), ("completed",)]


def test_a_job_that_tells_nothing_leaves_nothing(project: Project) -> None:
    queue(project, "'execute'", "'ask'")

    project.tick()

    assert written(project) == []
    assert progress(project) is None


def test_a_queue_of_an_older_bgjob_gets_the_table(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "MIGRATIONS", sql.MIGRATIONS[:3])
    run_background_job("app.jobs.Job", "report", [[0.1, "a"]])

    project.tick()

    assert written(project) == [(1, 0.1, "a")]


# The memory that worker and runner share


def test_a_text_is_cut_and_made_fit_for_the_database() -> None:
    board = Board()

    board.note(1, 0.5, "\0\ud800" + "€😀" * 1_000)

    told = board.read()
    assert told
    assert told.text == "??" + "€😀" * 99
    assert len(told.text) == LONGEST_TEXT


def test_a_record_that_is_being_written_is_not_read() -> None:
    memory = bytearray(SIZE)
    board = Board(memoryview(memory))
    board.note(1, 0.5, "importing rows")

    memory[memory.index(b"rows")] = ord("c")

    assert board.read() is None
    board.note(1, 0.5, "other rows")
    assert board.read() == Reached(1, 0.5, "other rows")


def test_what_was_taken_is_forgotten() -> None:
    board = Board()
    board.note(1, 0.5, "text")

    assert (board.take(), board.take(), board.read()) == (Reached(1, 0.5, "text"), None, None)
    board.note(2, 0.25, None)
    assert board.read() == Reached(2, 0.25, None)


def test_a_reader_never_sees_halves_of_two_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    board, stop = Board(), threading.Event()
    monkeypatch.setattr(sys, "setswitchinterval", sys.setswitchinterval)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def write(letter: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            board.note(1, 0.5, letter * (number % 150 + 1))

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    try:
        seen = [board.read() for _ in range(20_000)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)

    texts = {reached.text for reached in seen if reached and reached.text}
    assert texts
    assert all(len(set(text)) == 1 for text in texts)
