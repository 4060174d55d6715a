"""The figures: what each is called, what it is compared with, and how runs become a median."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

REFERENCE = "reference"


class Figure(NamedTuple):
    """One row of the table."""

    key: str
    text: str
    """With the place of sizes: {jobs}, {rows}."""
    reference: str
    """What bgjob is divided by, measured in the same run; nothing where that would tell nothing."""


class Value(NamedTuple):
    """What one run of one system gave."""

    figure: str
    column: str
    run: int
    value: float


PYTHON = "`python -c pass`"
BARE = "bare SQLite"
EMPTY = "bgjob, empty table"

FIGURES = (
    Figure("tick wall", "idle tick, whole process: ms", PYTHON),
    Figure("tick cpu", "idle tick, whole process: CPU ms", PYTHON),
    Figure("tick memory", "idle tick: peak MiB", PYTHON),
    Figure("cold wall", "a fresh process queues one job: ms", PYTHON),
    Figure("cold cpu", "a fresh process queues one job: CPU ms", PYTHON),
    Figure("first job", "start of the runner to start of the first job: ms", PYTHON),
    Figure("queue", "queueing, each job survives a power cut: jobs/s", BARE),
    Figure("queue normal", "queueing, each job survives a kill: jobs/s", BARE),
    Figure("queue many", "queueing in one call, {jobs} jobs: jobs/s", BARE),
    Figure("four", "queueing from 4 processes, together: jobs/s", BARE),
    Figure("four share", "queueing from 4 processes, × the rate of 1", ""),
    Figure("four worst", "queueing from 4 processes, worst call: ms", BARE),
    Figure("four errors", "queueing from 4 processes: errors", ""),
    Figure("drain 1", "draining jobs that do nothing, 1 worker: jobs/s", BARE),
    Figure("drain 1 unsynced", "the same with Huey told never to sync: jobs/s", ""),
    Figure("drain 2", "draining jobs that do nothing, 2 workers: jobs/s", BARE),
    Figure("compute 1", "draining jobs of 1 ms CPU, 1 worker: jobs/s", BARE),
    Figure("compute 2", "draining jobs of 1 ms CPU, 2 workers: jobs/s", BARE),
    Figure("memory", "draining, 1 worker: MiB of the largest process", BARE),
    Figure("rows finished", "draining beside {rows} finished rows: jobs/s", EMPTY),
    Figure("rows delayed", "draining beside {rows} delayed at higher priority: jobs/s", EMPTY),
    Figure("rows distinct", "draining beside {rows} delayed, no priority twice: jobs/s", EMPTY),
    Figure("rows due", "draining beside {rows} due at lower priority: jobs/s", EMPTY),
    Figure("rows gap", "draining beside these, p99 from one start to the next: ms", EMPTY),
    Figure("rows memory", "draining beside these: MiB of the largest process", EMPTY),
    Figure("due first", "{rows} fall due at once: ms from tick to first job", ""),
    Figure("due hold", "{rows} fall due at once: longest wait of another writer, ms", ""),
    Figure("due disorder", "{rows} fall due at once: jobs run out of order", ""),
    Figure("pick-up p50", "pick-up by a process that stays, p50: ms", ""),
    Figure("pick-up p99", "pick-up by a process that stays, p99: ms", ""),
)


class Summary(NamedTuple):
    """The runs of one system at one figure."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        """Show the median and, where runs differ, the spread."""
        median, least, most = shown(self.median), shown(self.least), shown(self.most)
        return median if least == most else f"{median} ({least}–{most})"


class Results:
    """All values of all runs."""

    def __init__(self, values: Iterable[Value] = ()) -> None:
        """Begin with `values`."""
        self.values = list(values)

    def of(self, figure: str, column: str) -> dict[int, float]:
        """Return the value of each run."""
        return {value.run: value.value for value in self.values if (value.figure, value.column) == (figure, column)}

    def summary(self, figure: str, column: str) -> Summary | None:
        """Return median and spread, or None where nothing was measured."""
        return summary(self.of(figure, column).values())

    def ratio(self, figure: str, column: str = "bgjob") -> Summary | None:
        """Return what the system is of the reference, divided run by run."""
        reference = self.of(figure, REFERENCE)
        measured = self.of(figure, column)
        return summary(measured[run] / reference[run] for run in measured if reference.get(run))


def summary(values: Iterable[float]) -> Summary | None:
    """Return median, least and most; None where there is none."""
    known = sorted(values)
    return Summary(statistics.median(known), known[0], known[-1]) if known else None


def percentile(values: Iterable[float], part: float) -> float:
    """Return the value below which so large a `part` of them lies."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def shown(value: float) -> str:
    """Return a number as a person reads it: three digits that matter."""
    if value == int(value) and abs(value) < LARGE:
        return str(int(value))
    if abs(value) >= LARGE:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.1f}" if abs(value) >= SMALL else f"{value:.2f}"


LARGE, SMALL = 100, 10
