"""Queueing: one job a call, many jobs a call, and four processes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.place import finish, let_go, place, wait_until_ready

if TYPE_CHECKING:
    from benchmarks.bench import Bench

SURVIVES_POWER = ("bare", "bgjob", "Huey", "django-tasks")
SURVIVES_KILL = ("bare:normal", "bgjob:normal", "tinyjobs", "firm-queue")
AS_THEY_COME = ("bare", "bgjob", "Huey", "tinyjobs", "firm-queue", "django-tasks")
PROCESSES = 4


def measure(bench: Bench) -> None:
    """Measure queueing, each run in a fresh folder."""

    def alone(name: str, run: int) -> None:
        figure = "queue normal" if name in SURVIVES_KILL else "queue"
        bench.note(figure, name, run, _rate(_queue(bench, name, 1)))

    def together(name: str, run: int) -> None:
        single = _rate(_queue(bench, name, 1))
        four = _queue(bench, name, PROCESSES)
        bench.note("four", name, run, _rate(four))
        bench.note("four share", name, run, _rate(four) / single)
        bench.note("four worst", name, run, max(said["worst"] for said in four) * 1e3)
        bench.note("four errors", name, run, sum(said["errors"] for said in four))

    def many(name: str, run: int) -> None:
        with place(name, bench.scratch) as made:
            count = bench.sizes.drained
            bench.note("queue many", name, run, count / made.operate("queue_many", count)["seconds"])

    bench.workload("queue: one job a call")
    bench.interleave(SURVIVES_POWER + SURVIVES_KILL, alone)
    bench.workload("queue: many jobs a call")
    bench.interleave(("bare", "bgjob"), many)
    bench.workload("queue: four processes at once")
    bench.interleave(AS_THEY_COME, together)


def _queue(bench: Bench, name: str, processes: int) -> list[dict[str, Any]]:
    """Queue a system's share of jobs from so many processes; return what each of them says."""
    count = bench.share(name, bench.sizes.queued) // processes
    with place(name, bench.scratch) as made:
        begun = [made.begin("queue", count) for _ in range(processes)]
        for operation in begun:
            wait_until_ready(operation)
        for operation in begun:
            let_go(operation)
        said = [finish(operation) for operation in begun]
    return [{**one, "count": count} for one in said]


def _rate(said: list[dict[str, Any]]) -> float:
    queued = sum(one["count"] - one["errors"] for one in said)
    return float(queued / (max(one["ended"] for one in said) - min(one["began"] for one in said)))
