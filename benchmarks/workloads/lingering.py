"""Picking up: how long a job waits for a process that stays, be it a runner that lingers or a daemon."""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING

from benchmarks.figures import percentile
from benchmarks.place import Place, finish, place

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.place import Running

SYSTEMS = ("bgjob", "Huey", "tinyjobs")


def measure(bench: Bench) -> None:
    """Measure from the call that queues to the job's first line; all side by side, for they are idle nearly always."""
    bench.workload("linger: from the call to the start of the job")
    with contextlib.ExitStack() as stack:
        staying: dict[str, tuple[Place, Running]] = {}

        def start(name: str, _: int) -> None:
            made = stack.enter_context(place(name, bench.scratch))
            made.operate("load", "nothing", 0)
            daemon = made.launch(made.command("daemon"))
            made.wait_for("marks", 2, daemon)
            staying[name] = made, daemon

        bench.interleave(SYSTEMS, start, runs=1)
        count, pause = bench.sizes.waits, bench.sizes.pause
        sending = {name: made.begin("send", count, pause) for name, (made, _) in staying.items()}

        def collect(name: str, run: int) -> None:
            made, daemon = staying[name]
            finish(sending[name])
            waits = made.wait_for("waits", count, daemon)
            bench.note("pick-up p50", name, run, statistics.median(waits) * 1e3)
            bench.note("pick-up p99", name, run, percentile(waits, 0.99) * 1e3)

        bench.interleave(list(staying), collect, runs=1)
