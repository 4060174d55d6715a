"""The workloads, in the order of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.workloads import backlog, draining, lingering, queueing, starting

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.bench import Bench

WORKLOADS: dict[str, Callable[[Bench], None]] = {
    "start": starting.measure,
    "queue": queueing.measure,
    "drain": draining.measure,
    "rows": backlog.measure_rows,
    "due": backlog.measure_due,
    "linger": lingering.measure,
}
