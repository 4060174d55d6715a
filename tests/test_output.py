"""What a job prints is kept with the record of its attempt: capped, readable, and never at the cost of the job."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import logging, os, signal, subprocess, sys, threading, time, warnings

class Job:
    def run(self, source):
        exec(source, globals())

    def nothing(self):
        pass
"""
MOST = 64 * 1024 + 200


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("max_retries: 0", methods="run, nothing")
    project.write_jobs(JOBS)


def output_of(project: Project, *sources: str) -> list[str | None]:
    """Run each source as a job; return what was kept of the output of each."""
    for source in sources:
        run_background_job("app.jobs.Job", "run", [source])
    project.tick()
    kept = dict(project.sql("SELECT job_id, output FROM attempts"))
    return [kept.get(job_id) for (job_id,) in project.jobs("id")]


def test_prints_are_kept_with_the_attempt(project: Project) -> None:
    assert output_of(project, "print('hello'); print('world', file=sys.stderr)") == ["hello\nworld\n"]
    assert project.sql("SELECT attempt, outcome, error FROM attempts") == [(1, "succeeded", None)]


def test_a_job_that_prints_nothing_leaves_no_record(project: Project) -> None:
    run_background_job("app.jobs.Job", "nothing")

    project.tick()

    assert project.sql("SELECT * FROM attempts") == []


def test_no_output_is_lost_on_its_way_through_the_runner(project: Project) -> None:
    sources = [f"print('{number:04d}' * {number % 50 * 20})" for number in range(400)]

    kept = output_of(project, *sources)

    assert kept == [f"{number:04d}" * (number % 50 * 20) + "\n" for number in range(400)]


def test_each_job_has_its_own_output(project: Project) -> None:
    sources = ["print('one')", "pass", "print('three', end='')", "1 / 0", "print('five')", "os.abort()"]

    assert output_of(project, *sources) == ["one\n", None, "three", None, "five\n", None]


def test_the_output_of_an_attempt_that_failed_is_kept(project: Project) -> None:
    ends = ["1 / 0", "sys.exit()", "os._exit(0)", "os.kill(os.getpid(), 9)", "import ctypes; ctypes.string_at(0)"]
    project.configure("max_retries: 0\nmax_crashes: 1", methods="run")

    kept = output_of(project, *(f"print('before', flush=True); {end}" for end in ends))

    assert dict(zip(ends, kept, strict=True)) == dict.fromkeys(ends, "before\n")
    assert {status for (status,) in project.jobs("status")} == {"failed"}


WAYS = {
    "the descriptor": "os.write(1, b'kept\\n')",
    "a child": "subprocess.run(['echo', 'kept'])",
    "a shell": "os.system('echo kept >&2')",
    "a child that is not waited for": "subprocess.Popen(['echo', 'kept']).wait()",
    "a thread": "thread = threading.Thread(target=print, args=['kept']); thread.start(); thread.join()",
    "a fork": "pid = os.fork()\nif not pid: os.write(1, b'kept\\n'); os._exit(0)\nos.waitpid(pid, 0)",
    "logging": "logging.basicConfig(stream=sys.stderr, format='%(message)s'); logging.warning('kept')",
    "sys.__stdout__": "sys.__stdout__.write('kept\\n')",
    "a buffer": "sys.stdout.buffer.write(b'kept\\n')",
    "the terminal's library": "import ctypes; ctypes.CDLL(None).write(1, b'kept\\n', 5)",
}


def test_the_output_is_kept_whatever_way_it_takes(project: Project) -> None:
    kept = output_of(project, *WAYS.values())

    assert dict(zip(WAYS, kept, strict=True)) == dict.fromkeys(WAYS, "kept\n")


def test_bytes_that_are_no_text_are_kept_as_text_that_can_be_read(project: Project) -> None:
    kept, surrogate, beginning = output_of(
        project,
        "os.write(1, bytes(range(256)) * 4)",
        "print('\\udcff \\ud800 ü ☃')",
        "os.write(1, b'\\xe2\\x98')",  # the beginning of a character
    )

    assert kept
    assert "ABC" in kept
    assert "\0" not in kept
    assert surrogate == "\\udcff \\ud800 ü ☃\n"
    assert beginning == "\N{REPLACEMENT CHARACTER}"


def test_of_a_flood_the_first_and_the_last_are_kept_and_the_runner_stays_small(project: Project) -> None:
    flood = """
os.write(1, b"the first line\\n")
block = b"x" * 65535 + b"\\n"
for _ in range(5000):  # 312 MB
    left = block
    while left:
        left = left[os.write(1, left):]
os.write(1, b"the last line\\n")
status = open(f"/proc/{os.getppid()}/status").read()
open("peak", "w").write(status.split("VmHWM:")[1].split()[0])
"""

    (kept,) = output_of(project, flood)

    assert kept
    assert kept.startswith("the first line\nxxx")
    assert kept.endswith("xxx\nthe last line\n")
    assert "bytes left out" in kept
    assert len(kept) < MOST
    assert int((project.folder / "peak").read_text()) < 100_000
    assert project.jobs() == [(1, "completed")]


def test_output_of_just_the_most_that_is_kept_is_kept_whole(project: Project) -> None:
    half = 32 * 1024
    sizes = [half - 1, half, half + 1, 2 * half - 1, 2 * half, 2 * half + 1]
    sources = [f"os.write(1, (b'0123456789abcdef' * 5000)[:{size}])" for size in sizes]

    kept = output_of(project, *sources)

    whole = "0123456789abcdef" * 5000
    assert kept[:5] == [whole[:size] for size in sizes[:5]]
    assert kept[5] == f"{whole[:half]}\n[… 1 bytes left out …]\n{whole[half + 1 : 2 * half + 1]}"


CLOSED = {
    "the streams": "sys.stdout.close(); sys.stderr.close()",
    "the descriptors": "os.close(1); os.close(2)",
    "standard input": "os.close(0)",
    "all of them": "os.closerange(0, 3)",
    "everything": "os.closerange(0, 256)",
    "nothing is there": "sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None",
    "a stream that raises": "sys.stdout = type('S', (), {'write': exit, 'flush': exit})()",
    "a stream over a file": "os.dup2(os.open('file', os.O_CREAT | os.O_RDWR), 1)",
}


def test_a_job_that_closes_its_streams_costs_the_next_one_nothing(project: Project) -> None:
    probe = "print('kept'); print(repr(sys.stdin.read()))"

    kept = output_of(project, *(source for how in CLOSED.values() for source in (how, probe)))

    assert dict(zip(CLOSED, kept[1::2], strict=True)) == dict.fromkeys(CLOSED, "kept\n''\n")
    assert set(project.jobs("status, retry_count")[1::2]) == {("completed", 0)}
    assert project.sql("PRAGMA integrity_check") == [("ok",)]


def test_a_job_that_asks_for_signals_of_its_output_gets_the_usual_one(project: Project) -> None:
    """Its number is what our open files are known by, and most others would kill the worker."""
    source = """
import fcntl
signal.signal(signal.SIGIO, lambda *_: None)
fcntl.fcntl(1, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_ASYNC)
os.write(1, b"x" * 200_000)
"""
    output_of(project, source)

    assert project.sql("SELECT outcome, error FROM attempts") == [("succeeded", None)]


def test_a_process_that_a_job_left_behind_does_not_hold_up_the_tick(project: Project) -> None:
    left = "open('pid', 'w').write(str(subprocess.Popen(['sleep', '60']).pid)); print('kept')"

    assert output_of(project, left, "print('next')") == ["kept\n", "next\n"]
    os.kill(int((project.folder / "pid").read_text()), signal.SIGKILL)


def test_a_process_that_goes_on_printing_does_not_hold_up_the_tick(project: Project) -> None:
    left = "open('pid', 'w').write(str(subprocess.Popen(['yes']).pid))"

    kept = output_of(project, left, "print('next')")

    os.kill(int((project.folder / "pid").read_text()), signal.SIGKILL)
    assert project.jobs() == [(1, "completed"), (2, "completed")]
    assert len(kept[0] or "") < MOST


def test_there_is_nobody_to_answer_a_question(project: Project) -> None:
    run_background_job("app.jobs.Job", "run", ["input('Are you sure? ')"])

    project.tick(input="yes\n")

    assert project.jobs("status, error") == [("failed", "EOFError: EOF when reading a line")]


def test_verbose_lets_the_output_through_instead(project: Project) -> None:
    run_background_job("app.jobs.Job", "run", ["print('out'); print('err', file=sys.stderr); os.system('echo shell')"])

    done = project.tick("-v")

    assert {"out", "shell"} <= set(done.stdout.splitlines())
    assert done.stderr == "err\n"
    assert project.sql("SELECT * FROM attempts") == []


def test_the_output_of_jobs_reaches_neither_a_pipe_nor_a_terminal(project: Project) -> None:
    job = ("app.jobs.Job", "run", ["print('secret'); os.system('echo secret >&2')"])
    run_background_job(*job)
    done = project.tick()
    run_background_job(*job)
    _, shown = project.tick_on_terminal()

    assert (done.stdout, done.stderr) == ("", "")
    assert "secret" not in shown
    assert "DONE" in shown


def test_a_reader_that_went_away_stops_no_job(project: Project) -> None:
    for _ in range(3):
        run_background_job("app.jobs.Job", "nothing")
    reader, writer = os.pipe()
    os.close(reader)
    tick = project.start_tick("-v", pass_fds=[writer], preexec_fn=lambda: os.dup2(writer, 1))
    os.close(writer)

    tick.communicate(timeout=60)

    assert tick.returncode == 0
    assert project.jobs() == [(1, "completed"), (2, "completed"), (3, "completed")]
