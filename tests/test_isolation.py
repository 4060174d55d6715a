"""Whatever a job does to its process hurts neither the runner nor another job: it is settled, its worker replaced."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bgjob import clock, enqueue, run_background_job, run_background_jobs
from bgjob.store.connection import Database
from bgjob.store.jobs import JobStore, Owner
from bgjob.store.runners import RunnerStore
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import atexit, ctypes, functools, os, re, resource, signal, subprocess, sys, threading, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
served = 0

def trace(text):
    file = os.open(os.path.join(ROOT, "trace"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, f"{text}\\n".encode())
    os.close(file)

class Job:
    def execute(self, name="job"):
        global served
        served += 1
        trace(f"{name} {os.getpid()} {served}")

    def do(self, how):
        exec(how, globals())

    def span(self, seconds=0.05):
        trace("begin")
        time.sleep(seconds)
        trace("end")

class Fresh(Job):
    pass

class Frail(Job):
    pass
"""


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    configure(project, "max_crashes: 1")
    project.write_jobs(JOBS)


def configure(project: Project, text: str) -> None:
    project.configure(text, classes="app.jobs.Job", methods="execute, do, span")


def queue(method: str, *params: object, name: str = "Job", priority: int = 0) -> None:
    run_background_job(f"app.jobs.{name}", method, list(params), priority)


def queue_poison(how: str, *, innocents: int = 5) -> None:
    """Queue a job before `how`, and others behind it."""
    queue("execute", "before", priority=1)
    queue("do", how)
    for number in range(innocents):
        queue("execute", f"after {number}")


def assert_only_poison_was_hurt(project: Project) -> tuple[str, str]:
    """All jobs but the second ran once in this one tick; return the second's outcome and error."""
    before, poison, *after = project.jobs("status, retry_count, crash_count, error")
    assert {before, *after} == {("completed", 0, 0, None)}
    assert poison[0] == "failed"
    names = [line.rsplit(" ", 2)[0] for line in project.trace()]
    assert [name for name in names if name.startswith(("before", "after"))] == [
        "before",
        *[f"after {number}" for number in range(len(after))],
    ]
    ((outcome, error),) = project.sql("SELECT outcome, error FROM attempts WHERE job_id = 2")
    assert error == poison[3]
    return outcome, error


DEADLY = {
    "a segfault": ("ctypes.string_at(0)", "SIGSEGV (signal 11)"),
    "an abort": ("os.abort()", "SIGABRT (signal 6)"),
    "os._exit(0)": ("os._exit(0)", "exit code 0"),
    "os._exit(5)": ("os._exit(5)", "exit code 5"),
    "os._exit(255)": ("os._exit(255)", "exit code 255"),
    "kill -9 of itself": ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL (signal 9)"),
    "kill -9 of its process group": ("os.killpg(0, signal.SIGKILL)", "SIGKILL (signal 9)"),
    "kill -15 of its process group": ("os.killpg(0, signal.SIGTERM)", "SIGTERM (signal 15)"),
    "SIGHUP": ("os.kill(os.getpid(), signal.SIGHUP)", "SIGHUP (signal 1)"),
    "a signal without a name": ("os.kill(os.getpid(), signal.SIGRTMIN + 5)", "signal "),
    "a C stack overflow": (
        """
resource.setrlimit(resource.RLIMIT_STACK, (65536, 65536))
sys.setrecursionlimit(1_000_000)
def deeper(*_): return max([1], key=deeper)
deeper()""",
        "SIGSEGV (signal 11)",
    ),
    "exec of another program": ("os.execv('/bin/sh', ['sh', '-c', 'exit 7'])", "exit code 7"),
    "a signal within a thread": (
        "threading.Thread(target=ctypes.string_at, args=(0,)).start(); time.sleep(60)",
        "SIGSEGV (signal 11)",
    ),
    "all descriptors closed": ("os.closerange(3, 256)", "files closed"),
    "all descriptors closed, the standard ones too": ("os.closerange(0, 256)", "files closed"),
    "all descriptors closed, and others in their place": (
        "os.closerange(3, 256)\nfor n in range(3, 40): assert os.open(f'file{n}', os.O_RDWR | os.O_CREAT) == n",
        "files closed",
    ),
    "all descriptors closed, then an end": ("os.closerange(0, 256); os._exit(1)", "exit code 1"),
    "deadly exit hooks and threads": (
        "atexit.register(os._exit, 0); threading.Thread(target=time.sleep, args=(600,)).start(); os.abort()",
        "SIGABRT (signal 6)",
    ),
}


@pytest.mark.parametrize(("how", "told"), DEADLY.values(), ids=DEADLY)
def test_a_deadly_job_has_crashed_with_its_reason_and_all_others_run_in_the_same_tick(
    project: Project, how: str, told: str
) -> None:
    queue_poison(f"sys.stdout.write('the last words'); sys.stdout.flush()\n{how}")

    project.tick(timeout=20)

    outcome, error = assert_only_poison_was_hurt(project)
    assert outcome == "crashed"
    assert told in error
    assert error.endswith("the last words")
    assert project.sql("SELECT crash_count FROM custom_jobs WHERE id = 2") == [(1,)]
    assert project.sql("SELECT output FROM attempts") == [("the last words",)]
    assert told in project.log(errors=True)
    assert list(project.folder.glob("core*")) == []
    assert [
        file for file in project.folder.glob("file*") if file.stat().st_size
    ] == []  # nobody wrote into the job's files


RAISING = {
    "sys.exit()": ("sys.exit()", "SystemExit"),
    "sys.exit(0) below a finally": ("try: sys.exit(0)\nfinally: trace('finally')", "SystemExit: 0"),
    "an endless recursion": ("def deeper(): return deeper()\ndeeper()", "RecursionError"),
    "an endless recursion through C": (
        "class D:\n    def __getattr__(self, name): return getattr(self, name + 'x')\nD().x",
        "RecursionError",
    ),
    "KeyboardInterrupt": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", "KeyboardInterrupt"),
}


@pytest.mark.parametrize(("how", "told"), RAISING.values(), ids=RAISING)
def test_an_exit_or_an_endless_recursion_fails_its_own_job_only(project: Project, how: str, told: str) -> None:
    configure(project, "max_retries: 0")
    queue_poison(how)

    project.tick(timeout=20)

    outcome, error = assert_only_poison_was_hurt(project)
    assert (outcome, error.startswith(told)) == ("raised", True)
    assert project.sql("SELECT crash_count FROM custom_jobs WHERE id = 2") == [(0,)]


OUT_OF_MEMORY = {
    "at once": "bytearray(4_000_000_000)",
    "little by little": "kept = []\nwhile True: kept.append(bytearray(1_000_000))",
    "in small pieces": "kept = []\nwhile True: kept.append([None] * 5000)",
    "in a child": "subprocess.run([sys.executable, '-c', 'bytearray(4_000_000_000)'], check=True, stderr=-3)",
    "and aborts": "kept = []\ntry:\n    while True: kept.append(bytearray(1_000_000))\nexcept MemoryError: os.abort()",
}


@pytest.mark.parametrize("how", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
def test_a_job_that_runs_out_of_its_memory_fails_alone(project: Project, how: str) -> None:
    configure(project, "max_retries: 0\nmax_memory: 150MB")
    queue_poison(how)

    project.tick(timeout=20)

    assert_only_poison_was_hurt(project)


def test_even_a_limit_that_is_below_what_python_itself_needs_hurts_only_its_own_class(project: Project) -> None:
    project.configure(
        "max_retries: 0", classes="{app.jobs.Frail: {max_memory: 1MB}}, app.jobs.Job", methods="execute, do"
    )
    queue("execute", "before", priority=1)
    queue("do", "[bytearray(100_000) for _ in range(1000)]", name="Frail")
    queue("do", "bytearray(500_000_000)")

    project.tick(timeout=20)

    assert project.jobs() == [(1, "completed"), (2, "failed"), (3, "completed")]


def test_the_limit_on_memory_ends_with_its_job(project: Project) -> None:
    project.configure("", classes="{app.jobs.Frail: {max_memory: 150MB}}, app.jobs.Job", methods="execute, do")
    limit = "trace(f'{resource.getrlimit(resource.RLIMIT_AS)[0]} {os.getpid()}')"
    queue("do", limit, name="Frail")
    queue("do", limit)

    project.tick()

    (limited, first), (free, second) = (line.split() for line in project.trace())
    assert (limited, first) == (str(150 * 1024**2), second)
    assert free == "-1"


def test_the_next_job_runs_in_another_process_after_a_crash_and_in_the_same_one_otherwise(project: Project) -> None:
    queue_poison("os.abort()", innocents=2)

    project.tick()

    before, first, second = (line.split()[-2:] for line in project.trace())
    assert before[0] != first[0]
    assert (first[1], second) == ("1", [first[0], "2"])


def test_a_crash_is_settled_at_once_and_the_next_job_follows_at_once(project: Project) -> None:
    tick = project.start_tick("--linger", "60s")
    queue("do", "trace(time.monotonic()); os.abort()")
    queue("do", "trace(time.monotonic())")

    wait_until(lambda: project.jobs() == [(1, "failed"), (2, "completed")])

    crashed, followed = map(float, project.trace())
    assert followed - crashed < 2  # tests run side by side; figures.py measures it
    assert tick.poll() is None


def test_a_retry_after_a_crash_runs_in_the_same_tick_when_it_is_due(project: Project) -> None:
    configure(project, "max_crashes: 3\nmax_retries: 5")
    queue("do", "trace('try')\nif len(open('trace').readlines()) < 3: os.abort()")

    project.tick()

    assert project.jobs("status, retry_count, crash_count") == [("completed", 2, 2)]
    assert project.sql("SELECT attempt, outcome FROM attempts ORDER BY id") == [(1, "crashed"), (2, "crashed")]


def test_much_output_before_a_crash_is_kept_by_its_head_and_its_tail(project: Project) -> None:
    queue("do", "print('first'); print('x' * 300_000); print('last \\x1b[31m\\0 words', flush=True); os._exit(3)")

    project.tick()

    ((error, output),) = project.sql("SELECT error, output FROM attempts")
    assert output.startswith("first\nxxx")
    assert "bytes left out" in output
    assert output.endswith("words\n")
    assert "exit code 3" in error
    assert error.endswith("words")
    assert "\0" not in error + output
    assert len(error) < 1_000
    assert len(project.log(errors=True).splitlines()) == 1


def test_what_a_child_of_the_job_printed_is_kept_too(project: Project) -> None:
    queue("do", "os.system('echo from the shell; echo and its errors >&2'); os.abort()")

    project.tick()

    assert project.sql("SELECT output FROM attempts") == [("from the shell\nand its errors\n",)]


@pytest.mark.parametrize(
    ("settings", "name", "attempts"),
    [
        ("", "Job", 2),
        ("max_crashes: 1", "Job", 1),
        ("max_crashes: 4\nmax_retries: 9", "Job", 4),
        ("max_crashes: 9\nmax_retries: 2", "Job", 3),
        ("max_crashes: 9\nmax_retries: 0", "Job", 1),
        ("max_crashes: 1", "Frail", 3),
    ],
)
def test_a_job_fails_when_its_crashes_or_its_retries_are_used_up(
    project: Project, settings: str, name: str, attempts: int
) -> None:
    project.configure(settings, classes="app.jobs.Job, {app.jobs.Frail: {max_crashes: 3}}", methods="do")
    queue("do", "trace('crash'); os.abort()", name=name)

    project.tick()

    assert len(project.trace()) == attempts
    assert project.jobs("status, retry_count, crash_count") == [("failed", attempts - 1, attempts)]


def test_exceptions_do_not_count_as_crashes(project: Project) -> None:
    configure(project, "max_crashes: 2\nmax_retries: 4")
    queue("do", "trace('try'); os.abort() if len(open('trace').readlines()) in (2, 4) else 1 / 0")

    project.tick()

    assert project.jobs("status, retry_count, crash_count") == [("failed", 3, 2)]
    outcomes = [outcome for (outcome,) in project.sql("SELECT outcome FROM attempts ORDER BY id")]
    assert outcomes == ["raised", "crashed", "raised", "crashed"]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_fresh_job_has_a_process_that_runs_no_other_job_before_or_after(project: Project, workers: int) -> None:
    project.configure(
        f"workers: {workers}", classes="app.jobs.Job, {app.jobs.Fresh: {fresh: true}}", methods="execute, do"
    )
    for kind in ("Job", "Fresh", "Fresh", "Job", "Job", "Fresh", "Job", "Job", "Fresh"):
        queue("execute", kind, name=kind)

    project.tick()

    ran = [line.split() for line in project.trace()]
    assert len(ran) == 9
    fresh = [pid for kind, pid, _ in ran if kind == "Fresh"]
    others = [pid for kind, pid, _ in ran if kind == "Job"]
    assert len(set(fresh)) == 4
    assert set(fresh) & set(others) == set()
    assert {served for kind, _, served in ran if kind == "Fresh"} == {"1"}
    assert project.jobs("status, retry_count, crash_count") == [("completed", 0, 0)] * 9


def test_fresh_jobs_keep_their_place_in_the_order(project: Project) -> None:
    project.configure("", classes="app.jobs.Job, {app.jobs.Fresh: {fresh: true}}", methods="execute")
    for number, kind in enumerate(["Job", "Fresh", "Job", "Fresh", "Fresh", "Job"]):
        queue("execute", str(number), name=kind, priority=number % 2)

    project.tick()

    assert [line.split()[0] for line in project.trace()] == ["1", "3", "5", "0", "2", "4"]


def test_a_worker_lasts_with_its_module_globals_as_long_as_its_process_is_left_alone(project: Project) -> None:
    for _ in range(10):
        queue("execute")

    project.tick()

    ran = [line.split() for line in project.trace()]
    assert len({pid for _, pid, _ in ran}) == 1
    assert [int(served) for *_, served in ran] == list(range(1, 11))


def test_threads_and_exit_hooks_that_a_job_leaves_behind_do_not_hold_the_tick_up(project: Project) -> None:
    queue(
        "do",
        "for _ in range(20): threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "atexit.register(time.sleep, 600); atexit.register(trace, 'hook')\n"
        "threading._register_atexit(time.sleep, 600)",
    )
    queue("execute", "after")

    project.tick(timeout=20)

    assert project.jobs() == [(1, "completed"), (2, "completed")]
    assert [line.split()[0] for line in project.trace()] == ["after"]


def test_a_child_that_a_job_leaves_behind_does_not_hold_the_tick_up(project: Project) -> None:
    queue("do", "trace(subprocess.Popen(['sleep', '600']).pid)")
    queue("execute", "after")

    project.tick(timeout=20)

    assert project.jobs() == [(1, "completed"), (2, "completed")]
    os.kill(int(project.trace()[0]), signal.SIGKILL)


def test_descriptors_that_jobs_leak_are_gone_with_their_worker_before_they_run_out(project: Project) -> None:
    for _ in range(60):
        queue("do", "globals().setdefault('kept', []).extend(os.open('/dev/null', os.O_RDONLY) for _ in range(20))")
        queue("execute")

    project.tick(preexec_fn=_few_descriptors)

    assert set(project.jobs("status, retry_count")) == {("completed", 0)}


def _few_descriptors() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


def test_a_job_that_leaks_all_descriptors_there_are_leaves_a_fresh_process_to_the_next(project: Project) -> None:
    configure(project, "max_retries: 0")
    queue_poison("globals()['kept'] = kept = []\nwhile True: kept.append(os.open('/dev/null', os.O_RDONLY))")

    project.tick(preexec_fn=_few_descriptors)

    assert_only_poison_was_hurt(project)


@pytest.mark.parametrize(
    "how",
    [
        "os.fork() == 0 or os.wait(); trace('parent')",
        "os.fork() == 0 and sys.exit(0); os.wait(); trace('parent')",
        "os.fork() == 0 and sys.exit(3); os.wait(); trace('parent')",
        "if os.fork() == 0: raise ValueError('in the child')\nos.wait(); trace('parent')",
        "os.fork() == 0 and os._exit(0); os.wait(); trace('parent')",
        "os.fork() == 0 and os.abort(); os.wait(); trace('parent')",
    ],
)
def test_the_end_of_a_child_that_a_job_forked_is_not_the_end_of_the_job(project: Project, how: str) -> None:
    queue("do", how)
    queue("execute", "after")

    project.tick(timeout=20)

    assert project.jobs("status, retry_count, crash_count") == [("completed", 0, 0)] * 2
    assert project.sql("SELECT outcome FROM attempts") == []
    assert project.log(errors=True) == ""
    assert [line.split()[0] for line in project.trace() if "after" in line] == ["after"]


@pytest.mark.parametrize("arguments", [(), ("-v",)], ids=["captured", "verbose"])
def test_files_that_take_the_numbers_of_the_databases_files_are_not_written_into(
    project: Project, arguments: tuple[str, ...]
) -> None:
    queue_poison(
        "for name in os.listdir('/proc/self/fd'):\n"
        "    file = int(name)\n"
        "    try: target = os.readlink(f'/proc/self/fd/{name}')\n"
        "    except OSError: continue\n"
        "    if 'jobs.sqlite3' in target:\n"
        "        os.close(file); assert os.open(f'{ROOT}/file{name}', os.O_RDWR | os.O_CREAT) == file\n"
    )

    project.tick(*arguments, timeout=30)

    assert [file.name for file in project.folder.glob("file*") if file.stat().st_size] == []
    assert_only_poison_was_hurt(project)
    assert project.sql("PRAGMA integrity_check") == [("ok",)]


QUEUE = "__import__('bgjob').run_background_job('app.jobs.Job', 'execute', ['{}'])\n"


@pytest.mark.parametrize(
    ("first", "last"),
    [
        pytest.param("", "", id="alone"),
        pytest.param(QUEUE.format("child"), "", id="queues before"),
        pytest.param("", QUEUE.format("child"), id="queues after"),
        pytest.param(QUEUE.format("child"), QUEUE.format("heir"), id="queues before and after"),
    ],
)
def test_a_job_that_reads_the_databases_file_loses_no_job_and_makes_none_run_twice(
    project: Project, first: str, last: str
) -> None:
    configure(project, "workers: 2")
    wait = "trace('read')\nwhile not os.path.exists('go'): time.sleep(0.005)\n"
    queue("do", f"{first}open('storage/jobs.sqlite3', 'rb').read(); {wait}{last}")
    enqueue._intake._close()
    tick = project.start_tick("--linger", "60s")
    wait_until(lambda: "read" in project.trace())

    # Another worker is forked for this one, and no connection may be open then: whoever closes last deletes the log.
    project.sql("INSERT INTO custom_jobs (job_class, method, params) VALUES ('app.jobs.Job', 'execute', '[\"other\"]')")
    wait_until(lambda: any(line.startswith("other") for line in project.trace()))
    for number in range(5):
        queue("execute", number)
    (project.folder / "go").touch()
    names = {"read", "other", *"01234", *(name for name in ("child", "heir") if name in first + last)}
    wait_until(lambda: {line.split()[0] for line in project.trace()} == names)
    wait_until(lambda: {status for _, status in project.jobs()} == {"completed"})
    tick.kill()
    tick.wait()
    enqueue._intake._close()

    assert sorted(line.split()[0] for line in project.trace()) == sorted(names)
    assert len(project.jobs()) == len(names)
    assert project.jobs("status, retry_count, crash_count") == [("completed", 0, 0)] * len(names)
    assert project.log().count(" complete job=") == len(names)
    assert project.sql("PRAGMA integrity_check") == [("ok",)]


def test_a_crash_of_one_worker_does_not_touch_the_jobs_of_the_others(project: Project) -> None:
    configure(project, "workers: 3\nmax_crashes: 1")
    wait = "trace('waits')\nwhile not os.path.exists('go'): time.sleep(0.005)\n"
    queue("do", wait + "trace('done')")
    queue("do", wait + "trace('done')")
    queue("do", "while open('trace').read().count('waits') < 2: time.sleep(0.005)\nos.killpg(0, signal.SIGKILL)")
    (project.folder / "trace").touch()
    project.start_tick()
    wait_until(lambda: project.jobs("status")[2] == ("failed",))

    (project.folder / "go").touch()

    wait_until(lambda: project.jobs() == [(1, "completed"), (2, "completed"), (3, "failed")])
    assert project.trace().count("done") == 2
    assert project.jobs("crash_count") == [(0,), (0,), (1,)]


@pytest.mark.parametrize(
    ("settings", "arguments", "most"), [("workers: 3", (), 3), ("workers: 2", ("--workers", "4"), 4)]
)
def test_as_many_jobs_run_at_once_as_there_may_be_workers_and_never_more(
    project: Project, settings: str, arguments: tuple[str, ...], most: int
) -> None:
    configure(project, settings)
    run_background_jobs([("app.jobs.Job", "span", [0.05])] * 24)

    project.tick(*arguments)

    running, highest = 0, 0
    for line in project.trace():
        running += 1 if line == "begin" else -1
        highest = max(highest, running)
    assert highest == most
    assert {status for _, status in project.jobs()} == {"completed"}


def test_the_claim_itself_holds_the_limit_whoever_asks_and_only_for_the_newest_runner(project: Project) -> None:
    run_background_jobs([("app.jobs.Job", "execute")] * 4)
    database = Database(str(project.database))
    store, runners, now = JobStore(database), RunnerStore(database), clock.now()
    older, newest = (runners.start(now, lingers=True, process="1 0 -") for _ in range(2))

    def is_claimed_by(runner: int, worker: str) -> bool:
        with store.transaction():
            return store.claim(Owner(runner, worker, 2), now) is not None

    assert not is_claimed_by(older, "1 0 -")
    assert [is_claimed_by(newest, f"{number} 0 -") for number in range(2, 6)] == [True, True, False, False]
    database.close()


def test_with_several_workers_each_job_runs_once_and_starts_in_order(project: Project) -> None:
    configure(project, "workers: 4")
    run_background_jobs([("app.jobs.Job", "execute", [str(number)], number % 5) for number in range(300)])

    project.tick()

    assert sorted(int(line.split()[0]) for line in project.trace()) == list(range(300))
    started = project.sql("SELECT id FROM custom_jobs ORDER BY started_at, id")
    assert [job_id for (job_id,) in started] == sorted(range(1, 301), key=lambda job_id: (-((job_id - 1) % 5), job_id))
    assert project.log(errors=True) == ""


def test_many_workers_that_find_nothing_left_are_no_fault(project: Project) -> None:
    configure(project, "workers: 60")
    run_background_jobs([("app.jobs.Job", "execute", [str(number)]) for number in range(60)])

    done = project.tick(check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert {status for _, status in project.jobs()} == {"completed"}


def test_a_lingering_worker_that_someone_kills_between_two_jobs_is_replaced_without_a_word(project: Project) -> None:
    project.start_tick("--linger", "60s")
    queue("execute", "before")
    worker = int(wait_until(project.trace)[0].split()[1])
    wait_until(lambda: project.jobs() == [(1, "completed")])

    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{worker}").exists())
    queue("execute", "after")

    wait_until(lambda: project.jobs() == [(1, "completed"), (2, "completed")])
    assert project.log(errors=True) == ""
    assert int(project.trace()[1].split()[1]) != worker


def test_a_worker_that_dies_between_two_jobs_costs_the_next_one_no_attempt(project: Project) -> None:
    queue("do", "sys.setprofile(lambda frame, *_: frame.f_code.co_name == 'tell' and os._exit(1))")
    queue("execute", "after")

    project.tick(timeout=20)

    assert project.jobs("status, retry_count, crash_count") == [("completed", 0, 0)] * 2
    assert project.sql("SELECT * FROM attempts") == []
    assert [line.split()[0] for line in project.trace()] == ["after"]


@pytest.mark.parametrize(
    "how",
    [
        "os.environ = dict(os.environ)",
        "del os.environ",
        "del sys.stdout, sys.stderr",
        "sys.stdout = type('Odd', (), {'closed': property(lambda self: 1 / 0), 'flush': lambda self: None})()",
        "sys.stderr = type('Odd', (), {'__getattribute__': lambda self, name: sys.exit(name)})()",
        "sys.path = 7",
        "sys.path[0] = type('Odd', (), {'__eq__': lambda self, other: 1 / 0})()",
    ],
)
def test_a_job_that_puts_odd_things_in_the_place_of_its_process_state_is_completed_all_the_same(
    project: Project, how: str
) -> None:
    configure(project, "max_crashes: 5")
    queue("do", how + "; trace('ran')")
    queue("execute", "after")

    project.tick(timeout=20)

    assert project.jobs("status, retry_count, crash_count") == [("completed", 0, 0)] * 2
    assert [line.split()[0] for line in project.trace()] == ["ran", "after"]


def test_a_tick_that_is_killed_by_none_of_this_leaves_a_sound_database_and_no_process(project: Project) -> None:
    configure(project, "workers: 3\nmax_crashes: 1\ntimeout: 300ms\ntimeout_grace: 200ms")
    for how, _ in DEADLY.values():
        queue("do", how)
        queue("execute", "innocent")
    queue("do", "while True: pass")
    queue("do", "while True:\n    try: time.sleep(600)\n    except BaseException: pass")

    project.tick(timeout=50)

    statuses = [status for (status,) in project.jobs("status")]
    assert statuses == ["failed", "completed"] * len(DEADLY) + ["failed"] * 2
    assert project.sql("PRAGMA integrity_check") == [("ok",)]
    assert [name for name in processes() if str(project.folder) in name] == []


def processes() -> list[str]:
    """Return the command lines of all processes."""
    return subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.slow
def test_ten_thousand_jobs_of_which_each_fiftieth_segfaults_are_done_in_one_tick(project: Project) -> None:
    run_background_jobs(
        ("app.jobs.Job", "do", ["ctypes.string_at(0)"])
        if number % 50 == 0
        else ("app.jobs.Job", "execute", [str(number)])
        for number in range(10_000)
    )

    began = time.monotonic()
    project.tick(timeout=300)

    assert time.monotonic() - began < 200
    assert project.sql("SELECT status, crash_count, count(*) FROM custom_jobs GROUP BY 1, 2 ORDER BY 1") == [
        ("completed", 0, 9_800),
        ("failed", 1, 200),
    ]
    assert [int(line.split()[0]) for line in project.trace()] == [n for n in range(10_000) if n % 50]
    with sqlite3.connect(project.database) as connection:
        errors = {error for (error,) in connection.execute("SELECT error FROM attempts")}
    connection.close()
    assert all(re.search(r"SIGSEGV \(signal 11\)", error) for error in errors)
