"""Picking up: how long a job waits for a process that stays, be it a runner that lingers or a daemon."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.figures import percentile
from benchmarks.place import finish, place

if TYPE_CHECKING:
    from benchmarks.bench import Bench

SYSTEMS = ("bgjob", "Huey", "tinyjobs")
RUNS = 2  # each lasts as long as its jobs are far apart


def measure(bench: Bench) -> None:
    """Measure from the call that queues to the job's first line."""
    bench.workload("linger: from the call to the start of the job")
    count, pause = bench.sizes.waits, bench.sizes.pause

    def pick_up(name: str, run: int) -> None:
        with place(name, bench.scratch) as made:
            made.operate("load", "nothing", 0)
            daemon = made.launch(made.command("daemon"))
            made.wait_for("marks", 2, daemon)
            finish(made.begin("send", count, pause))
            waits = made.wait_for("waits", count, daemon)
        bench.note("pick-up p50", name, run, statistics.median(waits) * 1e3)
        bench.note("pick-up p99", name, run, percentile(waits, 0.99) * 1e3)

    bench.interleave(SYSTEMS, pick_up, runs=min(RUNS, bench.sizes.runs))
