"""A job that runs too long: first JobTimeout within it, then, after the grace, SIGKILL for its whole process group."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from bgjob import process, run_background_job
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import ctypes, os, re, select, signal, subprocess, sys, threading, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

def trace(text):
    file = os.open(os.path.join(ROOT, "trace"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, f"{text}\\n".encode())
    os.close(file)

class Job:
    def execute(self, name="job"):
        trace(name)

    def do(self, how):
        exec(how, globals())

    async def wait(self):
        import asyncio
        try:
            await asyncio.gather(self.sleep(), self.sleep())
        finally:
            trace("tidied up")

    async def sleep(self):
        import asyncio
        try:
            await asyncio.sleep(600)
        except Exception:
            trace("swallowed")
        finally:
            trace("woken")

class Patient(Job):
    pass
"""

ENDLESS = "while True: pass\n"
SOON = 10  # s; far more than it takes, as tests run side by side on small machines


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.write_jobs(JOBS)
    configure(project)


def configure(project: Project, timeout: str = "200ms", grace: str = "60s", more: str = "max_retries: 0") -> None:
    project.configure(
        f"timeout: {timeout}\ntimeout_grace: {grace}\nmax_crashes: 1\n{more}",
        classes="app.jobs.Job, {app.jobs.Patient: {timeout: 60s}}",
        methods="execute, do, wait",
    )


def run(project: Project, how: str, *, method: str = "do") -> tuple[str, str, float]:
    """Run a job and another one behind it in one tick; return the first one's outcome, error and duration."""
    run_background_job("app.jobs.Job", method, [how] if method == "do" else None)
    run_background_job("app.jobs.Patient", "execute", ["after"])

    project.tick(timeout=30)

    assert project.trace()[-1] == "after"
    assert project.jobs("status, retry_count, crash_count") == [("failed", 0, 0), ("completed", 0, 0)]
    ((outcome, error),) = project.sql("SELECT outcome, error FROM attempts WHERE job_id = 1")
    found = re.search(r"outcome=(\S+|\"[^\"]*\") duration=([0-9.]+)s", project.log(errors=True))
    assert found
    return outcome, error, float(found[2])


def test_a_job_that_runs_too_long_is_ended_by_an_exception_that_runs_its_finally_blocks(project: Project) -> None:
    outcome, error, duration = run(project, "try:\n    n = 0\n    while True: n += 1\nfinally: trace('tidied up')")

    assert project.trace() == ["tidied up", "after"]
    assert outcome == "timed out"
    assert "0.2 s" in error
    assert 0.2 <= duration < SOON
    ((traceback,),) = project.sql("SELECT traceback FROM attempts")
    assert "JobTimeout" in traceback
    assert "app/jobs.py" in traceback
    assert "JobTimeout" in project.log(errors=True)


@pytest.mark.parametrize(
    "how",
    [
        "time.sleep(600)",
        "threading.Event().wait()",
        "os.read(os.pipe()[0], 1)",
        "re.match(r'(a+)+$', 'a' * 60 + 'b')",
        "subprocess.run(['sleep', '600'])",
    ],
)
def test_a_job_that_waits_is_ended_as_well(project: Project, how: str) -> None:
    outcome, _, duration = run(project, f"try: {how}\nfinally: trace('tidied up')")

    assert (outcome, project.trace()[0]) == ("timed out", "tidied up")
    assert 0.2 <= duration < SOON


def test_an_except_exception_does_not_swallow_the_time_out(project: Project) -> None:
    outcome, _, duration = run(
        project, "while True:\n    try: time.sleep(600)\n    except Exception: trace('swallowed')"
    )

    assert (outcome, project.trace()) == ("timed out", ["after"])
    assert duration < SOON


def test_a_job_may_catch_the_time_out_by_its_name_and_raise_it_again(project: Project) -> None:
    outcome, *_ = run(
        project,
        "import bgjob\ntry: time.sleep(600)\nexcept bgjob.JobTimeout as e:\n"
        "    assert not isinstance(e, Exception) and 'timeout of 0.2 s' in str(e); trace('caught'); raise",
    )

    assert (outcome, project.trace()) == ("timed out", ["caught", "after"])


def test_a_job_that_catches_the_time_out_and_ends_well_in_the_grace_is_completed(project: Project) -> None:
    run_background_job("app.jobs.Job", "do", ["try: time.sleep(600)\nexcept BaseException: pass"])
    run_background_job("app.jobs.Job", "do", ["time.sleep(0.05)"])

    project.tick()

    assert project.jobs() == [(1, "completed"), (2, "completed")]


def test_the_exception_with_which_a_job_answers_its_time_out_is_what_it_failed_with(project: Project) -> None:
    outcome, error, _ = run(project, "try: time.sleep(600)\nexcept BaseException: raise KeyError('half done')")

    assert (outcome, error) == ("raised", "KeyError: 'half done'")


STUBBORN = {
    "a bare except": "while True:\n    try: time.sleep(600)\n    except: trace('swallowed')",
    "an endless finally": "try: time.sleep(600)\nfinally:\n    while True: pass",
    "all signals blocked": f"signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n{ENDLESS}",
    "all signals blocked in C": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); ctypes.CDLL(None).sleep(600)"
    ),
    "an endless loop in C": "import collections, itertools; collections.deque(itertools.count(), maxlen=0)",
    "a shell": "os.system('sleep 600')",
    "SIGALRM ignored": f"signal.signal(signal.SIGALRM, signal.SIG_IGN)\n{ENDLESS}",
    "a handler of its own": f"signal.signal(signal.SIGALRM, lambda *_: trace('mine'))\n{ENDLESS}",
    "a timer of its own": f"signal.setitimer(signal.ITIMER_REAL, 3600)\n{ENDLESS}",
    "the timer stopped": f"signal.alarm(0)\n{ENDLESS}",
    "all signals ignored": (
        f"for number in signal.valid_signals() - {{9, 19}}: signal.signal(number, signal.SIG_IGN)\n{ENDLESS}"
    ),
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "a thread that keeps the interpreter": (
        "threading.Thread(target=re.match, args=(r'(a+)+$', 'a' * 60 + 'b')).start(); time.sleep(600)"
    ),
    "an async job that swallows": """
import asyncio
async def stubborn():
    while True:
        try: await asyncio.sleep(600)
        except BaseException: pass
async def both(): await asyncio.gather(stubborn(), stubborn())
asyncio.run(both())""",
    # Python itself swallows what these raise, and says "Exception ignored" at most.
    "a finalizer": f"""
class Odd:
    def __del__(self): time.sleep(600)
Odd()
trace('lost')
{ENDLESS}""",
    "a callback of a weak reference": f"""
import weakref
class Odd: pass
odd = Odd()
reference = weakref.ref(odd, lambda _: time.sleep(600))
del odd
trace('lost')
{ENDLESS}""",
    "a task that nobody awaits": """
import asyncio
async def aside(): time.sleep(600)
async def main():
    task = asyncio.create_task(aside())
    await asyncio.sleep(0)
    trace('lost')
    await asyncio.sleep(600)
asyncio.run(main())""",
    "a callback of the event loop": """
import asyncio
async def main():
    asyncio.get_running_loop().call_soon(time.sleep, 600)
    await asyncio.sleep(0)
    trace('lost')
    await asyncio.sleep(600)
asyncio.run(main())""",
}


@pytest.mark.parametrize("how", STUBBORN.values(), ids=STUBBORN)
def test_a_job_that_does_not_end_by_the_exception_is_killed_after_the_grace(project: Project, how: str) -> None:
    configure(project, "1s", "300ms")  # long enough for the job to have begun, on a busy machine

    outcome, error, duration = run(project, f"print('the last words', flush=True)\n{how}")

    assert outcome == "timed out"
    assert "killed" in error
    output = project.sql("SELECT output FROM attempts")[0][0]
    assert output.startswith("the last words\n")
    assert error.endswith(output.strip()[-400:])
    assert "lost" not in how or "lost" in project.trace()
    assert 0.5 <= duration < SOON


@pytest.mark.parametrize(
    "how",
    [f"signal.signal(signal.SIGALRM, signal.SIG_DFL)\n{ENDLESS}", "os.execvp('sleep', ['sleep', '600'])"],
    ids=["the default handler", "exec"],
)
def test_a_job_that_our_timer_kills_has_timed_out_and_not_crashed(project: Project, how: str) -> None:
    outcome, _, duration = run(project, how)

    assert outcome == "timed out"
    assert 0.2 <= duration < SOON


def test_a_job_that_raises_the_alarm_itself_long_before_its_time_is_over_has_crashed(project: Project) -> None:
    configure(project, "60s")
    run_background_job(
        "app.jobs.Job", "do", ["signal.signal(signal.SIGALRM, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGALRM)"]
    )

    project.tick()

    assert project.jobs("status, crash_count") == [("failed", 1)]
    ((outcome, error),) = project.sql("SELECT outcome, error FROM attempts")
    assert outcome == "crashed"
    assert "SIGALRM (signal 14)" in error


def test_a_job_that_left_its_process_group_is_killed_as_well(project: Project) -> None:
    configure(project, grace="300ms")
    run_background_job("app.jobs.Job", "do", [f"os.setpgid(0, os.getpgid(os.getppid())); signal.alarm(0)\n{ENDLESS}"])
    tick = project.start_tick(start_new_session=True)

    wait_until(lambda: project.jobs("status, crash_count") == [("failed", 0)], limit=SOON)

    assert tick.wait(10) == 0


def test_the_children_of_a_job_are_killed_with_it(project: Project) -> None:
    configure(project, grace="300ms")
    families = """
for command in ('sleep 600 & sleep 601; true', 'trap "" TERM INT HUP; sleep 602; true'):
    trace(subprocess.Popen(['sh', '-c', command]).pid)
os.system('sleep 603')"""
    run_background_job("app.jobs.Job", "do", [families])
    tick = project.start_tick()
    wait_until(lambda: len(project.trace()) == 2)
    worker = int(project.sql("SELECT worker FROM custom_jobs")[0][0].split()[0])

    wait_until(lambda: project.jobs() == [(1, "failed")])

    assert not process._group_runs(worker)
    assert tick.wait(20) == 0


def test_a_time_out_is_a_retry_and_no_crash(project: Project) -> None:
    configure(project, "50ms", "100ms", "max_retries: 2")
    run_background_job("app.jobs.Job", "do", ["time.sleep(600)"])
    run_background_job("app.jobs.Job", "do", [f"signal.alarm(0)\n{ENDLESS}"], -1)

    project.tick()

    assert project.jobs("status, retry_count, crash_count") == [("failed", 2, 0)] * 2
    assert project.sql("SELECT outcome FROM attempts") == [("timed out",)] * 6


def test_a_class_may_have_a_time_out_of_its_own(project: Project) -> None:
    project.configure(
        "max_retries: 0\ntimeout: 600s", classes="app.jobs.Patient, {app.jobs.Job: {timeout: 100ms}}", methods="do"
    )
    run_background_job("app.jobs.Job", "do", ["time.sleep(600)"])
    run_background_job("app.jobs.Patient", "do", ["time.sleep(0.2)"])

    project.tick()

    assert project.jobs() == [(1, "failed"), (2, "completed")]
    ((error,),) = project.sql("SELECT error FROM attempts")
    assert "0.1 s" in error


def test_an_async_job_times_out_and_its_tasks_are_cancelled(project: Project) -> None:
    configure(project, "500ms")

    outcome, _, duration = run(project, "", method="wait")

    assert outcome == "timed out"
    assert sorted(project.trace()[:-1]) == ["tidied up", "woken", "woken"]
    assert 0.5 <= duration < SOON


def test_an_import_that_takes_too_long_times_out_like_the_job(project: Project) -> None:
    project.write_jobs("import time\ntime.sleep(600)")
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n", "others")
    project.configure("timeout: 60s\nmax_retries: 0", classes="{app.jobs.Job: {timeout: 200ms}}, app.others.Job")
    run_background_job("app.jobs.Job")
    run_background_job("app.others.Job")

    project.tick()

    assert project.jobs() == [(1, "failed"), (2, "completed")]
    assert project.sql("SELECT outcome FROM attempts") == [("timed out",)]


def test_a_job_that_uses_the_alarm_itself_and_ends_in_time_is_completed(project: Project) -> None:
    rings = """
signal.signal(signal.SIGALRM, lambda *_: trace('rang'))
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
while not os.path.exists('trace'): time.sleep(0.005)"""
    run_background_job("app.jobs.Job", "do", [rings])
    run_background_job("app.jobs.Job", "do", ["trace('begin'); time.sleep(600)"], priority=-1)

    project.tick()

    assert project.jobs() == [(1, "completed"), (2, "failed")]
    assert project.trace()[-1] == "begin"  # no alarm of the first job rings in the second
    assert project.sql("SELECT outcome FROM attempts") == [("timed out",)]


def test_jobs_that_end_just_when_their_time_is_over_are_completed_or_timed_out_and_nothing_else(
    project: Project,
) -> None:
    configure(project, "20ms")
    for step in range(40):
        end = 0.0185 + step * 0.00006
        run_background_job(
            "app.jobs.Job", "do", [f"end = time.monotonic() + {end}\nwhile time.monotonic() < end: pass"]
        )

    project.tick()

    assert {status for _, status in project.jobs()} <= {"completed", "failed"}
    assert {outcome for (outcome,) in project.sql("SELECT outcome FROM attempts")} <= {"timed out"}
    assert all("timeout of 0.02 s" in error for (error,) in project.sql("SELECT error FROM attempts"))


FROZEN = "import freezegun\nwith freezegun.freeze_time('2012-01-14'):\n    "


def test_time_passes_for_a_job_that_froze_it(project: Project) -> None:
    configure(project, "500ms")
    began = time.time()

    outcome, _, duration = run(project, FROZEN + "while time.time() < 1326499300: pass")

    assert outcome == "timed out"
    assert 0.2 <= duration < SOON
    assert 0 <= time.time() - began < 30
    ((started, finished),) = project.sql(
        "SELECT unixepoch(started_at), unixepoch(finished_at) FROM custom_jobs WHERE id = 1"
    )
    assert began - 2 < started <= finished < time.time() + 2


def test_a_job_that_froze_time_and_swallows_its_time_out_is_killed_all_the_same(project: Project) -> None:
    configure(project, "500ms", "300ms")

    outcome, _, duration = run(
        project,
        "while True:\n    try:\n        import freezegun\n"
        "        with freezegun.freeze_time('2012-01-14'): time.sleep(600)\n    except BaseException: pass",
    )

    assert outcome == "timed out"
    assert 0.8 <= duration < SOON


PATCHED = {
    "freezegun": "import freezegun; freezegun.freeze_time('2012-01-14').start()",
    "freezegun in the future": "import freezegun; freezegun.freeze_time('2100-01-14').start()",
    "all of time": (
        "for name in dir(time):\n"
        "    if callable(getattr(time, name)) and name != 'struct_time': setattr(time, name, lambda *_: 0)"
    ),
    "datetime": """
import datetime
class Odd(datetime.datetime):
    @classmethod
    def now(cls, tz=None): return cls(1999, 1, 1, tzinfo=tz)
datetime.datetime = Odd""",
}


@pytest.mark.parametrize("how", PATCHED.values(), ids=PATCHED)
def test_a_job_that_leaves_time_patched_does_not_change_the_time_of_others(project: Project, how: str) -> None:
    configure(project, "20s")
    began = time.time()
    run_background_job("app.jobs.Job", "do", [how])
    run_background_job("app.jobs.Job", "do", ["select.select([], [], [], 0.3); trace('done')"])
    run_background_job("app.jobs.Job", "do", ["1 / 0"])

    project.tick()

    assert [status for _, status in project.jobs()] == ["completed", "completed", "failed"]
    for (finished,) in project.sql("SELECT unixepoch(finished_at) FROM custom_jobs"):
        assert began - 2 < finished < time.time() + 2
    durations = [float(found) for found in re.findall(r"complete .*duration=([0-9.]+)s", project.log())]
    assert 0.3 <= durations[1] < SOON


@pytest.mark.parametrize(
    "how",
    [
        "raise JobTimeout('\\ud800')",
        "raise JobTimeout('x' * 3_000_000)",
        "raise type('Odd', (JobTimeout,), {'__str__': lambda self: 1 / 0})",
        "raise type('Odd', (JobTimeout,), {'__str__': lambda self: sys.exit(0)})",
    ],
)
def test_a_job_that_raises_the_time_out_by_itself_has_failed_like_any_other(project: Project, how: str) -> None:
    run_background_job("app.jobs.Job", "do", [f"from bgjob import JobTimeout\n{how}"])

    project.tick()

    ((outcome, error),) = project.sql("SELECT outcome, error FROM attempts")
    assert outcome in {"raised", "timed out"}
    assert len(error) < 1_100


BLOCKED = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())"


def test_signals_that_one_job_left_blocked_do_not_cost_the_next_one_its_finally_block(project: Project) -> None:
    configure(project, grace="2s")
    run_background_job("app.jobs.Job", "do", [BLOCKED])
    run_background_job("app.jobs.Job", "do", ["try: time.sleep(600)\nfinally: trace('tidied up')"])

    project.tick()

    assert project.trace() == ["tidied up"]


@pytest.mark.parametrize(
    "place",
    [
        "has_changed",
        "tell",
        "_drain",
    ],
)
def test_what_a_job_left_behind_to_keep_its_worker_from_settling_does_not_stop_the_queue(
    project: Project, place: str
) -> None:
    project.runner.write_text(
        "import bgjob.worker\nbgjob.worker.SECONDS_TO_SETTLE = 0.5\n" + project.runner.read_text()
    )
    # The interpreter is never given back, as by a thread within an endless call of C.
    stuck = f"""
sys.setprofile(lambda frame, *_: frame.f_code.co_name == '{place}' and ctypes.PyDLL(None).sleep(600))
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()"""
    run_background_job("app.jobs.Job", "do", [stuck])
    run_background_job("app.jobs.Patient", "execute", ["after"])
    tick = project.start_tick()

    wait_until(lambda: project.jobs("status, crash_count")[1] == ("completed", 0), limit=SOON / 2)

    assert tick.wait(SOON) == 0


def test_a_boot_that_never_ends_is_killed_and_blamed_on_no_job(project: Project) -> None:
    project.configure("boot: app.boot")
    project.write_jobs("while True: pass", "boot")
    project.runner.write_text("import bgjob.worker\nbgjob.worker.SECONDS_FOR_BOOT = 0.3\n" + project.runner.read_text())
    run_background_job("app.jobs.Job")

    done = project.tick(check=False)

    assert done.returncode == 78
    assert "app.boot" in done.stderr
    assert project.jobs("status, retry_count, crash_count") == [("pending", 0, 0)]


def test_the_longest_time_out_there_is_harms_nobody(project: Project) -> None:
    configure(project, "365d", "365d")
    run_background_job("app.jobs.Job")

    project.tick()

    assert project.jobs() == [(1, "completed")]


def test_one_job_that_is_killed_does_not_hold_the_others_up(project: Project) -> None:
    configure(project, "500ms", "500ms", "max_retries: 0\nworkers: 2")
    run_background_job("app.jobs.Job", "do", [f"signal.alarm(0)\n{ENDLESS}"])
    for number in range(20):
        run_background_job("app.jobs.Patient", "execute", [number])

    project.tick()

    ((killed,),) = project.sql("SELECT finished_at FROM custom_jobs WHERE id = 1")
    assert max(finished for (finished,) in project.sql("SELECT finished_at FROM custom_jobs WHERE id > 1")) < killed
