"""Looking for jobs: all orders and filters against a plain walk over the rows, and searches that are given up."""

from __future__ import annotations

import datetime as dt
import random
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import clock
from bgjob.store.connection import Database
from bgjob.store.reading import JobRow, ReadStore
from bgjob.views import search as module
from bgjob.views.search import OF_WAITING, Found, Question, search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
STATUSES = ("pending", "pending", "pending", "processing", "completed", "failed", "cancelled")
FILTERS = ("status", "job_class", "method", "priority", "error", "text", "since", "until")
INSERT = """
    INSERT INTO custom_jobs (id, job_class, method, params, status, priority, available_at, promoted, created_at,
        updated_at, started_at, finished_at, error, runner, worker)
    VALUES (:id, :job_class, 'execute', :params, :status, :priority, :available_at, :promoted, :created_at,
        :created_at, :started_at, :finished_at, :error, :runner, :worker)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReadStore]:
    """Return a store of 300 jobs of all kinds, with gaps between their ids."""
    database = Database(str(tmp_path / "jobs.sqlite3"))
    dice = random.Random(7)  # noqa: S311  # no secret
    for number in range(1, 301):
        at = NOW + dt.timedelta(minutes=number - 400)
        status = dice.choice(STATUSES)
        waits = status == "pending" and dice.random() < 0.6
        values = {
            "id": number + 100_000 * (number > 150),
            "job_class": dice.choice(["a.A", "b.B"]),
            "params": f'{{"to": "{dice.choice(["ann", "bob"])}"}}',
            "status": status,
            "priority": dice.randint(0, 3),
            "available_at": clock.to_text(NOW + dt.timedelta(minutes=dice.randint(-60, 60))) if waits else None,
            "created_at": clock.to_text(at),
            "started_at": clock.to_text(at) if status in ("completed", "failed") else None,
            "finished_at": clock.to_text(at + dt.timedelta(seconds=dice.random() * 90))
            if status == "completed"
            else None,
            "error": "ValueError: no good" if status == "failed" else None,
            "runner": 1 if status == "processing" else None,
            "worker": "1 0 -" if status == "processing" else None,
        }
        promoted = waits and str(values["available_at"]) <= clock.to_text(NOW) and dice.random() < 0.5
        database.connection.execute(INSERT, {**values, "promoted": int(promoted)})
    database.close()
    with ReadStore(str(tmp_path / "jobs.sqlite3")) as made:
        yield made


def asked(store: ReadStore, sort: str = "newest", **more: Any) -> Found:
    filters = dict.fromkeys(FILTERS) | {name: more.pop(name) for name in FILTERS if name in more}
    options: dict[str, Any] = {"most": 1_000, "offset": 0, "beyond": None, "seconds": 60.0} | more
    return search(store, Question(filters, sort, **options), NOW)


def ids(found: Found) -> list[int]:
    return [job.id for job in found.jobs]


def all_rows(store: ReadStore) -> list[JobRow]:
    return [job for number in [*range(1, 151), *range(100_151, 100_301)] if (job := store.job(number))]


def matches(job: JobRow, filters: dict[str, Any]) -> bool:
    return (
        filters.get("status") in (None, job.status)
        and filters.get("job_class") in (None, job.job_class)
        and filters.get("priority") in (None, job.priority)
        and filters.get("text", "") in str(job.params)
        and (filters.get("since") or "") <= str(job.updated_at)
    )


def seconds(job: JobRow) -> float:
    if not (job.started_at and job.finished_at):
        return -1.0
    return (clock.from_text(job.finished_at) - clock.from_text(job.started_at)).total_seconds()


def drain_order(job: JobRow) -> tuple[bool, int, str, int]:
    return (job.available_at or "") > clock.to_text(NOW), -job.priority, job.available_at or "", job.id


ORDERS: dict[str, Callable[[JobRow], Any]] = {
    "newest": lambda job: -job.id,
    "oldest": lambda job: job.id,
    "duration": lambda job: (-seconds(job), -job.id),
    "priority": drain_order,
    "due": lambda job: (job.available_at or job.created_at, job.id),
}


WHICH: list[dict[str, Any]] = [
    {}, {"status": "pending"}, {"status": "failed"}, {"status": "processing"}, {"job_class": "a.A", "priority": 2},
    {"status": "completed", "text": "bob"}, {"status": "cancelled", "job_class": "b.B"},
    {"status": "pending", "text": "ann", "since": "2026-11-24 07:00:00.000000"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("sort", "filters", "most_waiting"),
    [
        (sort, filters, most_waiting)
        for sort in ORDERS
        for filters in WHICH
        for most_waiting in (10_000, 5)  # with few, what is pending is walked through, too
        if sort not in OF_WAITING or (most_waiting > 5 and filters.get("status", "pending") == "pending")
    ],
    ids=str,
)
def test_every_order_and_filter_agrees_with_a_walk_over_all_rows(
    store: ReadStore, sort: str, filters: dict[str, Any], most_waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_STRETCH", 4)
    monkeypatch.setattr(module, "MOST_WAITING", most_waiting)
    wanted = {**filters, **({"status": "pending"} if sort in OF_WAITING else {})}
    expected = [job.id for job in sorted(all_rows(store), key=ORDERS[sort]) if matches(job, wanted)]

    assert expected
    assert ids(asked(store, sort, **filters)) == expected
    assert ids(asked(store, sort, most=7, offset=3, **filters)) == expected[3:10]


@pytest.mark.parametrize("sort", ["newest", "oldest"])
def test_a_search_that_is_given_up_goes_on_where_it_ended(
    store: ReadStore, sort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_STRETCH", 4)
    looks = iter(range(10_000))
    monkeypatch.setattr(clock, "monotonic", lambda: float(next(looks)))
    found, beyond, pages = [], None, 0

    while True:
        page = asked(store, sort, text="ann", seconds=1.5, beyond=beyond)
        found += ids(page)
        pages += 1
        if page.looked_to is None:
            break
        beyond = page.looked_to

    assert pages > 1
    assert found == ids(asked(store, sort, text="ann", seconds=1e9))


def test_the_longest_of_what_was_looked_at_are_told_when_the_time_is_over(
    store: ReadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_STRETCH", 64)
    looks = iter(range(10_000))
    monkeypatch.setattr(clock, "monotonic", lambda: float(next(looks)))

    found = asked(store, "duration", most=3, seconds=1.5)

    assert found.looked_to is not None
    rows = [job for job in all_rows(store) if job.id >= found.looked_to]
    assert ids(found) == [job.id for job in sorted(rows, key=ORDERS["duration"])][:3]


def test_a_stretch_that_took_long_is_followed_by_a_shorter_one(
    store: ReadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_STRETCH", 4)
    now, lengths = [0.0], []
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    def stretch(_filters: object, *, after: int, upto: int, **_: object) -> list[JobRow]:
        lengths.append(upto - after)
        now[0] += 0.001 * (upto - after)
        return []

    monkeypatch.setattr(store, "stretch", stretch)
    asked(store)

    assert lengths[:5] == [4, 16, 4, 16, 4]  # 16 ms are too long


def test_a_page_goes_on_from_an_id(store: ReadStore) -> None:
    assert ids(asked(store, most=3, beyond=100_152)) == [100_151, 150, 149]
    assert ids(asked(store, "oldest", most=3, beyond=149)) == [150, 100_151, 100_152]
    assert max(ids(asked(store, status="pending", beyond=100))) < 100


@pytest.mark.parametrize(
    ("sort", "status", "partial"), [("priority", None, True), ("due", None, True), ("newest", "pending", False)]
)
def test_of_a_long_queue_it_is_told_that_not_all_was_looked_at(
    store: ReadStore, sort: str, *, status: str | None, partial: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 5)

    assert asked(store, sort, most=2, status=status).is_partial is partial


def test_the_first_that_a_drain_takes_are_the_right_ones_of_any_queue(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "jobs.sqlite3"))
    insert = "INSERT INTO custom_jobs (job_class, method, priority) VALUES (?, 'execute', ?)"
    rows = [("a.A" if number == 1 else "b.B", number) for number in range(1, module.MOST_WAITING + 5)]
    database.connection.execute("BEGIN")
    database.connection.executemany(insert, rows)
    database.connection.execute("COMMIT")
    database.close()

    with ReadStore(database.path) as store:
        first, of_a_class = asked(store, "priority", most=2), asked(store, "priority", job_class="a.A")

    assert (ids(first), first.is_partial) == ([len(rows), len(rows) - 1], False)
    assert (ids(of_a_class), of_a_class.is_partial) == ([], True)
