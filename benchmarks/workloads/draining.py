"""Draining: how many jobs a second are claimed, run and settled, with the start of the runner left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.place import Failed, place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench

SYSTEMS = ("bare:normal", "bgjob", "Huey", "tinyjobs", "firm-queue", "django-tasks")


def measure(bench: Bench) -> None:
    """Measure jobs that do nothing and jobs that compute, with one worker and with two."""
    sizes = bench.sizes
    for workers in (1, 2):
        # Once beside a Huey that never syncs: the quickest that it can be.
        also = ("Huey:off",) if workers == 1 else ()
        _measure(bench, "drain", job="nothing", count=sizes.drained, workers=workers, systems=(*SYSTEMS, *also))
    for workers in (1, 2):
        _measure(bench, "compute", job="compute", count=sizes.computed, workers=workers, systems=SYSTEMS)


def _measure(bench: Bench, figure: str, *, job: str, count: int, workers: int, systems: Sequence[str]) -> None:
    def drain(name: str, run: int) -> None:
        rate, memory = drained(bench, name, job=job, count=count, workers=workers)
        if name == "Huey:off":
            bench.note("drain 1 unsynced", name, run, rate)
            return
        bench.note(f"{figure} {workers}", name, run, rate)
        if (figure, workers) == ("drain", 1):
            bench.note("memory", name, run, memory)

    bench.workload(f"drain: {count:,} jobs that {DOES[job]}, workers: {workers}")
    bench.interleave(systems, drain)


DOES = {"nothing": "do nothing", "compute": "use 1 ms of CPU"}


def drained(bench: Bench, name: str, *, job: str, count: int, workers: int) -> tuple[float, float]:
    """Drain a system's share of jobs in a fresh folder; return jobs a second, and MiB of the largest process."""
    count = bench.share(name, count)
    with place(name, bench.scratch) as made:
        made.operate("load", job, count)
        running = [made.launch(command) for command in made.command("drain", workers)]
        marks = made.wait_for("marks", 2, *running)
        for one in running:
            one.stop()
        took = [one.end(stopped=True) for one in running]
        if (left := made.operate("waiting")["waiting"]) > workers:
            raise Failed(f"{left} jobs were left")
    return (count + 1) / (marks[-1] - marks[0]), max(one.memory for one in took)
