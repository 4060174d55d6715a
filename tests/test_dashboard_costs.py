"""What a page costs, counted instead of timed, and that it holds up nobody: no read transaction stays open."""

from __future__ import annotations

import gc
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from bgjob.dashboard.pages import health, matching
from bgjob.store.connection import Database
from bgjob.views import search
from tests.visitor import Visitor, add, look, one_of_each

if TYPE_CHECKING:
    from tests.conftest import Project

PAGES = ("/", "/jobs", "/jobs?sort=oldest", "/jobs?sort=priority", "/jobs?sort=due", "/jobs?status=failed",
         "/jobs?status=pending", "/jobs/5", "/ticks", "/healthz", "/jobs/matching?verb=requeue")  # fmt: skip
FEW, MANY = 3_000, 9_000
NUMBERS = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
AT = "strftime('%Y-%m-%d %H:%M:%S.000000', '2026-11-24', i || ' seconds')"
# Names of columns and where they come from, of rows numbered `i`.
SHAPES = {
    "completed": {"status": "'completed'", "created_at": AT, "started_at": AT, "finished_at": AT},
    "pending": {"priority": "i % 50", "created_at": AT},
    "delayed": {"available_at": AT, "created_at": AT},
    "failed": {
        "status": "'failed'",
        "created_at": AT,
        "started_at": AT,
        "finished_at": AT,
        "error": "'ValueError: no'",
    },
}


def fill(project: Project, shape: str, count: int) -> None:
    database = Database(str(project.database))
    database.connection.execute("DELETE FROM custom_jobs")
    database.connection.execute("DELETE FROM sqlite_sequence")
    columns = {"job_class": "'a.A'", "method": "'m'", **SHAPES[shape]}
    names, values = ", ".join(columns), ", ".join(columns.values())
    database.connection.execute(
        f"INSERT INTO custom_jobs ({names}) {NUMBERS.format(count)} SELECT {values} FROM n"  # noqa: S608  # our own words
    )
    database.close()


def steps(visitor: Visitor, address: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many hundreds of steps SQLite's machine takes for a page."""
    counted = [0]
    opened = Database._connected

    def connected(database: Database, how: str) -> sqlite3.Connection:
        connection = opened(database, how)

        def count() -> int:
            counted[0] += 1
            return 0

        connection.set_progress_handler(count, 100)
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(Database, "_connected", connected)
        assert visitor.get(address).status in (200, 503)
    return counted[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_pages_of_a_longer_queue_cost_no_more_than_counting_it(
    project: Project, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_WAITING", 100)
    monkeypatch.setattr("bgjob.store.reading.MOST_TIMINGS", 100)
    monkeypatch.setattr(matching, "_SECONDS_OF_COUNTING", 0.0)
    visitor = look(project)
    costs: list[dict[str, int]] = []

    for count in (FEW, MANY):
        fill(project, shape, count)
        costs.append({address: steps(visitor, address, monkeypatch) for address in PAGES})

    few, many = costs
    for address in PAGES:  # counted: 4, and 16 for how many delayed jobs come before one
        grown = (many[address] - few[address]) * 100 / (MANY - FEW)
        assert grown <= (17 if address == "/jobs/5" else 4.5), (address, few[address], many[address])
    assert all(many[address] - few[address] <= 5 for address in ("/ticks", "/healthz", "/jobs/matching?verb=requeue"))


@pytest.mark.parametrize("address", [*PAGES, "/jobs/999", "/nowhere", "/health", "/jobs?text=x&sort=duration"])
def test_no_page_holds_up_a_checkpoint_and_none_leaves_a_file_open(project: Project, address: str) -> None:
    one_of_each(project)
    visitor = look(project)
    answer = visitor.get(address)
    assert answer.status in (200, 404, 503)
    for examination in health._examinations.values():  # made beside the page, and reads as well
        if examination._thread is not None:
            examination._thread.join()
    add(project, {"job_class": "a.A"})

    with closing(sqlite3.connect(project.database, timeout=0)) as other:
        other.execute("CREATE TABLE other (a)")
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def test_pages_are_read_and_deeds_are_done_over_connections_of_their_own_which_are_closed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_of_each(project)
    opened: list[Database] = []
    prepare = Database._prepare

    def watched(database: Database, *arguments: Any, **named: Any) -> None:
        opened.append(database)
        prepare(database, *arguments, **named)

    monkeypatch.setattr(Database, "_prepare", watched)
    visitor = look(project)
    for address in PAGES:
        visitor.get(address)
    visitor.post("/jobs", {"verb": "requeue", "id": 4})
    visitor.post("/jobs/matching", {"verb": "cancel", "upto": 9})
    for address in ("/pause", "/resume", "/prune"):
        visitor.post(address)

    assert len(opened) > len(PAGES)
    for database in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            database.connection.execute("SELECT 1")


def test_many_requests_leave_nothing_behind(project: Project) -> None:
    one_of_each(project)
    visitor = look(project)
    asked = [f"/jobs?text={number}" for number in range(400)] + ["/", "/jobs/4", "/nowhere", "/jobs?text=%ff"] * 5

    for address in asked[:150]:
        visitor.get(address)
    gc.collect()
    before = len(gc.get_objects())
    for address in asked[150:]:
        visitor.get(address)
    gc.collect()

    assert len(gc.get_objects()) - before < 3_000  # counted: some hundreds, of the pages that are remembered
