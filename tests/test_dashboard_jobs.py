"""The list of jobs: its filters, its pages, and what it tells of each job."""

from __future__ import annotations

import datetime as dt
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import clock
from bgjob.dashboard import filters
from bgjob.dashboard.filters import read
from bgjob.views import search
from tests.visitor import Page, Visitor, add, look, one_of_each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Project

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
AT = "2026-11-24 11:00:00.000000"


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    thaw = clock.freeze(NOW)
    yield
    thaw()


def ids(page: Page) -> list[int]:
    return [int(str(row["id"])[4:]) for row in page.all("tr") if row.get("id")]


def walk(visitor: Visitor, address: str, rel: str = "next") -> tuple[list[list[int]], str]:
    """Return the ids of all pages from that one on, and the address of the last."""
    pages, place = [], address
    while True:
        page = Page(visitor.get(place).text)
        pages.append(ids(page))
        following = [link["href"] for link in page.all("a") if link.get("rel") == rel]
        if not following:
            return pages, place
        place = str(following[0])
        assert len(pages) < 50


@pytest.fixture
def many(project: Project, monkeypatch: pytest.MonkeyPatch) -> Visitor:
    """Return a visitor who sees ten jobs a page; there are 95, of several kinds, and ids are missing."""
    monkeypatch.setattr(filters, "LIMITS", (5, 10, 20, 50))
    monkeypatch.setattr(filters, "_SECONDS_OF_SEARCH", 60.0)  # however busy the machine is
    for number in range(1, 96):
        kind = ("completed", "failed", "pending", "pending", "cancelled")[number % 5]
        ended = kind in ("completed", "failed")
        add(project, {
            "id": number * 3, "status": kind, "priority": number % 4, "created_at": AT, "updated_at": AT,
            "job_class": f"app.{'AB'[number % 2]}", "params": f'{{"n": {number}}}',
            "started_at": AT if ended else None,
            "finished_at": f"2026-11-24 11:{number % 60:02}:00.000000" if ended else None,
            "available_at": f"2026-11-24 1{number % 3 + 1}:30:00.000000" if number % 5 == 2 else None,
            "error": "ValueError: no" if kind == "failed" else None,
        })  # fmt: skip
    return look(project)


def expected(project: Project, where: str, order: str) -> list[int]:
    rows = project.sql(f"SELECT id FROM custom_jobs WHERE {where} ORDER BY {order}")  # noqa: S608  # the test's own words
    return [number for (number,) in rows]


DUE_ORDER = "coalesce(available_at, '') > '2026-11-24 12', priority DESC, coalesce(available_at, ''), id"
ORDERS = [
    ("", "1", "id DESC"), ("sort=oldest", "1", "id"), ("status=failed", "status = 'failed'", "id DESC"),
    ("status=pending", "status = 'pending'", "id DESC"), ("class=app.A&sort=oldest", "job_class = 'app.A'", "id"),
    ("sort=priority", "status = 'pending'", DUE_ORDER),
    ("sort=due", "status = 'pending'", "coalesce(available_at, created_at), id"),
    ("sort=duration", "1", "finished_at IS NULL, julianday(finished_at) - julianday(started_at) DESC, id DESC"),
    ("priority=2&status=running", "0", "id"), ("text=%22n%22:+7", "params LIKE '%: 7%'", "id DESC"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "where", "order"), ORDERS)
def test_page_by_page_each_job_comes_once_and_in_order(
    project: Project, many: Visitor, query: str, where: str, order: str
) -> None:
    pages, _ = walk(many, f"/jobs?limit=10&{query}")

    assert [number for page in pages for number in page] == expected(project, where, order)
    assert all(len(page) == 10 for page in pages[:-1])


def test_the_way_back_leads_over_the_same_pages(many: Visitor) -> None:
    pages, last = walk(many, "/jobs?limit=20")

    back, first = walk(many, last, rel="prev")

    assert pages[-1] == back[0]
    assert sorted(number for page in back for number in page) == sorted(number for page in pages for number in page)
    assert back[-1] == pages[0] or len(back[-1]) <= 20
    assert [link for link in Page(many.get(first).text).all("a") if link.get("rel") == "prev"] == []


def test_jobs_that_come_meanwhile_move_no_page(project: Project, many: Visitor) -> None:
    page = Page(many.get("/jobs?limit=10").text)
    [older] = [str(link["href"]) for link in page.all("a") if link.get("rel") == "next"]
    before = ids(Page(many.get(older).text))

    add(project, *({"job_class": "app.A"} for _ in range(7)))

    assert ids(Page(many.get(older).text)) == before


@pytest.mark.parametrize("limit", ["7", "0", "-5", "1000000", "x", "\uff15", "1e1", ""])
def test_a_page_has_one_of_a_few_lengths(many: Visitor, limit: str) -> None:
    assert len(ids(Page(many.get("/jobs?" + urllib.parse.urlencode({"limit": limit})).text))) == 10


def test_filters_stay_in_every_address_of_the_page(many: Visitor) -> None:
    page = Page(many.get("/jobs?status=failed&class=app.A&text=%26%3D+%22&limit=5&before=200").text)

    forms = [form for form, _ in page.forms if form.attributes["method"] == "post"]
    assert forms == []  # nothing matches
    page = Page(many.get("/jobs?status=failed&class=app.A&limit=5&before=200").text)
    [back] = [field.get("value") for field in page.all("input") if field.get("name") == "back"]
    asked = urllib.parse.parse_qs(str(back).partition("?")[2])
    assert asked == {"status": ["failed"], "class": ["app.A"], "limit": ["5"], "before": ["200"]}
    for link in page.links:
        if "/jobs/matching" in link or "before=" in link:
            assert "class=app.A" in link
            assert "status=failed" in link


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("status=odd", "There is no status “odd”; the statuses: pending, processing,"),
        ("sort=odd", "There is no order “odd”; the orders: newest, oldest,"),
        ("priority=high", "“high” is no priority; any whole number of 64 bits is."),
        (f"priority={2**63}", "is no priority"), (f"priority={-(2**63) - 1}", "is no priority"),
        ("since=yesterday-ish", "Since: 'yesterday-ish' is no time"), ("until=1.2.2026", "more than one way"),
        ("sort=due&status=failed", "“due” is an order of pending jobs, so it shows none that are failed."),
    ],
)  # fmt: skip
def test_what_can_not_be_read_is_told_and_the_page_is_there(many: Visitor, query: str, told: str) -> None:
    answer = many.get(f"/jobs?{query}")

    assert answer.status == 200
    assert told in Page(answer.text).said
    assert ids(Page(answer.text))


@pytest.mark.parametrize("priority", [2**63 - 1, -(2**63)])
def test_any_priority_can_be_asked_for(project: Project, priority: int) -> None:
    add(project, {"priority": priority}, {"priority": 1})

    assert ids(Page(look(project).get(f"/jobs?priority={priority}").text)) == [1]


@pytest.mark.parametrize("sort", ["newest", "oldest", "due", "duration"])
def test_any_place_can_be_asked_for(project: Project, sort: str) -> None:
    one_of_each(project)
    visitor = look(project)

    for name in ("before", "after", "offset"):
        for place in (0, 1, 2**62, 10**17, 10**18, 2**63, 10**30, -1, "x", "\uff11"):
            assert visitor.get("/jobs?" + urllib.parse.urlencode({name: place, "sort": sort})).status == 200


def test_a_search_that_takes_long_stops_and_goes_on_where_it_ended(
    project: Project, many: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_FIRST_STRETCH", 16)
    looks = iter(range(100_000))
    monkeypatch.setattr(clock, "monotonic", lambda: next(looks) / 20)
    found, place, pages = [], "/jobs?text=%22n%22:+7", 0

    while place:
        page = Page(many.get(place).text)
        found += ids(page)
        pages += 1
        place = next((str(link) for link in page.links if "before=" in link), "")
        assert pages < 50

    assert pages > 1
    assert found == expected(project, "params LIKE '%: 7%'", "id DESC")


def test_secrets_are_masked_and_long_texts_cut(project: Project) -> None:
    project.configure("mask: ['*password*']")
    add(
        project,
        {"params": '{"to": "ann", "password": "hunter22"}'},
        {"params": '{"password": "hunter22"}', "status": "failed", "error": "ValueError: hunter22\nsecond line"},
        {"params": f'{{"a": "{"x" * 5000}"}}'},
    )

    page = Page(look(project).get("/jobs").text)

    assert "hunter22" not in page.said
    assert '{"to": "ann", "password": "•••"}' in page.said
    assert "ValueError: •••" in page.said
    assert "second line" not in page.said
    assert "x" * 200 in page.said
    assert "x" * 400 not in page.said


@pytest.mark.parametrize(
    ("fraction", "told"),
    [(0.25, "25 %"), (0, "0 %"), (1, "100 %"), (7.5, "100 %"), (-3, "0 %"), ("x", ""), (9e999, "100 %")],
)
def test_progress_is_told_of_what_runs(project: Project, fraction: Any, told: str) -> None:
    one_of_each(project)
    at = "2026-11-24 12:00:00.000000"
    row = {"job_id": 2, "started_at": at, "fraction": fraction, "text": "copying", "updated_at": at}
    add(project, row, table="progress")

    for address in ("/jobs", "/", "/jobs/2"):
        said = Page(look(project).get(address).text).said
        assert "copying" in said
        assert told in said
        assert (" %" in said) == bool(told)


def test_secrets_are_masked_in_what_a_job_says_of_its_progress(project: Project) -> None:
    at = "2026-11-24 12:00:00.000000"
    add(project, {"id": 2, "status": "processing", "params": '{"password": "hunter22"}', "started_at": at})
    add(
        project,
        {"job_id": 2, "started_at": at, "fraction": 0.5, "text": "ann:hunter22", "updated_at": at},
        table="progress",
    )

    for address in ("/jobs", "/", "/jobs/2"):
        said = Page(look(project).get(address).text).said
        assert "ann:•••" in said
        assert "hunter22" not in said


def test_filters_are_read_as_the_command_line_reads_them() -> None:
    asked = read({"status": " running ", "since": "2h", "class": " ", "text": "x", "odd": "1", "priority": "-0"}, NOW)

    assert asked.typed == {"status": "running", "since": "2h", "text": "x", "priority": "-0"}
    assert asked.values["status"] == "processing"
    assert asked.values["since"] == "2026-11-24 10:00:00.000000"
    assert (asked.values["job_class"], asked.values["priority"], asked.problems) == (None, 0, [])


def test_an_empty_queue_says_how_to_fill_it(project: Project) -> None:
    visitor = look(project)

    for address in ("/", "/jobs", "/ticks", "/jobs/matching?verb=delete"):
        assert 'run_background_job("app.jobs.Job")' in Page(visitor.get(address).text).said
