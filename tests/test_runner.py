"""A tick drains the queue: all that is due, in the fixed order, one at a time, in workers that are replaced at need."""

from __future__ import annotations

import os
import random
import re
from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Project

JOBS = """
import os, sys, time, signal, threading

def trace(text):
    with open("trace", "a") as file:
        file.write(f"{text}\\n")

class Job:
    def execute(self, name="job"):
        trace(name)

    def pid(self):
        trace(os.getpid())

    def begin_and_end(self, name):
        trace(f"begin {name}")
        time.sleep(0.002)
        trace(f"end {name}")

    def queue(self, name, jobs):
        from bgjob import run_background_job
        trace(name)
        for job, priority, delay in jobs:
            run_background_job("app.jobs.Job", "execute", [job], priority, delay)

    def wait_for_its_follower(self):
        import datetime, sqlite3
        from bgjob import run_background_job
        run_background_job("app.jobs.Job", "execute", ["follower"], delay=0.2)
        due, = sqlite3.connect("storage/jobs.sqlite3").execute("SELECT max(available_at) FROM custom_jobs").fetchone()
        while str(datetime.datetime.now(datetime.timezone.utc))[:26] <= due:
            time.sleep(0.01)
        trace("leader")

    def path(self):
        trace(sys.path[0])

    def end(self, how):
        trace(how)
        exec(how)

    def change(self, how):
        trace(f"{os.getpid()} changed")
        exec(how)

    def look(self):
        trace(f"{os.getpid()} {os.getcwd()} {os.environ.get('CHANGED')} {threading.active_count()}")
"""


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure(methods="execute, pid, begin_and_end, queue, wait_for_its_follower, path, end, change, look")
    project.write_jobs(JOBS)


def queue(method: str, *params: object, priority: int = 0, delay: float = 0) -> None:
    run_background_job("app.jobs.Job", method, list(params), priority, delay)


def test_jobs_run_by_priority_then_undelayed_first_then_by_the_time_they_are_due_then_by_id(project: Project) -> None:
    dice = random.Random(20)  # noqa: S311  # the same queue in each run
    for number in range(80):
        priority = dice.choice([2**63 - 1, 10, 10, 1, 0, 0, 0, -1, -(2**63)])
        queue("execute", str(number), priority=priority, delay=dice.choice([0, 0, 500]))
    instants = ["1970-01-01 00:00:00.000000", "2026-01-01 00:00:00.000000", "2026-01-01 00:00:00.000001"]
    for (job_id,) in project.sql("SELECT id FROM custom_jobs WHERE available_at IS NOT NULL"):
        project.sql("UPDATE custom_jobs SET available_at = ? WHERE id = ?", (dice.choice(instants), job_id))
    rows = project.jobs("id, priority, available_at, params")

    project.tick()

    expected = sorted(rows, key=lambda row: (-row[1], row[2] is not None, row[2] or "", row[0]))
    assert [f'["{name}"]' for name in project.trace()] == [row[3] for row in expected]
    assert {status for (status,) in project.jobs("status")} == {"completed"}


def test_a_job_that_is_not_due_yet_waits_however_high_its_priority_is(project: Project) -> None:
    queue("execute", "later", priority=2**63 - 1, delay=3600)
    queue("execute", "now", priority=-5)

    project.tick()

    assert project.trace() == ["now"]
    assert project.jobs() == [(1, "pending"), (2, "completed")]


def test_a_higher_priority_that_is_queued_during_the_drain_goes_first_and_a_lower_one_still_runs(
    project: Project,
) -> None:
    queue("queue", "first", [["low", -1, 0], ["high", 10, 0], ["next year", 99, 31_536_000]])
    queue("execute", "waiting")

    project.tick()

    assert project.trace() == ["first", "high", "waiting", "low"]
    assert [status for _, status in project.jobs()] == ["completed"] * 4 + ["pending"]


def test_a_job_that_becomes_due_during_the_drain_runs_in_the_same_tick(project: Project) -> None:
    queue("wait_for_its_follower")

    project.tick()

    assert project.trace() == ["leader", "follower"]


def test_a_drain_that_keeps_queueing_jobs_ends_with_the_last_one(project: Project) -> None:
    queue("queue", "1", [["2", 0, 0]])
    queue("queue", "a", [["b", 0, 0], ["c", 1, 0]])

    project.tick()
    again = project.tick("-v")

    assert project.trace() == ["1", "a", "c", "2", "b"]
    assert "nothing is due" in again.stdout


def test_jobs_run_one_at_a_time(project: Project) -> None:
    for number in range(20):
        queue("begin_and_end", number)

    project.tick()

    assert project.trace() == [f"{what} {number}" for number in range(20) for what in ("begin", "end")]


def test_a_worker_serves_many_jobs_and_nothing_of_the_tick_is_left_when_it_has_ended(project: Project) -> None:
    for _ in range(5):
        queue("pid")

    project.tick()

    (worker,) = set(project.trace())
    with pytest.raises(ProcessLookupError):
        os.killpg(int(worker), 0)
    assert (project.folder / "storage" / "jobs.sqlite3-wal").stat().st_size == 0  # ours is open still


def test_the_folder_above_config_comes_first_on_the_path_wherever_the_script_stands(
    project: Project, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "app").mkdir(parents=True)
    (elsewhere / "app" / "__init__.py").touch()
    (elsewhere / "app" / "jobs.py").write_text("raise ImportError('the wrong app')")
    script = project.runner.rename(elsewhere / "background_runner.py")
    project.runner = script
    queue("path")

    project.tick("--config", str(project.folder / "config" / "jobs.yaml"))

    assert project.trace() == [str(project.folder)]
    assert project.jobs() == [(1, "completed")]


BOOT = """
import os
with open("trace", "a") as file:
    file.write(f"boot {os.getpid()}\\n")
"""


def test_each_fresh_worker_imports_boot_before_its_first_job(project: Project) -> None:
    project.configure("boot: app.boot", methods="pid, change")
    project.write_jobs(BOOT, "boot")
    queue("pid")
    queue("pid")
    queue("change", "os.chdir('/')")
    queue("change", "os.environ['X'] = 'y'")

    project.tick()

    first, second, third, fourth, fifth, sixth = project.trace()
    worker, successor = second, sixth.split()[0]
    assert (first, third) == (f"boot {worker}", worker)
    assert (fourth, fifth, successor != worker) == (f"{worker} changed", f"boot {successor}", True)


def test_boot_is_not_imported_when_nothing_is_due(project: Project) -> None:
    project.configure("boot: app.boot")
    project.write_jobs(BOOT, "boot")
    queue("execute", delay=3600)

    project.tick()

    assert project.trace() == []


@pytest.mark.parametrize(
    "source",
    [
        "raise RuntimeError('no such database server')",
        "import a_module_that_is_not_there",
        "this is no Python",
        "raise SystemExit",
        "raise KeyboardInterrupt",
        None,
    ],
)
def test_a_boot_that_fails_is_told_and_blamed_on_no_job(project: Project, source: str | None) -> None:
    project.configure("boot: app.boot")
    if source is not None:
        project.write_jobs(source, "boot")
    queue("execute")

    done = project.tick(check=False)

    assert done.returncode == 78
    assert "app.boot" in done.stderr
    assert "no job was started" in done.stderr
    assert "bgjob: " in done.stderr
    assert project.jobs("status, retry_count, crash_count") == [("pending", 0, 0)]
    assert project.sql("SELECT * FROM attempts") == []
    assert "app.boot" in project.log(errors=True)


DEATHS = {
    "os._exit(0)": "ended itself with exit code 0",
    "os._exit(7)": "ended itself with exit code 7",
    "os.kill(os.getpid(), signal.SIGKILL)": "was killed by SIGKILL (signal 9)",
    "os.kill(os.getpid(), signal.SIGTERM)": "was killed by SIGTERM (signal 15)",
    "os.abort()": "was killed by SIGABRT (signal 6)",
    "import ctypes; ctypes.string_at(0)": "was killed by SIGSEGV (signal 11)",
    "signal.signal(40, signal.SIG_DFL); os.kill(os.getpid(), 40)": "was killed by signal 40",
}


def test_a_job_that_takes_its_worker_down_has_crashed_and_the_others_go_on(project: Project) -> None:
    for number, how in enumerate(DEATHS):
        queue("end", how)
        queue("execute", f"innocent {number}")

    project.tick()

    dead, innocent = project.jobs("status, retry_count, crash_count")[::2], project.jobs("status, retry_count")[1::2]
    innocents = [f"innocent {number}" for number in range(len(DEATHS))]
    assert set(dead) == {("failed", 1, 2)}
    assert set(innocent) == {("completed", 0)}
    assert [line for line in project.trace() if line in innocents] == innocents
    assert project.trace()[-len(DEATHS) :] == list(DEATHS)  # again, behind those that were not delayed
    attempts = project.sql("SELECT job_id, attempt, outcome, error FROM attempts ORDER BY job_id, attempt")
    for number, told in enumerate(DEATHS.values()):
        first, second = attempts[2 * number : 2 * number + 2]
        assert (first[:3], second[:3]) == ((2 * number + 1, 1, "crashed"), (2 * number + 1, 2, "crashed"))
        assert told in first[3]
        assert told in second[3]
        assert told in project.log(errors=True)


def test_a_crash_tells_the_last_that_the_job_printed(project: Project) -> None:
    project.configure("max_crashes: 1", methods="end")
    queue("end", "print('going down', flush=True); os.abort()")

    project.tick()

    assert project.jobs("status, retry_count, crash_count") == [("failed", 0, 1)]
    ((error, output),) = project.sql("SELECT error, output FROM attempts")
    assert "going down" in error
    assert output == "going down\n"


def test_crashes_are_retries_too(project: Project) -> None:
    project.configure("max_crashes: 10\nmax_retries: 2", methods="end")
    queue("end", "os.abort()")

    project.tick()

    assert project.jobs("status, retry_count, crash_count") == [("failed", 2, 3)]


@pytest.mark.parametrize(
    "taken",
    [
        "DELETE FROM custom_jobs WHERE id = 1",
        "UPDATE custom_jobs SET status = 'cancelled', runner = NULL, worker = NULL WHERE id = 1",
        "UPDATE custom_jobs SET runner = 77 WHERE id = 1",
    ],
)
def test_a_job_that_is_taken_away_while_it_runs_is_not_settled(project: Project, taken: str) -> None:
    queue("end", f"import sqlite3; c = sqlite3.connect('storage/jobs.sqlite3'); c.execute({taken!r}); c.commit()")
    queue("execute", "innocent")

    project.tick()

    assert project.jobs()[-1] == (2, "completed")
    assert project.sql(
        "SELECT count(*) FROM custom_jobs WHERE id = 1 AND status = 'completed' AND retry_count = 0"
    ) == [(0,)]
    assert "complete job=1 " not in project.log()
    assert "job 1 was taken away from its worker" in project.log(errors=True)


def test_a_poison_job_costs_no_innocent_job_an_attempt(project: Project) -> None:
    project.configure("max_crashes: 6\nmax_retries: 9", methods="end, execute")
    queue("end", "os.abort()", priority=10)
    for number in range(20):
        queue("execute", f"innocent {number}")

    project.tick()

    assert project.trace().count("os.abort()") == 6
    assert project.jobs("status, retry_count")[1:] == [("completed", 0)] * 20
    assert len([line for line in project.trace() if line.startswith("innocent")]) == 20


CHANGES = [
    "os.chdir('/')",
    "os.mkdir('gone'); os.chdir('gone'); os.rmdir(os.getcwd())",
    "os.umask(0o111)",
    "os.environ['CHANGED'] = 'yes'",
    "del os.environ['PATH']",
    "sys.path.append('/nowhere')",
    "sys.setrecursionlimit(5000)",
    "import locale; locale.setlocale(locale.LC_CTYPE, 'C')",
    "threading.Thread(target=time.sleep, args=(60,)).start()",
    "signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
    "sys.stdout.close()",
    "sys.stdout = None",
    "os.close(1)",
    "os.dup2(os.open('/dev/null', 1), 2)",
]


def test_a_job_that_changed_its_process_leaves_a_fresh_one_to_the_next(project: Project) -> None:
    for how in CHANGES:
        queue("change", how)
        queue("look")

    project.tick(env=project.environment(LC_ALL="C.UTF-8"))

    lines = [line.split() for line in project.trace()]
    for how, changed, look in zip(CHANGES, lines[::2], lines[1::2], strict=True):
        assert changed[1:] == ["changed"], how
        assert look[0] != changed[0], how
        assert look[1:] == [str(project.folder), "None", "1"], how
    assert set(project.jobs("status, retry_count")) == {("completed", 0)}


def test_a_job_without_a_worker_that_can_take_it_does_not_turn_the_runner_in_circles(project: Project) -> None:
    project.configure("boot: app.boot")
    project.write_jobs("import os; os._exit(0)", "boot")
    queue("execute")

    done = project.tick(check=False)

    assert done.returncode in {70, 78}
    assert re.search(r"workers end without taking any of the due jobs|boot", done.stderr)
    assert project.jobs("status, retry_count") == [("pending", 0)]


def test_thousands_of_jobs_that_fall_due_at_once_run_in_their_order(project: Project) -> None:
    from bgjob import run_background_jobs

    run_background_jobs([("app.jobs.Job", "execute", [str(n)], n % 3, 900) for n in range(2500)])
    project.sql("UPDATE custom_jobs SET available_at = '2026-01-01 00:00:00.000000'")

    project.tick()

    expected = sorted(range(2500), key=lambda n: (-(n % 3), n))
    assert project.trace() == [str(n) for n in expected]
