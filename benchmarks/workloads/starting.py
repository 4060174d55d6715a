"""What a start costs: an idle tick, a process that queues one job, the way to the first job."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from benchmarks.place import Place, place
from benchmarks.registry import COLUMNS

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.place import Took

PYTHON = "python"


class Starts:
    """The programs of one system, in two folders: in one nothing is ever due, in the other jobs are queued."""

    def __init__(self, idle: Place, busy: Place) -> None:
        """Run one job in each, so that all files are there."""
        self._idle, self._busy = idle, busy
        self._tick = idle.command("tick")
        self._cold = busy.command("cold")
        [self._drain] = busy.command("drain", 1)
        for made in (idle, busy):
            self.first_job(made)

    def tick(self) -> Took | None:
        """Run a tick with nothing due; a system that is a daemon has none."""
        return self._idle.launch(self._tick).end() if self._tick else None

    def cold(self) -> Took:
        """Queue one job in a fresh process."""
        return self._busy.launch(self._cold).end()

    def first_job(self, made: Place | None = None) -> float:
        """Return the seconds from the start of the runner to the start of a job."""
        made = made or self._busy
        made.forget("marks")
        made.operate("load", "mark", 0)
        runner = made.launch(self._drain)
        [first, *_] = made.wait_for("marks", 1, runner)
        runner.stop()
        runner.end(stopped=True)
        return first - runner.start


def measure(bench: Bench) -> None:
    """Measure all three beside `python -c pass`, in folders that last for all runs."""
    bench.workload("start: an idle tick, a process that queues one job, the first job")
    with contextlib.ExitStack() as stack:
        bare = stack.enter_context(place("bare", bench.scratch))
        starts: dict[str, Starts] = {}

        def prepare(name: str, _: int) -> None:
            folders = [stack.enter_context(place(name, bench.scratch)) for _ in range(2)]
            starts[name] = Starts(*folders)

        def start(name: str, run: int) -> None:
            if name == PYTHON:
                _note(bench, ("tick", "cold"), name, run, bare.launch([sys.executable, "-c", "pass"]).end())
            else:
                _note(bench, ("tick",), name, run, starts[name].tick())
                _note(bench, ("cold",), name, run, starts[name].cold())

        def first_job(name: str, run: int) -> None:
            if name == PYTHON:
                took = bare.launch([sys.executable, "-c", "pass"]).end()
                bench.note("first job", name, run, took.wall * 1e3)
            else:
                bench.note("first job", name, run, starts[name].first_job() * 1e3)

        bench.interleave(COLUMNS, prepare, runs=1)
        bench.interleave([PYTHON, *starts], start, runs=bench.sizes.starts)
        bench.interleave([PYTHON, *starts], first_job)


def _note(bench: Bench, figures: tuple[str, ...], name: str, run: int, took: Took | None) -> None:
    if took is None:
        return
    for figure in figures:
        bench.note(f"{figure} wall", name, run, took.wall * 1e3)
        bench.note(f"{figure} cpu", name, run, took.cpu * 1e3)
        if figure == "tick":
            bench.note("tick memory", name, run, took.memory)
