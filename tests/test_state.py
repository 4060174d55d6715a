"""What a job changed of its process is seen after it, and the next job finds the process as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job

if TYPE_CHECKING:
    from tests.conftest import Project

CODE = Path(__file__).resolve().parent.parent

CHANGES = {
    "the working directory": "os.chdir('/')",
    "the working directory to one that is gone": "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
    "the umask": "os.umask(0o137)",
    "a new variable": "os.environ['NEW'] = 'yes'",
    "a changed variable": "os.environ['HOME'] = '/nowhere'",
    "a variable less": "os.environ.pop('HOME')",
    "no variables": "os.environ.clear()",
    "the handler of TERM": "signal.signal(signal.SIGTERM, lambda *_: None)",
    "the handler of INT": "signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "the handler of CHLD": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "the handler of PIPE": "signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
    "the handler of ALRM": "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
    "the path": "sys.path.append('/nowhere')",
    "the order of the path": "sys.path.reverse()",
    "another path": "sys.path = []",
    "the locale": "import locale; locale.setlocale(locale.LC_NUMERIC, 'C.UTF-8')",
    "the recursion limit": "sys.setrecursionlimit(3_333)",
    "a thread": "threading.Thread(target=time.sleep, args=(600,)).start()",
    "a daemon thread": "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    "a timer": "threading.Timer(600, print).start()",
    "a thread below threading": (
        "_thread.start_new_thread(time.sleep, (600,))\nwhile not _thread._count(): time.sleep(0.001)"
    ),
    "a pool": "from concurrent.futures import ThreadPoolExecutor; kept = ThreadPoolExecutor(); kept.submit(int)",
    "standard output": "import io; sys.stdout = io.StringIO()",
    "standard error": "import io; sys.stderr = io.StringIO()",
    "standard input": "import io; sys.stdin = io.StringIO()",
    "no standard output": "sys.stdout = None",
    "a closed standard output": "sys.stdout.close()",
    "a closed descriptor 0": "os.close(0)",
    "a closed descriptor 1": "os.close(1)",
    "blocked signals": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])",
    "a hundred descriptors": "kept = [os.open('/dev/null', os.O_RDONLY) for _ in range(100)]",
    "a virtual timer": "signal.setitimer(signal.ITIMER_VIRTUAL, 600)",
    "a profiling timer": "signal.setitimer(signal.ITIMER_PROF, 600)",
    "the limit on descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))",
    "the limit on memory": "resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))",
    "the limit on file sizes": "resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, 10**9))",
    "the limit on processor time": "resource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))",
    "another file as descriptor 2": "os.dup2(os.open('/dev/zero', os.O_RDWR), 2)",
}

# What a job may put in the place of something must not be asked anything: its answer would be the job's own code.
ODDITIES = {
    "odd variables": "os.environ = dict(os.environ)",
    "no standard output at all": "del sys.stdout",
    "a standard output that objects": "sys.stdout = type('Odd', (), {'closed': property(lambda self: 1 / 0)})()",
    "a path that objects": "sys.path[0] = type('Odd', (), {'__eq__': lambda self, other: 1 / 0})()",
}

HARMLESS = {
    "nothing": "pass",
    "a folder and back": "was = os.getcwd(); os.chdir('/'); os.chdir(was)",
    "a umask and back": "os.umask(os.umask(0o777))",
    "a variable and back": "os.environ['NEW'] = 'yes'; del os.environ['NEW']",
    "a handler and back": "signal.signal(signal.SIGTERM, signal.signal(signal.SIGTERM, signal.SIG_IGN))",
    "a path and back": "sys.path.append('/nowhere'); sys.path.pop()",
    "a copy of the path": "sys.path = list(sys.path)",
    "a thread that has ended": (
        "thread = threading.Thread(target=int); thread.start(); thread.join()\n"
        "while _thread._count(): time.sleep(0.001)"
    ),
    "memory that was given back": "bytearray(1_000_000)",
    "another stream and back": "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()): print('x')",
    "output": "print('x'); print('y', file=sys.stderr)",
    "a child": "os.system('cd /; umask 0')",
    "a few descriptors": "kept = [os.open('/dev/null', os.O_RDONLY) for _ in range(5)]",
    "a module global": "import json; json.changed = True",
    "a seed": "import random; random.seed(5)",
    "an exit hook": "import atexit; atexit.register(int)",
}

PROGRAM = """
import _thread, os, resource, signal, sys, threading, time
sys.path.insert(0, {code!r})
from bgjob.state import ProcessState
state = ProcessState()
assert not state.has_changed()
exec({statement!r})
os._exit({changed} if state.has_changed() else {same})
"""
CHANGED, SAME = 10, 20


def answer_after(statement: str, folder: Path) -> int:
    program = PROGRAM.format(code=str(CODE), statement=statement, changed=CHANGED, same=SAME)
    return subprocess.run(
        [sys.executable, "-I", "-c", program],
        check=False,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=30,
    ).returncode


@pytest.mark.parametrize("statement", (CHANGES | ODDITIES).values(), ids=CHANGES | ODDITIES)
def test_a_change_of_the_process_is_seen(tmp_path: Path, statement: str) -> None:
    assert answer_after(statement, tmp_path) == CHANGED


@pytest.mark.parametrize("statement", HARMLESS.values(), ids=HARMLESS)
def test_what_was_put_back_or_is_pythons_own_state_is_no_change(tmp_path: Path, statement: str) -> None:
    assert answer_after(statement, tmp_path) == SAME


def test_memory_that_leaks_is_seen_within_64_jobs(tmp_path: Path) -> None:
    leak = "import bgjob.state; bgjob.state._MOST_GROWTH_KB = 50_000\nkept = b'x' * 300_000_000"

    assert answer_after(leak + "\nfor _ in range(62): state.has_changed()", tmp_path) == CHANGED


JOBS = """
import _thread, os, resource, signal, sys, threading, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
calls = 0

class Job:
    def do(self, how):
        exec(how, globals())

    def look(self):
        global calls
        calls += 1
        umask = os.umask(0)
        os.umask(umask)
        seen = (
            os.getcwd(), oct(umask), len(os.environ), os.environ.get("HOME"), *map(signal.getsignal, (15, 2, 17, 13)),
            signal.getsignal(14).__name__, sys.path, sys.getrecursionlimit(), threading.active_count(),
            _thread._count(), sys.stdin.name, sys.stdout.name, sys.stderr.name, os.readlink("/proc/self/fd/0"),
            os.stat(1) == os.stat(2), *map(resource.getrlimit, range(16)), signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            *map(signal.getitimer, (1, 2)),
        )
        with open(os.path.join(ROOT, "trace"), "a") as file:
            file.write(f"{os.getpid()} {calls} {seen}\\n")
"""


def test_after_each_change_the_next_job_finds_another_process_that_is_as_it_was(project: Project) -> None:
    project.configure(methods="do, look")
    project.write_jobs(JOBS)
    run_background_job("app.jobs.Job", "look")
    for change in CHANGES.values():
        run_background_job("app.jobs.Job", "do", [change])
        run_background_job("app.jobs.Job", "look")

    project.tick()

    assert {status for _, status in project.jobs()} == {"completed"}
    looks = [line.split(" ", 2) for line in project.trace()]
    assert len(looks) == len(CHANGES) + 1
    assert len({seen for *_, seen in looks}) == 1, {seen for *_, seen in looks}
    assert len({pid for pid, *_ in looks}) == len(looks)


def test_as_long_as_nothing_changes_the_worker_stays_with_its_module_globals(project: Project) -> None:
    project.configure(methods="do, look")
    project.write_jobs(JOBS)
    run_background_job("app.jobs.Job", "look")
    for harmless in HARMLESS.values():
        run_background_job("app.jobs.Job", "do", [harmless])
        run_background_job("app.jobs.Job", "look")

    project.tick()

    assert {status for _, status in project.jobs()} == {"completed"}
    looks = [line.split(" ", 2) for line in project.trace()]
    assert len({pid for pid, *_ in looks}) == 1
    assert [int(calls) for _, calls, _ in looks] == list(range(1, len(HARMLESS) + 2))
