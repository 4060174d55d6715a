"""Measure how quick and how cheap the running side is, and print the figures as a Markdown table.

No test: run it by hand on a quiet machine, `.venv/bin/python -m tests.figures --help` tells the options. Bytecode files
are used as on a server, so PYTHONDONTWRITEBYTECODE is not passed on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bgjob import run_background_job, run_background_jobs
from tests.conftest import Project, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

JOBS = """
import ctypes, os, time

def trace(text):
    file = os.open("trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, text.encode())
    os.close(file)

class Job:
    def execute(self, number):
        trace(f"{number} {time.monotonic()}\\n")

    def nothing(self, number):
        pass

    def crash(self, number):
        trace(f"{number} {time.monotonic()} {time.time()}\\n")
        ctypes.string_at(0)
"""

MINUTE = 60
LONGEST = 86_400


class Figures:
    """The rows of the table."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, bool | None]] = []

    def add(self, what: str, measured: str, wanted: str = "", *, fine: bool | None = None) -> None:
        self._rows.append((what, measured, wanted, fine))
        sys.stderr.write(f"{what}: {measured}\n")

    def table(self) -> str:
        marks = {True: "yes", False: "**no**", None: ""}
        lines = ["| figure | measured | wanted | reached |", "|---|---|---|---|"]
        return "\n".join([*lines, *(f"| {a} | {b} | {c} | {marks[d]} |" for a, b, c, d in self._rows)])


class Bench(Project):
    """A project whose ticks are started as cron starts them."""

    def environment(self, **more: str) -> dict[str, str]:
        unwanted = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
        return {name: value for name, value in super().environment(**more).items() if name not in unwanted}

    def cron(self, *arguments: str) -> subprocess.Popen[str]:
        return self.start_tick(*arguments)

    def ran(self) -> dict[int, float]:
        """Return when each traced job began, on the monotonic clock."""
        return {int(line.split()[0]): float(line.split()[1]) for line in self.trace()}

    def has_run(self, number: int) -> bool:
        return number in self.ran()


@contextlib.contextmanager
def bench(config: str = "", methods: str = "execute, nothing, crash") -> Iterator[Bench]:
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="bgjob-figures-") as folder:
        made = Bench(Path(folder) / "project")
        made.configure(config, methods=methods)
        made.write_jobs(JOBS)
        os.chdir(made.folder)
        try:
            yield made
        finally:
            made.end_started()
            os.chdir(here)
            from bgjob import enqueue

            enqueue._intake._close()


def milliseconds(values: list[float]) -> str:
    ordered = sorted(values)
    return (
        f"p50 {statistics.median(ordered) * 1e3:.2f} ms, p99 {percentile(ordered, 0.99) * 1e3:.2f} ms, "
        f"worst {ordered[-1] * 1e3:.2f} ms"
    )


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


def workers_of(tick: subprocess.Popen[str]) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{tick.pid}/task/{tick.pid}/children").read_text(encoding="ascii").split()))
    except OSError:
        return []


def seconds_on_cpu(tick: subprocess.Popen[str]) -> float:
    """Return the processor time of a tick, of its workers that live, and of those that it has reaped."""
    total = 0.0
    for pid in (tick.pid, *workers_of(tick)):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{tick.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total


def seconds_of_the_ended() -> float:
    times = os.times()
    return times.children_user + times.children_system


def memory_of(pid: int, *kinds: str) -> int:
    """Return the kibibytes of a process that are of these `kinds`, as /proc/PID/smaps_rollup has them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.split(":")[0] in kinds)


def lingering(project: Bench, *arguments: str) -> subprocess.Popen[str]:
    """Start a tick that lingers, and return when it has run its first job."""
    tick = project.cron(*arguments)
    run_background_job("app.jobs.Job", "execute", [-1])
    wait_until(lambda: -1 in project.ran())
    return tick


def pick_up(figures: Figures, jobs: int) -> None:
    with bench("linger: 75s") as project:
        tick = lingering(project)
        called, accepted = {}, {}
        for number in range(jobs):
            called[number] = time.monotonic()
            run_background_job("app.jobs.Job", "execute", [number])
            accepted[number] = time.monotonic()
            time.sleep(random.uniform(0.004, 0.02))  # noqa: S311  # no secret
        wait_until(lambda: len(project.trace()) > jobs)
        ran = project.ran()
        waited = [ran[number] - accepted[number] for number in called]
        whole = [ran[number] - called[number] for number in called]
        fine = statistics.median(waited) <= 0.002 and percentile(waited, 0.99) <= 0.010
        what = f"pick-up while lingering, {jobs} spaced jobs"
        figures.add(
            f"{what}, from True to the job's first line", milliseconds(waited), "p50 ≤ 2, p99 ≤ 10 ms", fine=fine
        )
        figures.add(f"{what}, from the call (its sync included)", milliseconds(whole))
        private = sum(memory_of(pid, "Private_Clean", "Private_Dirty") for pid in workers_of(tick))
        rss = memory_of(tick.pid, "Rss")
        total = (rss + private) / 1024
        figures.add(
            "memory while lingering: runner RSS + worker private",
            f"{rss / 1024:.1f} + {private / 1024:.1f} = {total:.1f} MiB",
            "≤ 32 MiB",
            fine=total <= 32,
        )


def idle(figures: Figures, seconds: float) -> None:
    with bench("linger: 10m") as project:
        tick = lingering(project)
        time.sleep(1)
        began, used = time.monotonic(), seconds_on_cpu(tick)
        time.sleep(seconds)
        share = (seconds_on_cpu(tick) - used) / (time.monotonic() - began)
        figures.add(
            f"processor while lingering idle, {seconds:g} s, between ticks",
            f"{share:.3%} of a core",
            "≤ 0.2 %",
            fine=share <= 0.002,
        )
        tick.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        tick.wait()
        figures.add("SIGTERM to the end of an idle runner", f"{(time.monotonic() - sent) * 1e3:.0f} ms", "≤ 1 s")


def minutes(figures: Figures, count: int) -> None:
    """Start a tick at each full minute, as cron does, with jobs all the time and densely around the hand-over."""
    with bench("linger: 75s") as project:
        ticks = [lingering(project)]
        called: dict[int, float] = {}
        for _ in range(count):
            full = time.time() // MINUTE * MINUTE + MINUTE
            started = False
            while time.time() < full + 3:
                if not started and time.time() >= full:
                    ticks.append(project.cron())
                    started = True
                called[len(called)] = time.monotonic()
                run_background_job("app.jobs.Job", "execute", [len(called) - 1])
                mean = 0.004 if abs(time.time() - full) < 2 else 0.15
                pause = random.expovariate(1 / mean)
                time.sleep(pause if started else min(pause, max(full - time.time(), 0.0)))
        wait_until(lambda: len(project.trace()) > len(called))
        ran = project.ran()
        waited = [ran[number] - called[number] for number in called]
        figures.add(
            f"over {count} full minutes of real ticks, {len(called)} jobs, from the call to the first line",
            milliseconds(waited),
            "worst ≤ 150 ms",
            fine=max(waited) <= 0.150,
        )
        wait_until(lambda: [tick.poll() for tick in ticks[:-1]] == [0] * (len(ticks) - 1))
        worst = max(called, key=lambda number: ran[number] - called[number])
        figures.add("jobs run twice or not at all", str(len(project.trace()) - 1 - len(set(ran) - {-1})))
        sys.stderr.write(
            f"the worst was queued at second {(time.time() - time.monotonic() + called[worst]) % MINUTE:.2f}\n"
        )


def idle_minutes(figures: Figures, count: int) -> None:
    """Start a tick at each full minute with nothing to do."""
    with bench("linger: 75s") as project:
        ticks = [lingering(project)]
        time.sleep((MINUTE / 2 - time.time()) % MINUTE)
        began, used = time.monotonic(), seconds_of_the_ended() + sum(map(seconds_on_cpu, ticks))
        for _ in range(count):
            time.sleep(MINUTE - time.time() % MINUTE)
            ticks.append(project.cron())
            time.sleep(MINUTE / 2)
            for tick in ticks:
                tick.poll()
        living = [tick for tick in ticks if tick.returncode is None]
        share = (seconds_of_the_ended() + sum(map(seconds_on_cpu, living)) - used) / (time.monotonic() - began)
        figures.add(
            f"processor while lingering idle over {count} full minutes, hand-overs included",
            f"{share:.3%} of a core",
            "≤ 0.4 %",
            fine=share <= 0.004,
        )


def crashes(figures: Figures, count: int) -> None:
    with bench("linger: 75s\nmax_crashes: 1") as project:
        lingering(project)
        for number in range(count):
            run_background_jobs(
                [("app.jobs.Job", "crash", [2 * number]), ("app.jobs.Job", "execute", [2 * number + 1])]
            )
            wait_until(partial(project.has_run, 2 * number + 1))
        wait_until(lambda: not project.sql("SELECT 1 FROM custom_jobs WHERE status IN ('pending', 'processing')"))
        ran = project.ran()
        crashed = {int(line.split()[0]): float(line.split()[2]) for line in project.trace() if len(line.split()) == 3}
        rows = project.sql(
            "SELECT json_extract(params, '$[0]'), (julianday(finished_at) - 2440587.5) * 86400 FROM custom_jobs"
            " WHERE method = 'crash'"
        )
        settled = [finished - crashed[number] for number, finished in rows]
        followed = [ran[2 * number + 1] - ran[2 * number] for number in range(count)]
        figures.add(
            f"{count} segfaults: crash to settled", milliseconds(settled), "≤ 50 ms", fine=max(settled) <= 0.050
        )
        figures.add(
            f"{count} segfaults: crash to the next job's first line",
            milliseconds(followed),
            "≤ 50 ms",
            fine=max(followed) <= 0.050,
        )


def many(figures: Figures, count: int) -> None:
    with bench("max_crashes: 1") as project:
        run_background_jobs(
            ("app.jobs.Job", "nothing" if number % 50 else "crash", [number]) for number in range(count)
        )
        began = time.monotonic()
        project.tick("--workers", "1", timeout=LONGEST)
        seconds = time.monotonic() - began
        done = dict(project.sql("SELECT status, count(*) FROM custom_jobs GROUP BY 1"))
        figures.add(
            f"{count} jobs of which each 50th segfaults, one tick, one worker",
            f"{seconds:.1f} s, {count / seconds:.0f} jobs/s; {done}",
            "all others completed",
            fine=done.get("completed") == count - len(range(0, count, 50)),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default, what in (
        ("jobs", 1000, "spaced jobs for the pick-up latency"),
        ("idle", 30, "seconds of idle lingering"),
        ("crashes", 50, "crashes to be timed"),
        ("many", 10_000, "jobs of which each 50th segfaults"),
        ("minutes", 0, "full minutes of real ticks under load"),
        ("idle-minutes", 0, "full minutes of real ticks with nothing to do"),
    ):
        parser.add_argument(f"--{option}", type=int, default=default, metavar="N", help=f"{what} ({default}; 0: none)")
    wanted = parser.parse_args()
    os.environ.pop("BGJOB_CONFIG", None)
    figures = Figures()
    for measure, size in (
        (pick_up, wanted.jobs),
        (idle, wanted.idle),
        (crashes, wanted.crashes),
        (many, wanted.many),
        (minutes, wanted.minutes),
        (idle_minutes, wanted.idle_minutes),
    ):
        if size:
            measure(figures, size)
    sys.stdout.write(figures.table() + "\n")


if __name__ == "__main__":
    main()
