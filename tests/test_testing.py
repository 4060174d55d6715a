"""bgjob.testing: what a fake takes and tells, and a drain in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from freezegun import freeze_time

import bgjob
from bgjob import (
    BgjobError,
    GiveUp,
    InvalidJobError,
    InvalidParamsError,
    NotApprovedError,
    clock,
    enqueue,
    in_force,
    queue_job,
    run_background_job,
    run_background_jobs,
    testing,
    watch,
)
from bgjob.lock import QueueLock
from tests.conftest import CODE, Project
from tests.test_readme import blocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

JOB, OTHER = "drained_jobs.Job", "drained_jobs.Other"
JOBS = """
import asyncio, os, signal, sys

import bgjob
from bgjob import testing

seen = []

class Job:
    def execute(self, *args, **kwargs):
        seen.append(list(args) or kwargs)

    def fail(self, error="no answer"):
        seen.append(["fail", bgjob.current_job().attempt])
        raise ConnectionError(error)

    def raise_what(self, name):
        raise WHAT[name]

    def queue(self, *delays):
        for delay in delays:
            bgjob.run_background_job(Job, params=[delay], delay=delay)

    def again(self):
        bgjob.queue_job(self.again)

    def drain(self):
        testing.drain()

    async def wait(self):
        await asyncio.sleep(0)
        seen.append("waited")

    def tell(self):
        bgjob.set_progress(0.5, "half of it")
        bgjob.set_progress(1.0)
        seen.append(bgjob.current_job().seconds_left)

    def fork(self):
        if child := os.fork():
            seen.append(os.waitpid(child, 0)[1])

    def vanish(self):
        import sqlite3
        connection = sqlite3.connect(bgjob.get_job(1).database, isolation_level=None)
        connection.execute("DELETE FROM custom_jobs WHERE id = 1")
        connection.close()

class Other(Job):
    def execute(self, job):
        seen.append(["told", job["id"]])

WHAT = {
    "later": bgjob.RetryLater(60, "busy"),
    "give up": bgjob.GiveUp("closed"),
    "interrupt": KeyboardInterrupt(),
    "exit": SystemExit(3),
    "time-out": bgjob.JobTimeout("by hand"),
}
"""
METHODS = "execute, fail, raise_what, queue, again, drain, wait, tell, fork, vanish"
START = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def jobs(project: Project) -> Iterator[Any]:
    """The module of the jobs, which a drain can import from the project's folder."""
    (project.folder / "drained_jobs.py").write_text(JOBS)
    project.configure("max_retries: 1\nretry_delay: 60", classes=f"{JOB}, {OTHER}", methods=METHODS)
    sys.path.insert(0, str(project.folder))
    import drained_jobs  # type: ignore[import-not-found]  # made just now

    yield drained_jobs
    sys.path.remove(str(project.folder))
    del sys.modules["drained_jobs"]


@pytest.fixture
def queue(jobs: Any) -> Iterator[testing.Queue]:
    assert jobs
    with testing.isolated() as queue:
        yield queue


# What a fake takes


def test_a_fake_takes_what_comes_through_any_door_and_writes_nothing(project: Project, jobs: Any) -> None:
    with testing.fake() as fake:
        assert run_background_job(JOB, "execute", {"n": 1}, 5, 30)
        assert run_background_jobs([JOB, (JOB, "execute", [2])])
        job = queue_job.with_options(priority=-1)(jobs.Job.execute, 3)
        assert run_background_job(jobs.Job, params=(4, (5,)), connection=object())
        subthread = threading.Thread(target=run_background_job, args=(JOB,))
        subthread.start()
        subthread.join()

    assert fake.jobs == [
        (JOB, "execute", {"n": 1}, 5, dt.timedelta(seconds=30)),
        (JOB, "execute", None, 0, dt.timedelta(0)),
        (JOB, "execute", [2], 0, dt.timedelta(0)),
        (JOB, "execute", [3], -1, dt.timedelta(0)),
        (JOB, "execute", [4, [5]], 0, dt.timedelta(0)),
        (JOB, "execute", None, 0, dt.timedelta(0)),
    ]
    assert (job.id, job.params, job.priority) == (4, [3], -1)
    assert not project.database.parent.exists()


@pytest.mark.usefixtures("jobs")
def test_after_a_fake_jobs_are_written_again_whatever_ended_it(project: Project) -> None:
    with pytest.raises(ZeroDivisionError), testing.fake():
        1 / 0  # noqa: B018  # raises

    run_background_job(JOB)

    assert project.jobs() == [(1, "pending")]


@pytest.mark.usefixtures("jobs")
def test_a_fake_refuses_what_would_be_refused() -> None:
    with testing.fake() as fake:
        with pytest.raises(NotApprovedError, match=r"did you mean 'drained_jobs\.Job'"):
            run_background_job("drained_jobs.Jab")
        with pytest.raises(InvalidParamsError):
            run_background_job(JOB, params={"when": START})
        with pytest.raises(InvalidParamsError):
            run_background_job(JOB, "raise_what", {"nome": "x"})
        with pytest.raises(InvalidJobError):
            run_background_jobs([JOB, {"job_class": JOB, "delay": -1}])

    fake.assert_nothing_queued()


@pytest.mark.usefixtures("jobs")
def test_of_fakes_within_fakes_the_innermost_records() -> None:
    with testing.fake() as outer:
        run_background_job(JOB, params=[1])
        with testing.fake() as inner:
            run_background_job(JOB, params=[2])
            testing.assert_queued(JOB, params=[2], times=1)
        run_background_job(JOB, params=[3])
        with pytest.raises(RuntimeError, match="in force already"):
            outer.__enter__()

    assert [job.params for job in outer.jobs] == [[1], [3]]
    assert [job.params for job in inner.jobs] == [[2]]


@pytest.mark.usefixtures("jobs")
def test_a_fake_that_is_used_again_begins_anew() -> None:
    fake = testing.fake()
    with fake:
        run_background_job(JOB)
    with fake:
        fake.assert_nothing_queued()


@pytest.mark.usefixtures("jobs")
def test_each_call_of_a_decorated_function_has_a_fake_of_its_own() -> None:
    @testing.fake()
    def plain(n: int) -> int:
        run_background_job(JOB, params=[n])
        testing.assert_queued(JOB, times=1)
        return n

    @testing.fake()
    async def later(n: int) -> int:
        await asyncio.sleep(0)
        run_background_job(JOB, params=[n])
        return plain(n) + len(testing.assert_queued(JOB))

    assert [plain(1), plain(2)] == [1, 2]
    assert asyncio.run(later(3)) == 4
    with pytest.raises(RuntimeError, match="no fake is in force"):
        testing.assert_nothing_queued()
    with pytest.raises(TypeError, match="enterContext"):
        testing.fake()(type("SomeTest", (), {}))


def test_a_generator_is_not_decorated_for_its_body_would_run_without_the_fake() -> None:
    def plain() -> Iterator[None]:
        yield

    async def later() -> AsyncIterator[None]:
        yield

    for function in (plain, later):
        with pytest.raises(TypeError, match=r"with bgjob\.testing\.fake\(\):"):
            testing.fake()(function)


# What is asserted


@pytest.fixture
def fake(jobs: Any) -> Iterator[testing.Fake]:
    assert jobs
    with testing.fake() as fake:
        yield fake


def test_a_job_is_found_by_what_is_asked_for_and_the_rest_may_be_anything(fake: testing.Fake, jobs: Any) -> None:
    run_background_job(JOB, "execute", {"a": 1, "b": (2, {"c": (3,)})}, 7, 1.5)
    run_background_job(JOB, "fail", [])

    run_background_job(OTHER, params={"job": 1})

    for found in (
        fake.assert_queued(JOB, "execute"),
        fake.assert_queued(jobs.Job.execute),
        fake.assert_queued(jobs.Job, params={"b": (2, {"c": (3,)}), "a": 1}),
        fake.assert_queued(JOB, params={"a": mock.ANY, "b": [2, {"c": [3]}]}),
        fake.assert_queued(JOB, "execute", params=lambda params: params["a"] == 1),
        fake.assert_queued(JOB, priority=7, times=1),
        fake.assert_queued(JOB, delay=1.5),
        fake.assert_queued(JOB, delay=dt.timedelta(milliseconds=1500)),
        fake.assert_queued(JOB, delay="1500ms"),
    ):
        assert found == fake.jobs[:1]
    assert fake.assert_queued(JOB, times=2) == fake.jobs[:2]
    nothing: tuple[object, ...] = (None, {}, [], ())
    for no_params in nothing:
        assert fake.assert_queued(JOB, params=no_params) == fake.jobs[1:2]
    fake.assert_not_queued(OTHER, params=None)
    fake.assert_queued(OTHER, delay=1, times=0)
    fake.assert_not_queued(JOB, "execute", delay=0)
    fake.assert_not_queued(JOB, "fail", priority=1)
    fake.assert_not_queued(JOB, params={"a": 1})
    with pytest.raises(InvalidJobError, match="'soon' is no duration"):
        fake.assert_not_queued(JOB, delay="soon")
    fake.assert_not_queued(JOB, params=lambda params: params == "x")


def test_what_was_not_queued_is_told_beside_what_was_and_how_the_closest_differs(fake: testing.Fake) -> None:
    run_background_job(OTHER, params={"job": 1})
    run_background_job(JOB, params={"to": "ann", "cc": "bob"}, priority=3)
    run_background_job(JOB, "fail", ["x"], delay=90)

    with pytest.raises(AssertionError) as refusal:
        fake.assert_queued(JOB, "execute", {"to": "eve", "bcc": None}, priority=3, delay=60)

    assert str(refusal.value) == (
        "This was not queued:\n"
        "  drained_jobs.Job.execute  params={'to': 'eve', 'bcc': None}  priority=3  delay=60 s\n"
        "What was queued:\n"
        "  1. drained_jobs.Other.execute  params={'job': 1}\n"
        "  2. drained_jobs.Job.execute  params={'to': 'ann', 'cc': 'bob'}  priority=3\n"
        "       params['to'] is 'ann', not 'eve'\n"
        "       params lack 'bcc', which is to be None\n"
        "       params have 'cc' too, which is 'bob'\n"
        "       delay is 0 s, not 60 s\n"
        "  3. drained_jobs.Job.fail  params=['x']  delay=90 s"
    )


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"method": "fail"}, "the method is execute, not fail"),
        ({"params": ["x"]}, "params are {'n': 0}, not ['x']"),
        ({"params": lambda params: params["n"] > 99}, "<lambda> is not true of the params"),
        ({"priority": 1}, "priority is 0, not 1"),
    ],
)
def test_each_difference_is_told(fake: testing.Fake, asked: dict[str, Any], told: str) -> None:
    run_background_job(JOB, params={"n": 0})

    with pytest.raises(AssertionError) as refusal:
        fake.assert_queued(JOB, **asked)

    assert told in str(refusal.value).splitlines()[-1]


def test_of_many_jobs_the_first_are_told_and_the_closest(fake: testing.Fake) -> None:
    run_background_jobs([(JOB, "execute", [n], 0, n) for n in range(50)])

    with pytest.raises(AssertionError) as refusal:
        fake.assert_queued(JOB, "execute", ["x" * 1_000], delay=44)
    lines = str(refusal.value).splitlines()

    assert len(lines[1]) < 400
    assert [line for line in lines if line.startswith("  45. ")]
    assert lines[-1] == "  and 19 more"
    assert len(lines) == 3 + 30 + 2 + 1


def test_what_was_queued_too_often_or_at_all_is_told(fake: testing.Fake) -> None:
    with pytest.raises(AssertionError, match=r"This was not queued:\n  drained_jobs.Job\nNothing was queued.$"):
        fake.assert_queued(JOB)
    run_background_jobs([JOB, JOB])

    with pytest.raises(AssertionError, match="This was queued 2 times, not once:"):
        fake.assert_queued(JOB, times=1)
    with pytest.raises(AssertionError, match="This was queued never, not 3 times:"):
        fake.assert_queued(OTHER, times=3)
    with pytest.raises(AssertionError, match="This was queued, 2 times:"):
        fake.assert_not_queued(JOB)
    with pytest.raises(AssertionError, match=r"Nothing was to be queued.\nWhat was queued:\n  1. drained_jobs.Job"):
        fake.assert_nothing_queued()


def test_a_slip_in_the_name_of_what_was_not_queued_is_an_error(fake: testing.Fake, jobs: Any) -> None:
    for asked in (("drained_jobs.Jab",), (JOB, "exekute"), (dict,), ("drained_jobs.Jab", "execute")):
        with pytest.raises(NotApprovedError):
            fake.assert_not_queued(*asked)
    with pytest.raises(TypeError, match="names a method already"):
        fake.assert_not_queued(jobs.Job.execute, "execute")
    with pytest.raises(InvalidJobError):
        fake.assert_not_queued(len)


# What a drain runs


def test_a_drain_runs_what_is_due_in_order_and_what_that_queues(queue: testing.Queue, jobs: Any) -> None:
    run_background_job(JOB, "queue", [0, 60])
    run_background_job(JOB, params=["first"], priority=1)
    run_background_job(JOB, params={"delayed": 1}, delay=10)

    ran = queue.drain(START)

    assert jobs.seen == [["first"], [0], {"delayed": 1}]
    assert [(job.id, job.job_class, job.method, job.params, job.attempt) for job in ran] == [
        (2, JOB, "execute", ["first"], 1),
        (1, JOB, "queue", [0, 60], 1),
        (4, JOB, "execute", [0], 1),
        (3, JOB, "execute", {"delayed": 1}, 1),
    ]
    assert {job[5:] for job in ran} == {("succeeded", "completed", None, None, None)}
    [waiting] = queue.jobs("pending")
    assert waiting.available_at == START + MINUTE
    assert [job.status for job in queue.jobs()] == ["completed"] * 4 + ["pending"]


def test_a_delay_is_over_at_the_very_instant(queue: testing.Queue) -> None:
    with freeze_time(START):
        run_background_job(JOB, delay=60)

    assert not queue.drain(START + MINUTE - dt.timedelta(microseconds=1))
    assert len(queue.drain((START + MINUTE).astimezone(dt.timezone(dt.timedelta(hours=-5))))) == 1


def test_the_clock_of_a_drain_stands_still_and_goes_on_afterwards(queue: testing.Queue) -> None:
    run_background_job(JOB, "queue", [1])

    queue.drain(START)

    done, queued = queue.jobs()
    assert done.started_at == done.finished_at == queued.created_at == START
    assert clock.now() < START


def test_without_an_instant_a_drain_goes_by_freezegun(queue: testing.Queue, jobs: Any) -> None:
    with freeze_time(START) as frozen:
        run_background_job(JOB, "fail", delay=3600)
        frozen.tick(3600)
        [ran] = queue.drain(raise_errors=False)
        assert ran.available_at == START + 61 * MINUTE
        assert not queue.drain()
        frozen.tick(60)
        assert [job.status for job in queue.drain(raise_errors=False)] == ["failed"]

    assert jobs.seen == [["fail", 1], ["fail", 2]]


def test_an_error_of_a_job_is_raised_once_it_is_settled_and_the_rest_stays_due(queue: testing.Queue, jobs: Any) -> None:
    run_background_jobs([(JOB, "fail"), (JOB, "execute", ["later"])])

    with pytest.raises(ConnectionError, match="no answer") as error:
        queue.drain(START)

    [note] = error.value.__notes__
    assert note == (
        "raised by job 1, drained_jobs.Job.fail, in attempt 1; "
        "the job is pending again from 2030-01-01 12:01:00.000000 UTC"
    )
    failed, left = queue.jobs()
    assert (failed.status, failed.retry_count, failed.error) == ("pending", 1, "ConnectionError: no answer")
    [attempt] = failed.attempts
    assert (attempt.outcome, attempt.finished_at) == ("raised", START)
    assert "raise ConnectionError(error)" in str(attempt.traceback)
    assert left.status == "pending"
    assert [job.params for job in queue.drain(START)] == [["later"]]
    assert jobs.seen == [["fail", 1], ["later"]]


def test_the_errors_of_all_jobs_are_told_where_none_is_to_be_raised(project: Project, jobs: Any) -> None:
    project.configure(f"max_retries: 0\non_failure: {OTHER}", classes=f"{JOB}, {OTHER}", methods=METHODS)
    with testing.isolated() as queue:
        run_background_jobs([(JOB, "fail"), (JOB, "fail", ["b"]), (JOB, "raise_what", ["exit"])])

        ran = queue.drain(raise_errors=False)

        logged = [
            line
            for name in ("background_jobs.log", "background_jobs_errors.log")
            for line in (Path(queue.database).parent / "logs" / name).read_text().splitlines()
        ]
    assert [(job.outcome, job.status, job.error) for job in ran[:3]] == [
        ("raised", "failed", "ConnectionError: no answer"),
        ("raised", "failed", "ConnectionError: b"),
        ("raised", "failed", "SystemExit: 3"),
    ]
    assert [str(job.exception) for job in ran[:3]] == ["no answer", "b", "3"]
    assert jobs.seen[2:] == [["told", 1], ["told", 2], ["told", 3]]
    assert sum(" ERROR fail job=" in line for line in logged) == 3
    assert sum(" INFO complete job=" in line for line in logged) == 3


def test_a_job_that_is_put_off_is_no_error_and_one_that_gives_up_is_one(queue: testing.Queue) -> None:
    run_background_jobs([(JOB, "raise_what", ["later"]), (JOB, "raise_what", ["give up"])])

    with pytest.raises(GiveUp, match="closed") as error:
        queue.drain(START)

    assert error.value.__notes__[0].endswith("in attempt 1; the job is now failed")

    later, gave_up = queue.jobs()
    assert (later.status, later.retry_count, later.available_at) == ("pending", 0, START + MINUTE)
    assert gave_up.status == "failed"
    [again] = queue.drain(START + MINUTE)
    assert (again.outcome, again.status, again.available_at) == ("postponed", "pending", START + 2 * MINUTE)


@pytest.mark.parametrize(("name", "gets_out"), [("interrupt", True), ("exit", False), ("time-out", False)])
def test_what_ends_a_test_gets_out_in_any_case(queue: testing.Queue, name: str, *, gets_out: bool) -> None:
    run_background_job(JOB, "raise_what", [name])

    with pytest.raises(KeyboardInterrupt) if gets_out else contextlib.nullcontext():
        queue.drain(raise_errors=False)

    assert [job.retry_count for job in queue.jobs()] == [1]


def test_a_row_that_is_not_approved_is_an_error_and_is_not_run(queue: testing.Queue, jobs: Any) -> None:
    run_background_job(JOB)
    with contextlib.closing(sqlite3.connect(queue.database)) as connection, connection:
        connection.execute("UPDATE custom_jobs SET job_class = 'os.system'")

    with pytest.raises(NotApprovedError, match=r"os\.system"):
        queue.drain()

    assert [job.status for job in queue.jobs()] == ["failed"]
    assert not jobs.seen


def test_params_that_another_program_spoilt_are_an_error(queue: testing.Queue) -> None:
    run_background_job(JOB)
    with contextlib.closing(sqlite3.connect(queue.database)) as connection, connection:
        connection.execute("UPDATE custom_jobs SET params = '{'")

    [ran] = queue.drain(raise_errors=False)

    assert (ran.status, ran.params, type(ran.exception).__name__) == ("failed", "{", "UnreadableParamsError")


def test_the_boot_module_is_imported_before_the_first_job(project: Project, jobs: Any) -> None:
    (project.folder / "drained_boot.py").write_text("import drained_jobs\ndrained_jobs.seen.append('booted')\n")
    project.configure("boot: drained_boot", classes=JOB, methods=METHODS)
    try:
        with testing.isolated() as queue:
            run_background_job(JOB)
            queue.drain()
            queue.drain()
    finally:
        del sys.modules["drained_boot"]

    assert jobs.seen == ["booted", {}]


def test_a_job_that_queues_itself_for_ever_fails_the_drain_and_loses_none(queue: testing.Queue) -> None:
    run_background_job(JOB, "again")

    with pytest.raises(AssertionError, match=r"^5 jobs ran, and the next one is due: drained_jobs.Job.again. Does"):
        queue.drain(most=5)

    assert [job.status for job in queue.jobs()] == ["completed"] * 5 + ["pending"]
    assert [job.retry_count for job in queue.jobs()] == [0] * 6


def test_a_job_may_be_async_tell_how_far_it_is_and_take_its_row_away(queue: testing.Queue, jobs: Any) -> None:
    run_background_jobs([(JOB, "vanish"), (JOB, "wait"), (JOB, "tell")])

    ran = queue.drain()

    assert [job.status for job in ran] == ["deleted", "completed", "completed"]
    progress = queue.jobs()[-1].progress
    assert progress
    assert (progress.fraction, progress.text) == (1.0, None)
    assert jobs.seen == ["waited", None]
    assert bgjob.current_job() is None


def test_an_async_test_drains_in_a_thread(queue: testing.Queue, jobs: Any) -> None:
    run_background_job(JOB, "wait")

    async def drained() -> int:
        return len(await asyncio.to_thread(queue.drain))

    assert asyncio.run(drained()) == 1
    assert jobs.seen == ["waited"]


def test_a_drain_leaves_the_process_as_it_was(project: Project, queue: testing.Queue) -> None:
    rang = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    sys.path.remove(str(project.folder))
    before = list(sys.path)
    try:
        signal.setitimer(signal.ITIMER_REAL, 500)
        run_background_jobs([(JOB, "execute"), (JOB, "fail")])

        with pytest.raises(ConnectionError):
            queue.drain()

        assert signal.setitimer(signal.ITIMER_REAL, 0)[0] > 400
        assert signal.getsignal(signal.SIGALRM).__qualname__.endswith("<lambda>")  # type: ignore[union-attr]  # ours
        assert sys.path == before
        assert not rang
    finally:
        signal.signal(signal.SIGALRM, handler)
        sys.path.insert(0, str(project.folder))


def test_drains_leave_no_files_open(queue: testing.Queue) -> None:
    run_background_jobs([JOB, JOB, JOB])
    queue.drain(most=3)
    gc.collect()
    # SQLite keeps one for the next connection to a file that another one has open.
    before = _open_files()

    for _ in range(3):
        run_background_job(JOB)
        queue.drain()

    assert not Counter(_open_files()) - Counter(before)


def test_a_drain_within_a_drain_is_refused(queue: testing.Queue) -> None:
    run_background_job(JOB, "drain")

    with pytest.raises(BgjobError, match="a job can't drain the queue"):
        queue.drain()

    assert len(queue.drain(clock.now() + 2 * MINUTE, raise_errors=False)) == 1


def test_drains_of_several_threads_take_turns(queue: testing.Queue, jobs: Any) -> None:
    run_background_jobs([(JOB, "execute", [n]) for n in range(40)])
    ran: list[testing.Ran] = []
    threads = [threading.Thread(target=lambda: ran.extend(queue.drain())) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(job.id for job in ran) == list(range(1, 41))
    assert len(jobs.seen) == 40


def test_an_instant_without_a_time_zone_is_refused(queue: testing.Queue) -> None:
    with pytest.raises(ValueError, match="now has no time zone"):
        queue.drain(dt.datetime(2030, 1, 1))  # noqa: DTZ001  # that is the point


def test_a_fake_takes_what_a_drained_job_queues(queue: testing.Queue) -> None:
    run_background_job(JOB, "queue", [0])

    with testing.fake() as fake:
        queue.drain()

    fake.assert_queued(JOB, params=[0])
    assert len(queue.jobs()) == 1


# Whose queue it is


@pytest.mark.usefixtures("jobs")
def test_a_drain_by_itself_is_of_the_config_in_force_and_a_tick_goes_on_from_there(project: Project) -> None:
    run_background_jobs([(JOB, "execute"), (JOB, "queue", [0.001])])

    assert len(testing.drain()) == 2

    project.tick()
    assert project.jobs() == [(1, "completed"), (2, "completed"), (3, "completed")]
    assert project.sql("SELECT count(*), count(ended) FROM runners") == [(2, 2)]


@pytest.mark.usefixtures("jobs")
def test_a_drain_is_refused_while_a_runner_is_at_work(project: Project) -> None:
    run_background_job(JOB)
    runner = QueueLock(f"{project.database}.lock")
    assert runner.take()

    with pytest.raises(BgjobError, match=r"bgjob_queue, or bgjob\.testing\.isolated"):
        testing.drain()

    runner.give_back()
    assert len(testing.drain()) == 1


def test_an_isolated_queue_is_apart_from_the_projects_and_gone_afterwards(project: Project, jobs: Any) -> None:
    run_background_job(JOB, params=["mine"])
    before = in_force.configs

    with testing.isolated() as queue:
        run_background_job(JOB, params=["its"])
        assert [job.params for job in bgjob.jobs()] == [["its"]]
        assert len(queue.drain()) == 1
        folder = Path(queue.database).parent
        with testing.isolated(), pytest.raises(RuntimeError, match="not in force"):
            queue.drain()

    assert in_force.configs is before
    assert not folder.exists()
    assert not [link for link in _open_files() if str(folder) in link]
    with pytest.raises(RuntimeError, match="not in force"):
        queue.jobs()
    assert project.jobs() == [(1, "pending")]
    assert jobs.seen == [["its"]]


def _open_files() -> list[str]:
    links = []
    for file in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            links.append(str(file.readlink()))
    return links


@pytest.mark.usefixtures("jobs")
def test_an_isolated_queue_is_ready_for_a_job_in_a_transaction(tmp_path: Path) -> None:
    with testing.isolated(tmp_path / "its" / "jobs.sqlite3") as queue:
        with contextlib.closing(sqlite3.connect(queue.database, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            run_background_job(JOB, connection=connection)
            connection.execute("COMMIT")

        assert len(queue.jobs("pending")) == 1


@pytest.mark.usefixtures("jobs")
def test_an_isolated_queue_raises_no_alarm_however_far_the_clock_is_turned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_FIRST_MINUTES", 0)
    with testing.isolated(tmp_path / "its" / "jobs.sqlite3") as queue, freeze_time(START) as frozen:
        run_background_job(JOB)
        frozen.tick(dt.timedelta(days=3))
        monkeypatch.setattr(enqueue._intake, "_watch", watch.Watch())  # which looks at its first call
        run_background_job(JOB)

        assert (tmp_path / "its" / "jobs.sqlite3").exists()
        assert len(queue.jobs()) == 2
    with contextlib.closing(sqlite3.connect(tmp_path / "its" / "jobs.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM alarms").fetchone() == (0,)


@pytest.mark.usefixtures("jobs")
def test_a_child_that_a_job_forks_ends_with_the_job(project: Project) -> None:
    done = project.python(
        "from bgjob import run_background_job, testing\n"
        f"run_background_job({JOB!r}, 'fork')\n"
        "ran = testing.drain()\n"
        "import drained_jobs\n"
        "print(len(ran), drained_jobs.seen)\n"
    )

    assert done.stdout == "1 [0]\n"


# pytest, and the page


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the files that docs/testing.md shows."""
    folder = tmp_path_factory.mktemp("shown")
    for block in blocks(CODE / "docs" / "testing.md"):
        if block.file:
            path = folder / block.file
            path.parent.mkdir(exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(block.text)
    return folder


def _in(folder: Path, *arguments: str, check: bool = True) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BGJOB", "PYTEST"))}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        env=environment,
    )
    assert not check or done.returncode == 0, done.stdout
    return done.stdout


def test_every_example_of_the_page_passes_under_pytest(shown: Path) -> None:
    tests = sum(block.text.count("    def test_") + block.text.count("\ndef test_") for block in blocks(PAGE))

    assert (
        f" {tests} passed" in " " + _in(shown, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider").splitlines()[-1]
    )
    assert tests >= 9
    assert not (shown / "storage").exists()


PAGE = CODE / "docs" / "testing.md"


@pytest.mark.slow
def test_every_example_passes_in_several_processes_at_once(shown: Path) -> None:
    assert " passed" in _in(shown, "pytest", "-q", "-n", "2", "-p", "no:cacheprovider").splitlines()[-1]


def test_the_examples_with_unittest_need_no_pytest(shown: Path) -> None:
    without = "import sys; sys.modules['pytest'] = None; import unittest; unittest.main(module=None)"
    (shown / "without.py").write_text(without)

    told = _in(shown, "without", "tests.test_with_unittest", "tests.test_jobs_with_unittest")

    assert "Ran 2 tests" in told


def test_the_message_that_the_page_shows_is_the_one_that_a_person_reads(shown: Path) -> None:
    (shown / "tests" / "wrong.py").write_text(
        "from app.shop import MailJob, sign_up\n\n"
        "def test(bgjob_fake):\n"
        "    sign_up('ann@example.com')\n"
        "    bgjob_fake.assert_queued(MailJob, params={'to': 'bob@example.com', 'subject': 'Welcome'})\n"
    )

    told = _in(shown, "pytest", "-q", "-p", "no:cacheprovider", "tests/wrong.py", check=False)

    lines = [line.removeprefix("E").removeprefix("       ") for line in told.splitlines() if line.startswith("E ")]
    [block] = blocks(PAGE, kind="text")
    assert "\n".join(lines).strip() == block.text.strip()
    assert "testing/fake.py" not in told, "the test's own line is where a person looks"


def test_pytest_starts_without_anything_of_ours_but_the_plugin(shown: Path) -> None:
    (shown / "tests" / "start.py").write_text(
        "import sys\n\ndef test():\n    print(sorted(name for name in sys.modules if name.startswith('bgjob')))\n"
    )

    told = _in(shown, "pytest", "-q", "-s", "-p", "no:cacheprovider", "tests/start.py")

    assert told.startswith("['bgjob', 'bgjob.pytest_plugin', 'bgjob.version']\n")


def test_nothing_of_it_is_in_force_before_it_is_asked_for() -> None:
    assert enqueue.recorder is None
