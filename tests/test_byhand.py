"""requeue, cancel and delete: by id or by filter, never a job that is processing, and never one that has moved on."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from bgjob import clock, run_background_jobs, wake
from bgjob.job import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING
from bgjob.store.byhand import AT_ONCE, ByHand, Wanted
from bgjob.store.connection import Database
from tests.conftest import wait_until
from tests.test_status import bgjob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project

EARLY, LATE = "2026-01-01 00:00:00.000000", "2026-06-01 00:00:00.000000"
STATUSES = (PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED)
INSERT = """
    INSERT INTO custom_jobs (job_class, method, status, retry_count, crash_count, available_at, promoted, error,
        created_at, updated_at, started_at, finished_at, runner, worker)
    VALUES (:job_class, :method, :status, 2, 1, :early, 1, :error, :early, :changed, :early, :early, :runner, :worker)
"""


@pytest.fixture
def store(project: Project) -> Iterator[ByHand]:
    opened = Database(str(project.database))
    yield ByHand(opened)
    opened.close()


def insert(project: Project, *statuses: str, **values: object) -> list[int]:
    """Insert a job for each status, with an attempt; return their ids."""
    Database(str(project.database)).close()
    first = project.sql("SELECT coalesce(max(id), 0) + 1 FROM custom_jobs")[0][0]
    for status in statuses:
        row: dict[str, object] = {"job_class": "app.jobs.Job", "method": "execute", "error": "ValueError: no"}
        owner: dict[str, object] = (
            {"runner": 1, "worker": "1 2 3"} if status == PROCESSING else {"runner": None, "worker": None}
        )
        project.sql(INSERT, {**row, "early": EARLY, "changed": EARLY, "status": status, **owner, **values})
    project.sql(
        "INSERT INTO attempts (job_id, attempt, outcome, finished_at) SELECT id, 1, 'raised', '' FROM custom_jobs"
    )
    return list(range(first, first + len(statuses)))


def on_terminal(
    project: Project, *arguments: str, typed: str, meanwhile: Callable[[], object] = lambda: None
) -> tuple[int, str]:
    """Run a command on a terminal, type a line once it asks; return its exit code and what stood on the screen."""
    ours, theirs = pty.openpty()
    shown = b""
    try:
        command = subprocess.Popen(
            [sys.executable, "-m", "bgjob", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=project.folder,
            env=project.environment(TERM="xterm", NO_COLOR="1"),
            start_new_session=True,
        )
        os.close(theirs)
        # Linux tells the end of a terminal by an I/O error.
        with contextlib.suppress(OSError):
            while more := os.read(ours, 65_536):
                shown += more
                if b"[y/N] " in more:
                    meanwhile()
                    os.write(ours, typed.encode())
        return command.wait(60), shown.decode().replace("\r\n", "\n")
    finally:
        os.close(ours)


# The store


@pytest.mark.parametrize(
    ("verb", "moved", "target"),
    [
        ("requeue", {FAILED, CANCELLED}, PENDING),
        ("cancel", {PENDING}, CANCELLED),
        ("delete", set(STATUSES) - {PROCESSING}, None),
    ],
)
def test_a_verb_moves_only_the_statuses_that_it_may(
    project: Project, store: ByHand, verb: str, moved: set[str], target: str | None
) -> None:
    ids = insert(project, *STATUSES)
    seen = [job for job_id in ids if (job := store.find(job_id))]

    done = getattr(store, verb)(seen, clock.now())

    assert {job.status for job in done} == moved
    expected = {n: target if status in moved else status for n, status in zip(ids, STATUSES, strict=True)}
    assert dict(project.jobs()) == {n: status for n, status in expected.items() if status}


@pytest.mark.parametrize("verb", ["requeue", "cancel", "delete"])
def test_a_job_that_has_changed_since_it_was_seen_is_left_alone(project: Project, store: ByHand, verb: str) -> None:
    before, after = {"requeue": (FAILED, CANCELLED), "cancel": (PENDING, FAILED), "delete": (FAILED, PENDING)}[verb]
    [job_id] = insert(project, before)
    seen = store.find(job_id)
    assert seen
    project.sql("UPDATE custom_jobs SET status = ?", (after,))

    assert getattr(store, verb)([seen], clock.now()) == []
    assert project.jobs() == [(job_id, after)]


def test_a_requeued_job_is_as_if_just_queued_and_keeps_its_attempts(project: Project, store: ByHand) -> None:
    [job_id] = insert(project, FAILED)
    seen = store.find(job_id)
    assert seen
    now = clock.now()

    store.requeue([seen], now)

    columns = "status, retry_count, crash_count, available_at, promoted, error, created_at, updated_at, started_at"
    row = (PENDING, 0, 0, None, 0, None, EARLY, clock.to_text(now), None)
    assert project.jobs(columns) == [row]
    assert project.jobs("finished_at, runner, worker") == [(None, None, None)]
    assert project.sql("SELECT count(*) FROM attempts") == [(1,)]


def test_a_deleted_job_takes_its_attempts_along(project: Project, store: ByHand) -> None:
    ids = insert(project, FAILED, FAILED)
    seen = store.find(ids[0])
    assert seen

    store.delete([seen], clock.now())

    assert project.sql("SELECT DISTINCT job_id FROM attempts") == [(ids[1],)]


def test_matching_jobs_come_in_batches_each_once_though_they_match_again(project: Project, store: ByHand) -> None:
    project.sql(
        "INSERT INTO custom_jobs (job_class, method, status) SELECT 'a.B', 'm', 'failed' FROM "
        "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) SELECT i FROM n)"
    )
    wanted = Wanted((FAILED,))
    found = store.count(wanted)
    sizes = []

    for batch in store.matching(wanted, upto=found.last):
        sizes.append(len(batch))
        store.requeue(batch, clock.now())
        project.sql("UPDATE custom_jobs SET status = 'failed'")
        project.sql("INSERT INTO custom_jobs (job_class, method, status) VALUES ('a.B', 'm', 'failed')")

    assert found == (2500, 2500)
    assert sizes == [AT_ONCE, AT_ONCE, 500]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--class", "app.jobs.Other"], {2}),
        (["--method", "rebuild"], {3}),
        (["--error", "ConnectionError"], {4}),
        (["--error", "%"], set()),
        (["--since", "2026-05-31T12:00+00:00"], {5}),
        (["--since", "1h"], set()),
        (["--class", "app.jobs.Job", "--error", "ValueError", "--method", "execute"], {1, 5}),
        (["--status", "cancelled"], {6}),
        (["--all"], {1, 2, 3, 4, 5}),
        (["--all", "--status", "cancelled"], {6}),
        (["--status", "cancelled", "--class", "app.jobs.Other"], set()),
    ],
)
def test_filters_say_which_jobs_are_requeued(
    project: Project, store: ByHand, options: list[str], wanted: set[int]
) -> None:
    insert(project, FAILED)
    insert(project, FAILED, job_class="app.jobs.Other")
    insert(project, FAILED, method="rebuild")
    insert(project, FAILED, error="ConnectionError: no answer")
    insert(project, FAILED, changed=LATE)
    insert(project, CANCELLED, PENDING, PROCESSING, COMPLETED)
    store.database.close()

    bgjob(project, "requeue", *options, code=0 if wanted else 1)

    assert {n for n, status in project.jobs() if status == PENDING} - {7} == wanted


# By id


def test_ids_are_done_and_what_cannot_be_done_is_said_and_skipped(project: Project) -> None:
    insert(project, FAILED, PROCESSING, COMPLETED, CANCELLED)

    done = bgjob(project, "requeue", "1", "2", "3", "4", "9", "1", code=1)

    assert done.stdout == "requeued 2 jobs\n"
    assert done.stderr.splitlines() == [
        f"bgjob: there is no job 9 in {project.database}",
        "bgjob: job 2 is processing; it was left alone",
        "bgjob: job 3 is completed, and requeue takes failed and cancelled jobs; it was left alone",
    ]
    assert project.jobs() == [(1, PENDING), (2, PROCESSING), (3, COMPLETED), (4, PENDING)]


@pytest.mark.parametrize(
    ("command", "status", "line"),
    [
        ("requeue", FAILED, "requeue job=1 class=app.jobs.Job method=execute status=pending before=failed"),
        ("retry", FAILED, "requeue job=1 class=app.jobs.Job method=execute status=pending before=failed"),
        ("cancel", PENDING, "cancel job=1 class=app.jobs.Job method=execute status=cancelled before=pending"),
        ("delete", COMPLETED, "delete job=1 class=app.jobs.Job method=execute before=completed"),
    ],
)
def test_each_leaves_a_line_in_the_log(project: Project, command: str, status: str, line: str) -> None:
    insert(project, status)

    done = bgjob(project, command, "1")

    assert (
        done.stdout
        == f"{ {'delete': 'deleted', 'cancel': 'cancelled'}.get(command, 'requeued') } job 1 app.jobs.Job.execute\n"
    )
    assert done.stderr == ""
    [written] = project.log().splitlines()
    assert written[27:] == f"INFO {line}"


def test_the_json_has_the_same_keys_whatever_came_of_it(project: Project) -> None:
    insert(project, FAILED, PROCESSING)

    by_id = json.loads(bgjob(project, "delete", "1", "2", "9", "--json", code=1).stdout)
    insert(project, PENDING)
    by_filter = json.loads(bgjob(project, "--json", "delete", "--status", "pending", "--dry-run").stdout)

    assert by_id == {
        "command": "delete",
        "dry_run": False,
        "jobs": 1,
        "unknown": [9],
        "left_alone": [{"id": 2, "status": "processing"}],
        "processing": 0,
        "changed_meanwhile": 0,
    }
    assert list(by_filter) == list(by_id)
    assert (by_filter["jobs"], by_filter["dry_run"]) == (1, True)


# Many


def test_a_row_that_was_written_past_the_checks_holds_up_no_other(project: Project) -> None:
    insert(project, *[FAILED] * 3)
    project.sql_unchecked("UPDATE custom_jobs SET job_class = x'ff41', method = x'00' WHERE id = 1")

    bgjob(project, "requeue", "--all")

    assert project.jobs() == [(1, PENDING), (2, PENDING), (3, PENDING)]
    assert project.log().count(" requeue job=") == 3


def test_dry_run_counts_and_changes_nothing(project: Project) -> None:
    insert(project, *[FAILED] * 12)
    before = project.jobs("*")

    done = bgjob(project, "requeue", "--all", "--dry-run")

    assert done.stdout == "would requeue 12 jobs\n"
    assert project.jobs("*") == before
    assert project.log() == ""


def test_more_than_ten_need_a_yes_where_nobody_can_be_asked(project: Project) -> None:
    insert(project, *[FAILED] * 11)

    refused = bgjob(project, "delete", "--all", code=2, typed="y\n")
    assert refused.stderr == "bgjob: this would delete 11 jobs; say --yes to do it, or --dry-run to look first\n"
    assert len(project.jobs()) == 11

    assert bgjob(project, "delete", "--all", "--yes").stdout == "deleted 11 jobs\n"
    assert project.jobs() == []


def test_ten_need_no_yes(project: Project) -> None:
    insert(project, *[FAILED] * 10)

    assert bgjob(project, "delete", "--all").stdout == "deleted 10 jobs\n"


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 11), ("\n", 1, 11), ("\x04", 1, 11)])
def test_a_terminal_is_asked_before_more_than_ten(project: Project, answer: str, code: int, left: int) -> None:
    insert(project, *[PENDING] * 11)

    ended, shown = on_terminal(project, "cancel", "--all", typed=answer)

    assert "cancel 11 jobs? [y/N] " in shown
    assert ("cancelled 11 jobs" if code == 0 else "bgjob: nothing was changed") in shown
    assert ended == code
    assert [status for _, status in project.jobs()].count(PENDING) == left


def test_what_comes_to_match_before_the_answer_is_left_alone(project: Project) -> None:
    insert(project, PENDING, PENDING, *[FAILED] * 11)

    def fail_two() -> None:
        later = "strftime('%Y-%m-%d %H:%M:%f000', 'now', '+1 second')"
        project.sql(f"UPDATE custom_jobs SET status = 'failed', updated_at = {later} WHERE status = 'pending'")  # noqa: S608  # our own words

    ended, shown = on_terminal(project, "delete", "--all", typed="y\n", meanwhile=fail_two)

    assert "deleted 11 jobs" in shown
    assert ended == 0
    assert project.jobs() == [(1, FAILED), (2, FAILED)]


def test_a_job_of_a_clock_that_was_set_back_since_is_found_where_nobody_is_asked(project: Project) -> None:
    insert(project, FAILED, changed="2999-01-01 00:00:00.000000")

    assert bgjob(project, "requeue", "--all").stdout == "requeued 1 job\n"


def test_jobs_that_are_processing_are_counted_and_left_alone(project: Project) -> None:
    insert(project, PENDING, PROCESSING, PROCESSING)

    done = bgjob(project, "cancel", "--class", "app.jobs.Job")

    assert done.stdout == "cancelled 1 job\n"
    assert done.stderr == "bgjob: processing, and left alone: 2 jobs\n"
    assert project.jobs() == [(1, CANCELLED), (2, PROCESSING), (3, PROCESSING)]


def test_delete_takes_waiting_jobs_only_where_it_is_told_to(project: Project) -> None:
    insert(project, *STATUSES)

    bgjob(project, "delete", "--all")
    assert project.jobs() == [(1, PENDING), (2, PROCESSING)]

    bgjob(project, "delete", "--all", "--status", "pending")
    assert project.jobs() == [(2, PROCESSING)]


# What can't be meant


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["cancel"], 2, "which jobs?"),
        (["cancel", "1", "--all"], 2, "name ids or filters, not both"),
        (["delete", "1", "--status", "failed"], 2, "name ids or filters, not both"),
        (["cancel", "--all", "--class", "app.jobs.Job"], 2, "--all means every job"),
        (["cancel", "--class", ""], 2, "a filter is empty"),
        (["cancel", "--since", "yesterday-ish"], 2, "bgjob: --since: 'yesterday-ish' is no time"),
        (["cancel", "--class", "\udcff"], 2, "is no UTF-8"),
        (["cancel", "--method", "\udcff"], 2, "is no UTF-8"),
        (["cancel", "--error", "\udcff"], 2, "is no UTF-8"),
        (["cancel", "0"], 2, "'0' is no job id"),
        (["cancel", "99999999999999999999"], 2, "is no job id"),
        (["requeue", "--all", "--status", "processing"], 2, "invalid choice: 'processing'"),
        (["cancel", "7"], 1, "there is no job 7 in"),
        (["requeue", "--class", "app.jobs.Odd"], 1, "no failed job of class app.jobs.Odd"),
        (["delete", "--error", "nowhere", "--since", "1h"], 1, "with 'nowhere' in its error, changed since"),
        (["cancel", "--all"], 1, "no pending job is there"),
    ],
)
def test_bad_input_is_one_clear_line(project: Project, arguments: list[str], code: int, told: str) -> None:
    insert(project)

    done = bgjob(project, *arguments, code=code)

    assert done.stderr.startswith("bgjob: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert done.stdout == ""


def test_without_a_database_there_is_nothing_to_do_and_none_is_made(project: Project) -> None:
    done = bgjob(project, "requeue", "--all", code=1)

    assert done.stderr == f"bgjob: no job was ever queued: there is no database yet ({project.database})\n"
    assert not project.database.exists()


def test_a_log_that_cannot_be_written_is_said_and_stops_nothing(project: Project) -> None:
    insert(project, FAILED)
    (project.folder / "storage" / "logs").write_text("no folder")

    done = bgjob(project, "requeue", "1")

    assert "background_jobs.log can't be written" in done.stderr
    assert project.jobs() == [(1, PENDING)]


# Beside a runner


def test_requeue_wakes_the_runner_that_lingers(project: Project, store: ByHand) -> None:
    insert(project, FAILED)
    ear = wake.Ear(store.database.path)
    assert ear.file is not None

    bgjob(project, "requeue", "1")

    assert select.select([ear.file], [], [], 0)[0]
    ear.close()


RACING_JOB = """
import os, time
class Job:
    def execute(self, name, fails=False):
        file = os.open("trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(file, f"{name}\\n".encode())
        os.close(file)
        time.sleep(0.003)
        if fails:
            raise ValueError
"""
# Whatever moved a status, in the order in which it did.
MOVED = "INSERT INTO moves VALUES (OLD.id, OLD.status, NEW.status)"
WITNESS = (
    "CREATE TABLE moves (job_id, before, after)",
    f"CREATE TRIGGER moved AFTER UPDATE OF status ON custom_jobs BEGIN {MOVED}; END",
    "CREATE TRIGGER removed AFTER DELETE ON custom_jobs BEGIN INSERT INTO moves VALUES (OLD.id, OLD.status, NULL); END",
)


@pytest.mark.slow
def test_by_hand_beside_a_drain_nothing_is_lost_or_run_twice_and_nothing_cancelled_runs(project: Project) -> None:
    count = 600
    project.write_jobs(RACING_JOB)
    project.configure("workers: 2\nmax_retries: 0")
    run_background_jobs(
        {"job_class": "app.jobs.Job", "params": [n, n % 3 == 0], "priority": -n} for n in range(1, count + 1)
    )
    for statement in WITNESS:
        project.sql(statement)
    tick = project.start_tick("--linger", "120s")
    wait_until(project.trace)
    fifths = [str(n) for n in range(count, 0, -5)]  # from the end, towards the drain: some always come in time
    hands = [
        threading.Thread(target=cancel_all, args=(project, fifths)),
        threading.Thread(target=do_thrice, args=(project, "requeue", "--all")),
        threading.Thread(target=do_thrice, args=(project, "delete", "--error", "ValueError")),
    ]

    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    tick.terminate()
    told = tick.communicate(timeout=60)
    project.tick()

    assert tick.returncode == 0, told
    moves: dict[int, list[tuple[str, str | None]]] = {n: [] for n in range(1, count + 1)}
    for job_id, before, after in project.sql("SELECT job_id, before, after FROM moves ORDER BY rowid"):
        moves[job_id].append((before, after))
    runs = collections.Counter(map(int, project.trace()))
    left = dict(project.jobs())
    for job_id, went in moves.items():
        assert runs[job_id] == went.count((PENDING, PROCESSING)), went
        # Each move begins where the one before ended; only a worker's begins at processing.
        assert [before for before, _ in went] == [PENDING, *[after for _, after in went]][: len(went)], went
        assert {after for before, after in went if before == PROCESSING} <= {COMPLETED, FAILED}, went
        assert left.get(job_id) == went[-1][1]
        assert went[-1][1] in (COMPLETED, FAILED, CANCELLED, None)
    kinds = {move for went in moves.values() for move in went}
    assert {(PENDING, CANCELLED), (FAILED, PENDING), (FAILED, None)} <= kinds


def cancel_all(project: Project, ids: list[str]) -> None:
    """Cancel the jobs a few at a time while some of them run; what runs is left alone."""
    for start in range(0, len(ids), 20):
        act(project, "cancel", *ids[start : start + 20])


def do_thrice(project: Project, *arguments: str) -> None:
    """Give the command until it has found something to do three times."""
    for _ in range(3):
        wait_until(lambda: act(project, *arguments) == 0)


def act(project: Project, *arguments: str) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "bgjob", *arguments, "--yes"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=project.folder,
        env=project.environment(),
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode
