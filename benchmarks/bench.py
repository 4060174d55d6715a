"""One whole run of the benchmarks: sizes, systems that take part, and what came out."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.figures import REFERENCE, Results, Value
from benchmarks.place import Failed
from benchmarks.registry import COLUMNS, SYSTEMS, is_installed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Sizes(NamedTuple):
    """How much is measured."""

    runs: int
    starts: int
    """Runs of what takes milliseconds: starts of processes."""
    queued: int
    drained: int
    computed: int
    rows: int
    waits: int
    pause: float
    """Seconds between two jobs whose pick-up is measured."""


WHOLE = Sizes(runs=5, starts=15, queued=4_000, drained=10_000, computed=1_000, rows=1_000_000, waits=200, pause=0.1)
QUICK = Sizes(runs=1, starts=1, queued=40, drained=80, computed=20, rows=2_000, waits=3, pause=0.1)


class Bench:
    """What all workloads need."""

    def __init__(self, sizes: Sizes, *, systems: Sequence[str], scratch: Path) -> None:
        """Measure only the `systems` named (columns of the table), in folders below `scratch`."""
        self.sizes = sizes
        self.scratch = scratch
        self.results = Results()
        self._began = time.monotonic()
        self._wanted = {*systems, "bare"}
        self._out: set[str] = set()

    def missing(self) -> list[str]:
        """Return the systems that were wanted and are not installed."""
        return [name for name in COLUMNS if name in self._wanted and not is_installed(name)]

    def note(self, figure: str, system: str, run: int, value: float) -> None:
        """Keep one value."""
        name = system.partition(":")[0]
        self.results.values.append(Value(figure, name if name in COLUMNS else REFERENCE, run, value))

    def interleave(self, names: Sequence[str], measure: Callable[[str, int], None], *, runs: int = 0) -> None:
        """Measure the systems in turn, run by run, so that a slow moment of the machine hits all alike."""
        for run in range(runs or self.sizes.runs):
            for name in self.taking_part(names):
                self.attempt(name, measure, run)

    def attempt(self, name: str, measure: Callable[[str, int], None], run: int) -> None:
        """Measure once; a system that fails is left out of the rest of this workload, and that is told."""
        try:
            measure(name, run)
        except Failed as failure:
            self._out.add(name)
            say(f"  {name} is left out: {failure}")

    def taking_part(self, names: Sequence[str]) -> list[str]:
        """Return those of the systems that are wanted, installed, and did not fail in this workload."""
        return [
            name
            for name in names
            if name not in self._out
            and (name not in SYSTEMS or (name.partition(":")[0] in self._wanted and is_installed(name)))
        ]

    def workload(self, title: str) -> None:
        """Begin a workload."""
        self._out.clear()
        say(f"{time.monotonic() - self._began:4.0f} s  {title}")

    def share(self, name: str, count: int) -> int:
        """Return how many of `count` jobs a system gets: slow ones fewer."""
        return max(count // SYSTEMS[name].share, min(count, LEAST))


LEAST = 200


def say(line: str) -> None:
    """Tell the person who waits."""
    print(line, file=sys.stderr, flush=True)
