"""Draining: how many jobs a second are claimed, run and settled, with the start of the runner left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.place import Failed, place

if TYPE_CHECKING:
    from benchmarks.bench import Bench

SYSTEMS = ("bare:normal", "bgjob", "Huey", "Huey:off", "tinyjobs", "firm-queue", "django-tasks")


def measure(bench: Bench) -> None:
    """Measure jobs that do nothing and jobs that compute, with one worker and with two."""
    for job, figure, count in (
        ("nothing", "drain", bench.sizes.drained),
        ("compute", "compute", bench.sizes.computed),
    ):
        for workers in (1, 2):
            bench.workload(f"drain: {count:,} jobs that {DOES[job]}, workers: {workers}")

            def drain(
                name: str, run: int, *, job: str = job, figure: str = figure, count: int = count, workers: int = workers
            ) -> None:
                rate, memory = drained(bench, name, job=job, count=count, workers=workers)
                unsynced = " unsynced" if name == "Huey:off" else ""
                bench.note(f"{figure} {workers}{unsynced}", name, run, rate)
                if (figure, workers) == ("drain", 1) and not unsynced:
                    bench.note("memory", name, run, memory)

            only_once = (figure, workers) == ("drain", 1)
            bench.interleave([name for name in SYSTEMS if only_once or name != "Huey:off"], drain)


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
