"""kill -9 at any instant, thousands of times over: `python -m tests.torture --rounds 2000`.

In each round jobs are queued and ticks started; then the runner, a worker, both or a process that queues is killed in
the middle of what it does, and after that one healthy tick must settle all that was due. Half of the rounds are with
`linger: 75s` and ticks that overlap. Prints its figures and exits with 1 if any is bad. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bgjob import clock, run_background_job
from tests.conftest import Project
from tests.warm import TICK_SCRIPT, be_a_tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

WORKERS = 4
LIMIT = 20.0  # seconds for a healthy tick to settle what a round left
ROUNDS_A_PIECE = 100
MOST_QUEUED = 8  # by one process, or the queue would grow and grow

CONFIG = f"workers: {WORKERS}\nmax_retries: 1000\nmax_crashes: 1000\nretry_delay: 0\n"

# A job notes when it starts and ends, and holds a byte of its own of a locked file in between: the kernel itself tells
# when a job is run by two processes at once, and frees the byte of a process that was killed.
JOBS = """
import fcntl, hashlib, os, signal, subprocess, sys, time
from bgjob import run_background_job

def append(name, line):
    file = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, f"{line}\\n".encode())
    os.close(file)

def note(what, name):
    append("trace", f"{time.monotonic_ns()} {what} {name} {os.getpid()}")

def is_first(name):
    try:
        os.close(os.open(f"once-{name}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

class Alone:
    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.file = os.open("guards", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        own = int.from_bytes(hashlib.blake2b(self.name.encode(), digest_size=7).digest(), "big")
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, own)
        except BlockingIOError:
            note("twice", self.name)
        note("start", self.name)

    def __exit__(self, kind, *_):
        note("raised" if kind else "end", self.name)
        os.close(self.file)

class Job:
    def sleep(self, name, seconds):
        with Alone(name):
            time.sleep(seconds)

    def print_much(self, name):
        with Alone(name):
            print(name * 5000)

    def start_a_program(self, name):
        with Alone(name):
            subprocess.run(["sleep", "0.01"])

    def change_its_process(self, name):
        with Alone(name):
            os.environ[name] = "changed"

    def raise_once(self, name):
        with Alone(name):
            if is_first(name):
                raise RuntimeError(name)

    def crash_once(self, name):
        with Alone(name):
            if is_first(name):
                note("crash", name)
                os.kill(os.getpid(), signal.SIGKILL)

    def queue_another(self, name):
        with Alone(name):
            another = f"{name}+{time.monotonic_ns()}"
            run_background_job("app.jobs.Job", "sleep", [another, 0.001])
            append("acks", another)

class Fresh(Job):
    pass
"""
METHODS = "sleep, print_much, start_a_program, change_its_process, raise_once, crash_once, queue_another"
SECONDS = (0, 0, 0, 0, 0.001, 0.001, 0.005, 0.005, 0.02, 0.1)


class Figures:
    """What is counted; those in BAD must be nought."""

    BAD = (
        "lost",
        "completed without being run",
        "at once twice",
        "stuck after one tick",
        "run again without being counted",
        "counted without a kill",
        "completed twice",
        "ended badly",
    )

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self.told: list[str] = []

    def add(self, other: Figures) -> None:
        """Take the figures of another piece in."""
        self.counts += other.counts
        self.slowest = max(self.slowest, other.slowest)
        self.told += other.told

    def bad(self, what: str, told: object, *, times: int = 1) -> None:
        """Count something that must not be, and keep what there is to tell about it."""
        self.counts[what] += times
        self.told.append(f"{what}: {told}")

    @property
    def is_fine(self) -> bool:
        return not any(self.counts[what] for what in self.BAD)

    def __str__(self) -> str:
        """Return the figures, line by line."""
        counts = self.counts
        killed = ", ".join(f"{what[7:]} {counts[what]:,}" for what in sorted(counts) if what.startswith("killed "))
        lines = [
            f"rounds    {counts['rounds']:,}, of them {counts['rounds with linger']:,} with `linger: 75s`",
            f"jobs      {counts['jobs']:,} in {counts['ticks']:,} ticks",
            f"kill -9   {killed}",
            f"interrupted and run again {counts['run again']:,}; slowest to settle {self.slowest:.2f} s",
            *(f"{what}: {counts[what]:,}" for what in self.BAD),
        ]
        return "\n".join([*lines, *self.told[:20]])


class Piece(NamedTuple):
    """Some rounds over one project."""

    folder: Path
    seed: str
    rounds: int
    lingers: bool


class Tick:
    """A tick that was started and may be killed."""

    def __init__(self, project: Project, *, afresh: bool) -> None:
        """Start it: as a fork, which is quick, or as a Python process like cron's."""
        self.said = project.folder / "said"
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            if afresh:
                _be_afresh(project)
            be_a_tick(project.folder, self.said)

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def workers(self) -> list[int]:
        """Return the process numbers of its workers."""
        try:
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []

    def kill(self) -> bool:
        """Kill the runner; return whether it still ran."""
        if self.has_ended():
            return False
        os.kill(self.pid, signal.SIGKILL)  # ours, and not waited for yet: the number can't be another's
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        return self.code == -signal.SIGKILL

    def kill_worker(self, pid: int) -> bool:
        """Kill a worker of it; return whether it still was one."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            if pid not in self.workers():
                return False
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


def _be_afresh(project: Project) -> None:
    try:
        said = os.open(project.folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 2)
        os.chdir(project.folder)
        os.execve(sys.executable, [sys.executable, TICK_SCRIPT], project.environment())  # noqa: S606  # our own script
    finally:
        os._exit(70)


class Torture:
    """Round after round over one project."""

    def __init__(self, piece: Piece) -> None:
        self.figures = Figures()
        self._lingers = piece.lingers
        self._dice = random.Random(piece.seed)  # noqa: S311  # the same choices again for the same seed
        self._numbers = itertools.count(1)
        self._accepted: set[str] = set()
        self._ticks: list[Tick] = []
        self._crashes_counted = 0
        self._project = Project(piece.folder)
        self._trace = Trace(piece.folder / "trace", self.figures)
        linger = "linger: 75s\n" if piece.lingers else ""
        classes = "app.jobs.Job, app.jobs.Fresh: {fresh: true}"
        self._project.configure(CONFIG + linger, methods=METHODS, classes=classes)
        self._project.write_jobs(JOBS)
        os.environ["BGJOB_CONFIG"] = str(piece.folder / "config" / "jobs.yaml")
        (piece.folder / "acks").touch()
        self._queue_some(most=3)

    def run(self, rounds: int) -> Figures:
        """Run so many rounds, and look at the whole at the end."""
        try:
            for _ in range(rounds):
                self._round()
                if not self.figures.is_fine:
                    break  # what comes after would tell nothing new
            self._end()
        finally:
            for tick in self._ticks:
                tick.kill()
        self._take_stock()
        return self.figures

    def _round(self) -> None:
        self.figures.counts["rounds"] += 1
        self.figures.counts["rounds with linger"] += self._lingers
        may_crash = 0
        for _ in range(self._dice.choice((1, 1, 1, 2))):
            self._queue_some(most=6)
            for _ in range(self._dice.choice((1, 1, 1, 2))):
                self._start(afresh=self._dice.random() < 0.05)
            with self._queueing():
                self._await_an_instant()
                may_crash += self._kill_some()
        self._settle()
        self._check_round(may_crash)

    # Starting and killing.

    def _queue_some(self, *, most: int) -> None:
        for _ in range(self._dice.randint(1, most)):
            name = f"{next(self._numbers)}"
            self._queue(name)
            self._accepted.add(name)

    def _queue(self, name: str) -> None:
        job_class = "app.jobs.Fresh" if self._dice.random() < 0.1 else "app.jobs.Job"
        method = self._dice.choice(["sleep"] * 8 + METHODS.split(", "))
        params = [name, self._dice.choice(SECONDS)] if method == "sleep" else [name]
        delay = self._dice.choice((0, 0, 0, 0.02))
        assert run_background_job(job_class, method, params, self._dice.randint(0, 3), delay)

    def _start(self, *, afresh: bool = False) -> Tick:
        tick = Tick(self._project, afresh=afresh)
        self._ticks.append(tick)
        self.figures.counts["ticks"] += 1
        return tick

    @contextlib.contextmanager
    def _queueing(self) -> Iterator[None]:
        """Now and then: have a process queue job after job, and kill it at the end of the block."""
        if self._dice.random() < 0.6:
            yield
            return
        first = next(self._numbers)
        pid = os.fork()
        if pid == 0:
            self._queue_on_and_on(first)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            if f"{first}-{MOST_QUEUED - 1}" not in self._acks():
                self.figures.counts["killed a process that queues"] += 1

    def _queue_on_and_on(self, first: int) -> None:
        try:
            acks = os.open(self._project.folder / "acks", os.O_WRONLY | os.O_APPEND)
            for number in range(MOST_QUEUED):
                name = f"{first}-{number}"
                self._queue(name)
                os.write(acks, f"{name}\n".encode())
            signal.pause()
        finally:
            os._exit(70)

    def _acks(self) -> list[str]:
        return (self._project.folder / "acks").read_text().split()

    def _await_an_instant(self) -> None:
        """Wait for an event of a tick's life and then for up to as long as its next steps take."""
        match self._dice.choice(("at once", "a worker", "jobs")):
            case "at once":
                longest = 0.04
            case "a worker":
                longest = 0.02
                self._wait_while_ticks_run(lambda: any(tick.workers() for tick in self._ticks))
            case _:
                longest = 0.004
                self._wait_while_ticks_run(self._trace.grows_by(self._dice.randint(1, 12)))
        time.sleep(self._dice.random() * longest)

    def _wait_while_ticks_run(self, event: Callable[[], bool]) -> None:
        self._wait_for(lambda: event() or all(tick.has_ended() for tick in self._ticks), limit=1.0)

    @staticmethod
    def _wait_for(event: Callable[[], bool], *, limit: float) -> bool:
        deadline = time.monotonic() + limit
        while not event():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        return True

    def _kill_some(self) -> int:
        """Kill a runner, workers or both; return how many jobs may have been interrupted."""
        what = self._dice.choice(("runner", "worker", "runner and workers", "nothing"))
        victims = [tick for tick in self._ticks if self._dice.random() < 0.7] or self._ticks
        workers = [(tick, pid) for tick in victims for pid in tick.workers()]
        interrupted = 0
        if what == "worker":
            workers = workers[: self._dice.randint(1, WORKERS)]
        if "runner" in what:
            killed = sum(tick.kill() for tick in victims)
            self.figures.counts[f"killed {what}"] += killed
            interrupted += WORKERS * killed
        if "worker" in what:
            killed = sum(tick.kill_worker(pid) for tick, pid in workers)
            self.figures.counts["killed worker"] += killed if what == "worker" else 0
            interrupted += killed
        self._ticks = [tick for tick in self._ticks if tick.code != -signal.SIGKILL]
        return interrupted

    # Settling and looking.

    def _settle(self) -> None:
        """Let what still runs end, then one healthy tick: all that was due must be settled by it."""
        if not self._lingers:
            self._wait_for(lambda: all(tick.has_ended() for tick in self._ticks), limit=LIMIT)
        since = time.monotonic()
        started = dt.datetime.now(dt.UTC)
        tick = self._start()
        stuck: list[tuple[object, ...]] = []

        def is_settled() -> bool:
            # Looked at once: what falls due after this look is claimed as it should be.
            stuck[:] = self._unsettled(dt.datetime.now(dt.UTC))
            return not stuck

        if self._lingers:
            self._wait_for(is_settled, limit=LIMIT)
        else:
            self._wait_for(tick.has_ended, limit=LIMIT)
            stuck[:] = self._unsettled(started)
        self.figures.slowest = max(self.figures.slowest, time.monotonic() - since)
        if stuck:
            self.figures.bad("stuck after one tick", stuck, times=len(stuck))
        self._ticks = [tick for tick in self._ticks if not self._has_left(tick)]

    def _has_left(self, tick: Tick) -> bool:
        if tick.has_ended() and tick.code != 0:
            self.figures.bad("ended badly", f"a tick ended with exit code {tick.code}")
        return tick.has_ended()

    def _unsettled(self, instant: dt.datetime) -> list[tuple[object, ...]]:
        """Return the jobs that are processing or were due at `instant`."""
        return self._rows(
            "SELECT id, status, available_at, runner, worker, params FROM custom_jobs WHERE status = 'processing' "
            "OR (status = 'pending' AND (available_at IS NULL OR available_at <= ?))",
            (clock.to_text(instant),),
        )

    def _rows(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self._project.database, timeout=30)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def _check_round(self, may_crash: int) -> None:
        """At most the jobs that were being run at a kill have crashed, and those that crash by themselves."""
        may_crash += self._trace.read()
        ((counted,),) = self._rows("SELECT cast(total(crash_count) AS INTEGER) FROM custom_jobs")
        assert isinstance(counted, int)
        if counted - self._crashes_counted > may_crash:
            more = f"{counted - self._crashes_counted} crashes, at most {may_crash} jobs were interrupted"
            self.figures.bad("counted without a kill", more)
        self._crashes_counted = counted

    def _end(self) -> None:
        """Let a last tick take what was delayed, and end those that linger."""
        self._wait_for(lambda: not self._rows("SELECT id FROM custom_jobs WHERE available_at > ?", (_now(),)), limit=1)
        self._settle()
        self._check_round(0)
        for tick in self._ticks:
            os.kill(tick.pid, signal.SIGTERM)
        self._wait_for(lambda: all(tick.has_ended() for tick in self._ticks), limit=LIMIT)
        self._ticks = [tick for tick in self._ticks if tick.code != -signal.SIGTERM and not self._has_left(tick)]
        for tick in self._ticks:
            self.figures.bad("ended badly", f"process {tick.pid} did not end after SIGTERM")

    def _take_stock(self) -> None:
        """Compare what was accepted, what was run and what is in the table and the log."""
        figures, folder = self.figures, self._project.folder
        self._accepted.update(self._acks())
        rows = self._rows("SELECT params, status, retry_count FROM custom_jobs")
        completed = {}
        for params, status, retries in rows:
            name = json.loads(str(params))[0]
            figures.counts["jobs"] += 1
            if status == "completed":
                completed[name] = int(str(retries))
        lost = self._accepted - (completed.keys() & self._trace.ended)
        if lost:
            figures.bad("lost", sorted(lost), times=len(lost))
        if made_up := completed.keys() - self._trace.ended:
            figures.bad("completed without being run", sorted(made_up), times=len(made_up))
        for name, retries in completed.items():
            runs = self._trace.runs[name]
            figures.counts["run again"] += runs - 1 - self._trace.own_fault[name]
            if runs > retries + 1:
                figures.bad("run again without being counted", f"{name} {runs} times, {retries} retries")
        log = (folder / "storage" / "logs" / "background_jobs.log").read_text().splitlines()
        told = Counter(line.split()[4] for line in log if line.split()[3] == "complete")
        if twice := [job for job, times in told.items() if times > 1]:
            figures.bad("completed twice", twice, times=len(twice))
        if self._rows("PRAGMA integrity_check") != [("ok",)]:
            figures.bad("ended badly", "the database is damaged")
        if said := (folder / "said").read_text():
            figures.bad("ended badly", f"ticks said {said[:2000]}")


class Trace:
    """What the jobs noted down: who ran when."""

    def __init__(self, path: Path, figures: Figures) -> None:
        self._path = path
        self._path.touch()
        self._figures = figures
        self._read = 0
        self._running: dict[str, str] = {}
        self.ended: set[str] = set()
        self.runs: Counter[str] = Counter()
        self.own_fault: Counter[str] = Counter()

    def grows_by(self, lines: int) -> Callable[[], bool]:
        """Return a function that tells whether there are so many more lines than now."""
        upto = self._size() + 35 * lines
        return lambda: self._size() >= upto

    def _size(self) -> int:
        return self._path.stat().st_size

    def read(self) -> int:
        """Take in what is new, which is all over; return how many jobs have killed their own worker."""
        with self._path.open() as file:
            file.seek(self._read)
            text = file.read()
            self._read = file.tell()
        entries = sorted((int(at), what, name, pid) for at, what, name, pid in map(str.split, text.splitlines()))
        last = {pid: at for at, _, _, pid in entries}
        for at, what, name, pid in entries:
            self._take(what, name, pid, last_of=lambda other, at=at: last.get(other, 0) > at)  # type: ignore[misc]
        return sum(what == "crash" for _, what, _, _ in entries)

    def _take(self, what: str, name: str, pid: str, *, last_of: Callable[[str], bool]) -> None:
        match what:
            case "start":
                other = self._running.get(name, pid)
                if other != pid and last_of(other):  # it was alive later on
                    self._figures.bad("at once twice", f"{name} by {other} and {pid}")
                self._running[name] = pid
                self.runs[name] += 1
            case "crash":
                self.own_fault[name] += 1
            case "raised":
                self.own_fault[name] += 1
                self._running.pop(name, None)
            case "end":
                self._running.pop(name, None)
                self.ended.add(name)
            case "twice":
                self._figures.bad("at once twice", f"{name} by {pid} and another one")


def _now() -> str:
    return clock.to_text(dt.datetime.now(dt.UTC))


def torture(piece: Piece) -> Figures:
    """Run one piece in this process."""
    return Torture(piece).run(piece.rounds)


def _pieces(folder: Path, seed: int, rounds: int) -> Iterable[Piece]:
    """Cut the rounds into pieces, half of them with lingering ticks."""
    for lingers, number in ((False, rounds // 2), (True, rounds - rounds // 2)):
        for begun in range(0, number, ROUNDS_A_PIECE):
            name = f"{'lingering' if lingers else 'plain'}-{begun}"
            yield Piece(folder / name, f"{seed} {name}", min(ROUNDS_A_PIECE, number - begun), lingers)


def main() -> int:
    """Torture, print the figures, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the choices")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="so many pieces at once")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bgjob-torture-"))
    figures, since = Figures(), time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for some in pool.imap_unordered(torture, _pieces(folder, options.seed, options.rounds)):
            figures.add(some)
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{figures.counts['rounds']} rounds\r")
    if figures.is_fine:
        shutil.rmtree(folder)
        end = ""
    else:
        end = f"BAD; the projects are kept in {folder}\n"
    sys.stdout.write(f"{figures}\nin {time.monotonic() - since:.0f} s with --seed {options.seed}\n{end}")
    return 0 if figures.is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
