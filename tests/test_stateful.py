"""Whatever is queued, run, killed, stopped and done by hand in whatever order: the promises hold after each step.

Hypothesis thinks up the steps, a dict holds what must be in the table; the database and the processes are real.
`BGJOB_EXAMPLES=200 make test ARGS="-k stateful"` looks longer.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from bgjob import clock, sql
from bgjob.job import CANCELLED, COMPLETED, FAILED, PENDING, PROCESSING, TRANSITIONS
from bgjob.store import intake
from bgjob.store.connection import Database
from tests.conftest import Project, new_job, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="a signal must not meet a stranger: Linux only")

GOOD, SLOW, FAILING, CRASHING = "good", "slow", "failing", "crashing"
KINDS = st.lists(st.sampled_from([GOOD, GOOD, SLOW, SLOW, FAILING, CRASHING]), min_size=1, max_size=6)
ENDINGS = st.sampled_from([(".lock", ".wake", ".tick"), (".life", ".wake"), (".lock", ".life")])
PICKS = st.integers(0, 1000)
# When to do mischief: so many seconds after the start, or (negative) after the first job has begun.
INSTANTS = st.one_of(st.just(-0.0), st.floats(-0.05, -0.0), st.floats(0, 0.3))

# A lock that the kernel frees when its holder has died, and not before, tells two processes on one job, and a job
# beyond the limit, better than any lines that they could write.
JOBS = """
import contextlib, fcntl, os, time

def trace(*words):
    file = os.open("trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, (" ".join(map(str, words)) + "\\n").encode())
    os.close(file)

def is_locked(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

class Job:
    def execute(self, name, kind, limit):
        with contextlib.ExitStack() as files:
            if not is_locked(files.enter_context(open(f"lock of {name}", "w"))):
                trace("overlap", name, os.getpid())
            if not any(is_locked(files.enter_context(open(f"slot {slot}", "w"))) for slot in range(limit)):
                trace("overrun", name, os.getpid())
            trace("start", name, os.getpid())
            time.sleep(0.1 if kind == "slow" else 0.01)
            if kind == "crashing":
                os._exit(0)
            trace("end", name, os.getpid())
            if kind == "failing":
                raise RuntimeError(name)
"""

# Every change of a status, whoever made it, as the database itself saw it.
WITNESS = (
    """
    CREATE TABLE moves (job, before, after, retries_before, retries, crashes_before, crashes)
""",
    """
    CREATE TRIGGER witness AFTER UPDATE OF status ON custom_jobs WHEN OLD.status <> NEW.status BEGIN
        INSERT INTO moves VALUES (
            OLD.id, OLD.status, NEW.status, OLD.retry_count, NEW.retry_count, OLD.crash_count, NEW.crash_count);
    END
""",
)

BY_HAND = ("requeue", "cancel")


class Expected(NamedTuple):
    """What the table must say about a job."""

    kind: str
    status: str = PENDING
    retries: int = 0
    crashes: int = 0
    attempts: int = 0  # that failed


class Move(NamedTuple):
    """What the table `moves` says about one change of a status."""

    job: int
    before: str
    after: str
    retries_before: int
    retries: int
    crashes_before: int
    crashes: int

    @property
    def is_failed_attempt(self) -> bool:
        """Whether this settled an attempt that failed."""
        return self.before == PROCESSING and (self.after == FAILED or self.retries > self.retries_before)

    @property
    def is_release(self) -> bool:
        """Whether this handed a job back uncounted."""
        return (self.before, self.after) == (PROCESSING, PENDING) and not self.is_failed_attempt


class Queue(RuleBasedStateMachine):
    """A project, its jobs as they must be, and all that can be done to them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.project = Project(Path(self.folder.name) / "project")
        self.jobs: dict[int, Expected] = {}
        self.queued = 0
        self.moves_seen = 0
        self.by_hand: list[tuple[int, str, str]] = []

    @initialize(
        limit=st.integers(1, 2),
        linger=st.sampled_from(["0", "0", "0", "50ms"]),
        max_retries=st.integers(0, 2),
        max_crashes=st.integers(1, 3),
    )
    def configure(self, limit: int, linger: str, max_retries: int, max_crashes: int) -> None:
        self.limit, self.max_retries, self.max_crashes = limit, max_retries, max_crashes
        self.project.write_jobs(JOBS)
        self.project.configure(
            f"workers: {limit}\nlinger: {linger}\nmax_retries: {max_retries}\nmax_crashes: {max_crashes}\n"
            "shutdown_grace: 5ms\n"
        )
        Database(str(self.project.database)).close()
        for statement in WITNESS:
            self.project.sql(statement)

    # What an app does.

    @rule(
        kinds=KINDS,
        priority=st.integers(-1, 1),
        delay=st.sampled_from([0, 0, 1e-6, 600]),
        clock_is_off_by=st.sampled_from([0, 0, -3600, 3600]),
    )
    def queue(self, kinds: list[str], priority: int, delay: float, clock_is_off_by: float) -> None:
        self.enqueue(kinds, priority=priority, delay=delay, now=clock.later(clock.now(), clock_is_off_by))

    def enqueue(self, kinds: list[str], *, priority: int, delay: float, now: dt.datetime) -> None:
        params = [json.dumps([f"job-{self.queued + n}", kind, self.limit]) for n, kind in enumerate(kinds)]
        self.queued += len(kinds)
        database = Database(str(self.project.database), durability="full")
        try:
            jobs = [new_job(now, params=text, priority=priority, delay=delay) for text in params]
            intake.enqueue(database, jobs)
        finally:
            database.close()
        for text, kind in zip(params, kinds, strict=True):
            ((job_id,),) = self.project.sql("SELECT max(id) FROM custom_jobs WHERE params = ?", (text,))
            assert job_id not in self.jobs
            self.jobs[job_id] = Expected(kind)

    # What cron does.

    @rule()
    def tick(self) -> None:
        began = clock.to_text(clock.now())

        with self.good_jobs_that_suffer(at_most=0):
            done = self.project.tick()

        assert (done.stdout, done.stderr) == ("", "")
        assert self.project.sql("SELECT * FROM custom_jobs WHERE status = 'processing'") == []
        due = "SELECT * FROM custom_jobs WHERE status = 'pending' AND (available_at IS NULL OR available_at <= ?)"
        assert self.project.sql(due, (began,)) == []
        assert [move for move in self.new_moves() if move.is_release] == []

    @contextlib.contextmanager
    def good_jobs_that_suffer(self, *, at_most: int) -> Iterator[None]:
        """Let so many attempts of good jobs fail, beside those whose runner is dead already."""
        lost = self.with_status(PROCESSING)
        yield
        good = {job for job, expected in self.jobs.items() if expected.kind in (GOOD, SLOW)}
        suffered = [move for move in self.new_moves() if move.job in good.difference(lost) and move.is_failed_attempt]
        assert len(suffered) <= at_most

    @rule(
        kinds=KINDS,
        ticks=st.integers(1, 2),
        instant=INSTANTS,
        number=st.sampled_from([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM]),
        victims=st.sampled_from(["runner", "worker", "runner, worker", "worker, runner"]),
    )
    def tick_and_kill(self, kinds: list[str], ticks: int, instant: float, number: signal.Signals, victims: str) -> None:
        most = 0 if number == signal.SIGSTOP else self.limit * len(victims.split(", "))
        with self.good_jobs_that_suffer(at_most=most), self.ticks(kinds, ticks, instant) as (tick, workers):
            for victim in victims.split(", "):
                send(number, tick if victim == "runner" else workers)

    @rule(kinds=KINDS, ticks=st.integers(1, 2), instant=INSTANTS, stops=st.booleans(), endings=ENDINGS)
    def tick_and_delete(
        self, kinds: list[str], ticks: int, instant: float, *, stops: bool, endings: tuple[str, ...]
    ) -> None:
        # A runner that can't be seen to live is taken for dead, by any of the others.
        most = self.limit * (ticks + 1) if ".life" in endings else 0
        with self.good_jobs_that_suffer(at_most=most), self.ticks(kinds, ticks, instant) as (tick, workers):
            if stops:
                send(signal.SIGSTOP, tick)
                send(signal.SIGSTOP, workers)
            for ending in endings:
                Path(f"{self.project.database}{ending}").unlink(missing_ok=True)

    @contextlib.contextmanager
    def ticks(self, kinds: list[str], number: int, instant: float) -> Iterator[tuple[Processes, Processes]]:
        """Start ticks for these jobs; yield the first one and its workers for mischief; let all end, and one more."""
        self.enqueue(kinds, priority=0, delay=0, now=clock.now())
        started = [self.project.start_tick() for _ in range(number)]
        first = started[0]
        wait_for_work(self.project, first, instant)
        with contextlib.ExitStack() as files:
            alive = first.poll() is None  # until it is asked again, its number is its own
            runner = held(files, [first.pid] * alive)
            workers = held(files, children_of(first.pid) if alive else [])
            yield runner, workers
            started.append(self.project.start_tick())
            with contextlib.suppress(subprocess.TimeoutExpired):
                started[-1].wait(0.5)  # it may need what the first one, if that was stopped, holds
            send(signal.SIGCONT, runner)
            send(signal.SIGCONT, workers)
        for tick in started:
            told = tick.communicate(timeout=60)
            assert tick.returncode in ({0, -signal.SIGKILL, -signal.SIGTERM} if tick is first else {0}), told

    # What a person does.

    # Jobs are picked by any number, not drawn from those that there are: which these are may hang on an instant, and
    # Hypothesis wants the same choices each time.

    @rule(pick=PICKS)
    def cancel(self, pick: int) -> None:
        self.do_by_hand(sql.CANCEL, pick, PENDING, CANCELLED)

    @rule(pick=PICKS)
    def requeue(self, pick: int) -> None:
        self.do_by_hand(sql.REQUEUE, pick, FAILED, PENDING)

    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        for job in picked(self.jobs, pick):
            self.project.sql("DELETE FROM custom_jobs WHERE id = ?", (job,))
            del self.jobs[job]

    @rule(seconds=st.sampled_from([-86_400, -600, -1, 1, 600, 86_400]))
    def set_the_clock(self, seconds: float) -> None:
        """Set the clock forward by so many seconds, as all instants in the database see it."""
        for table, column in (("custom_jobs", "available_at"), ("runners", "started"), ("housekeeping", "swept_at")):
            rows = self.project.sql(f"SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608  # our own names
            for number, text in rows:
                moved = clock.to_text(clock.from_text(text) - dt.timedelta(seconds=seconds))
                self.project.sql(f"UPDATE {table} SET {column} = ? WHERE id = ?", (moved, number))  # noqa: S608  # as above

    def with_status(self, status: str) -> list[int]:
        return sorted(job for job, expected in self.jobs.items() if expected.status == status)

    def do_by_hand(self, statement: str, pick: int, before: str, after: str) -> None:
        for job in picked(self.with_status(before), pick):
            self.project.sql(statement, {"id": job, "seen": before, "now": clock.to_text(clock.now())})
            self.by_hand.append((job, before, after))

    # What must be true after each of these.

    @invariant()
    def no_job_is_lost_and_each_went_where_it_may(self) -> None:
        for move in self.new_moves():
            self.follow(move)
            self.moves_seen += 1
        assert self.by_hand == []
        rows = self.project.sql(
            "SELECT id, status, retry_count, crash_count, "
            "(SELECT count(*) FROM attempts WHERE job_id = custom_jobs.id AND outcome <> 'succeeded') FROM custom_jobs"
        )
        assert {row[0]: row[1:] for row in rows} == {job: expected[1:] for job, expected in self.jobs.items()}

    @invariant()
    def no_job_was_run_by_two_processes_at_once_and_never_more_than_may(self) -> None:
        lines = [line.split() for line in self.project.trace()]
        assert {line[0] for line in lines} <= {"start", "end"}
        running: dict[str, str] = {}
        for what, name, worker in lines:
            if what == "end":
                assert running.pop(name) == worker
            else:
                running[name] = worker

    def new_moves(self) -> list[Move]:
        rows = self.project.sql("SELECT * FROM moves ORDER BY rowid LIMIT -1 OFFSET ?", (self.moves_seen,))
        return [Move(*row) for row in rows]

    def follow(self, move: Move) -> None:
        """Let what we expect of a job go along, if it went the way that it may."""
        expected = self.jobs[move.job]
        counts = expected.retries, expected.crashes
        assert (move.before, (move.retries_before, move.crashes_before)) == (expected.status, counts)
        by_hand = move.job, move.before, move.after
        if by_hand in self.by_hand:
            self.by_hand.remove(by_hand)
        else:
            assert any(
                move.before in sources and move.after == target
                for verb, (sources, target) in TRANSITIONS.items()
                if verb not in BY_HAND
            )
            self.check_counts(expected, move)
        self.jobs[move.job] = expected._replace(
            status=move.after,
            retries=move.retries,
            crashes=move.crashes,
            attempts=expected.attempts + move.is_failed_attempt,
        )

    def check_counts(self, expected: Expected, move: Move) -> None:
        assert move.retries <= self.max_retries
        assert move.crashes <= self.max_crashes
        crashed = {0, 1} if expected.kind == FAILING else {1}  # it may be killed before it fails by itself
        assert move.crashes - move.crashes_before in (crashed if move.is_failed_attempt else {0})
        assert move.retries - move.retries_before in ({1} if move.is_failed_attempt and move.after == PENDING else {0})
        if move.after == FAILED:
            assert move.retries == self.max_retries or move.crashes == self.max_crashes
        if move.after == COMPLETED:
            assert expected.kind in (GOOD, SLOW)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.end_well()
        finally:
            self.project.end_started()
            self.folder.cleanup()

    def end_well(self) -> None:
        """Let all delays be over: after one more tick every job has come to its end."""
        self.project.sql("UPDATE custom_jobs SET available_at = '2026-01-01 00:00:00.000000' WHERE status = 'pending'")
        self.tick()
        self.no_job_is_lost_and_each_went_where_it_may()
        self.no_job_was_run_by_two_processes_at_once_and_never_more_than_may()
        assert {expected.status for expected in self.jobs.values()} <= {COMPLETED, FAILED, CANCELLED}


def wait_for_work(project: Project, tick: subprocess.Popen[str], instant: float) -> None:
    """Wait for an instant out of INSTANTS, but no longer than the tick lives."""
    if str(instant).startswith("-"):
        known = project.trace()
        wait_until(lambda: project.trace() != known or tick.poll() is not None)
    with contextlib.suppress(subprocess.TimeoutExpired):
        tick.wait(abs(instant))


# Processes as file descriptors: numbers are used again.
Processes = list[int]


def held(files: contextlib.ExitStack, numbers: Iterable[int]) -> Processes:
    """Return the processes with these numbers, as far as they are there."""
    processes = []
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            processes.append(os.pidfd_open(number))
            files.callback(os.close, processes[-1])
    return processes


def children_of(number: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{number}/task/{number}/children").read_text().split()]
    except OSError:
        return []


def send(number: int, processes: Processes) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)


def picked(jobs: Iterable[int], pick: int) -> list[int]:
    """Return one of `jobs`, if there are any."""
    among = sorted(jobs)
    return [among[pick % len(among)]] if among else []


@pytest.mark.parametrize(
    ("examples", "steps"), [pytest.param(3, 10, id="some"), pytest.param(15, 12, id="many", marks=pytest.mark.slow)]
)
def test_whatever_is_done_in_whatever_order_the_promises_hold(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Queue,
        settings=settings(
            max_examples=int(os.environ.get("BGJOB_EXAMPLES", examples)),
            stateful_step_count=steps,
            deadline=None,
            database=None,
            # No shrinking: what depends on the instant of a kill does not come again.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
