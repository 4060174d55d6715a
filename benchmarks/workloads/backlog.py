"""Many rows: a drain beside a million that are none of its business, and a million that fall due at once."""

from __future__ import annotations

import contextlib
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.figures import percentile
from benchmarks.place import Place, finish, place, wait_until_ready

if TYPE_CHECKING:
    from benchmarks.bench import Bench

EMPTY = "empty table"
ROWS = {
    "finished": "rows finished",
    "delayed at higher priority": "rows delayed",
    "all priorities distinct": "rows distinct",
    "due at lower priority": "rows due",
}
SECONDS = 2.0  # of the million that fell due at once, so much is run


def measure_rows(bench: Bench) -> None:
    """Drain beside each kind of rows, in turn with an empty table."""
    if "bgjob" not in bench.taking_part(["bgjob"]):
        return
    bench.workload(f"rows: a drain beside {bench.sizes.rows:,} other rows")
    with contextlib.ExitStack() as stack:
        places = {kind: stack.enter_context(place("bgjob", bench.scratch)) for kind in (EMPTY, *ROWS)}
        for kind, made in places.items():
            _fill(made, kind, bench.sizes.rows if kind != EMPTY else 0)
        gaps: dict[int, float] = {}
        memory: dict[int, float] = {}

        def drain(kind: str, run: int) -> None:
            rate, gap, peak = _drained(bench, places[kind])
            if kind == EMPTY:
                for figure in ROWS.values():
                    bench.note(figure, EMPTY, run, rate)
                bench.note("rows gap", EMPTY, run, gap)
                bench.note("rows memory", EMPTY, run, peak)
            else:
                bench.note(ROWS[kind], "bgjob", run, rate)
                gaps[run] = max(gap, gaps.get(run, 0))
                memory[run] = max(peak, memory.get(run, 0))

        bench.interleave(list(places), drain)
        for run, gap in gaps.items():
            bench.note("rows gap", "bgjob", run, gap)
            bench.note("rows memory", "bgjob", run, memory[run])


def _fill(made: Place, kind: str, rows: int) -> None:
    """Make the database by a first job, and add so many rows."""
    made.operate("load", "nothing", 0)
    runner = made.launch(made.command("tick"))
    made.wait_for("marks", 2, runner)
    runner.end()
    if rows:
        made.operate("fill", kind, rows)


def _drained(bench: Bench, made: Place) -> tuple[float, float, float]:
    count = bench.sizes.drained
    made.forget("marks")
    made.operate("load", "nothing", count)
    [command] = made.command("drain", 1)
    since = time.time()
    runner = made.launch(command)
    marks = made.wait_for("marks", 2, runner)
    runner.stop()
    took = runner.end(stopped=True)
    times = made.operate("started", since)["times"][: count + 2]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return (count + 1) / (marks[1] - marks[0]), percentile(gaps, 0.99) * 1e3, took.memory


def measure_due(bench: Bench) -> None:
    """Let a million rows fall due at once, and look at the first seconds."""
    if "bgjob" not in bench.taking_part(["bgjob"]):
        return
    bench.workload(f"due: {bench.sizes.rows:,} delayed jobs fall due at once")
    with place("bgjob", bench.scratch) as made:
        _fill(made, "fallen due at once", bench.sizes.rows)
        [command] = made.command("drain", 1)

        def fall_due(name: str, run: int) -> None:
            made.forget("marks")
            made.forget("stop")
            promised = made.operate("fall_due")["ids"]
            knocking = made.begin("knock", "storage/jobs.sqlite3")
            wait_until_ready(knocking)
            since = time.time()
            runner = made.launch(command)
            [first, *_] = made.wait_for("marks", 1, runner)
            time.sleep(SECONDS)
            runner.stop()
            runner.end(stopped=True)
            (made.folder / "stop").touch()
            ids = made.operate("started", since)["ids"]
            bench.note("due first", name, run, (first - runner.start) * 1e3)
            bench.note("due hold", name, run, finish(knocking)["worst"] * 1e3)
            pairs = zip(ids, promised, strict=False)
            bench.note("due disorder", name, run, sum(began != expected for began, expected in pairs))

        bench.interleave(["bgjob"], fall_due)
