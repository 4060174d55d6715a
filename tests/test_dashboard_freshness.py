"""What has not changed is not sent again, what has is seen at once, and ages alone change nothing."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import clock
from bgjob.dashboard import freshness
from bgjob.dashboard.pages import jobs as pages
from bgjob.views.search import search
from tests.visitor import Visitor, add, look, one_of_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project

NOW = dt.datetime(2026, 11, 24, 12, 0, 3, tzinfo=dt.UTC)
PAGES = ("/", "/jobs", "/jobs/4", "/ticks", "/jobs?status=failed")


@pytest.fixture
def at() -> Iterator[Callable[[float], None]]:
    """Return what sets the clock so many seconds behind NOW; the files were written long before."""
    thaws: list[Callable[[], None]] = []

    def freeze(seconds: float) -> None:
        thaws.append(clock.freeze(NOW + dt.timedelta(seconds=seconds)))

    freeze(0)
    yield freeze
    for thaw in reversed(thaws):
        thaw()


@pytest.fixture
def visitor(project: Project, at: Callable[[float], None]) -> Visitor:
    del at
    one_of_each(project)
    (project.database.parent / "jobs.sqlite3.tick").touch()
    visitor = look(project)
    visitor.get("/")  # SQLite makes a log, if an empty one
    settle(project)
    return visitor


def settle(project: Project) -> None:
    """Let all files be of an hour before NOW."""
    then = NOW.timestamp() - 3600
    for path in (*project.database.parent.iterdir(), project.folder / "config" / "jobs.yaml"):
        os.utime(path, (then, then))


def etag(visitor: Visitor, address: str) -> str:
    answer = visitor.get(address)
    assert (answer.status, answer.headers["cache-control"]) == (200, "private, no-cache")
    return answer.headers["etag"]


@pytest.mark.parametrize("address", PAGES)
def test_a_page_that_the_browser_has_is_not_sent_again(visitor: Visitor, address: str) -> None:
    known = etag(visitor, address)

    for method in ("GET", "HEAD"):
        answer = visitor.ask(method, address, HTTP_IF_NONE_MATCH=known)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", known)
        assert "content-type" not in answer.headers
        assert "content-security-policy" in answer.headers
    assert visitor.get(address, HTTP_IF_NONE_MATCH='"other"').status == 200


@pytest.mark.parametrize("address", PAGES)
def test_ages_change_no_etag(visitor: Visitor, address: str, at: Callable[[float], None]) -> None:
    known = etag(visitor, address)
    at(25)

    page = visitor.get(address)

    assert page.headers["etag"] == known
    assert "12:00:28" in page.text
    assert visitor.get(address, HTTP_IF_NONE_MATCH=known).status == 304


def test_nothing_is_read_while_nothing_is_written(
    visitor: Visitor, at: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = etag(visitor, "/jobs")
    searches: list[object] = []

    def watched(*asked: Any) -> Any:
        searches.append(asked)
        return search(*asked)

    monkeypatch.setattr(pages, "search", watched)
    at(4)
    assert visitor.get("/jobs", HTTP_IF_NONE_MATCH=known).status == 304
    assert searches == []
    at(12)  # what is due may be another by now
    assert visitor.get("/jobs", HTTP_IF_NONE_MATCH=known).status == 304
    assert len(searches) == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE custom_jobs SET status = 'cancelled' WHERE id = 4",
        "INSERT INTO custom_jobs (job_class, method) VALUES ('a.A', 'b')",
        "INSERT INTO pause (id, since) VALUES (1, '2026-11-24 11:00:00.000000')",
        "DELETE FROM custom_jobs WHERE id = 3",
    ],
)
@pytest.mark.parametrize("address", ["/", "/jobs"])
def test_what_another_process_has_committed_is_seen_at_once(
    project: Project, visitor: Visitor, address: str, change: str
) -> None:
    known = etag(visitor, address)

    project.python(f"import sqlite3\nwith sqlite3.connect('storage/jobs.sqlite3') as other: other.execute({change!r})")

    answer = visitor.get(address, HTTP_IF_NONE_MATCH=known)
    assert (answer.status, answer.headers["etag"] != known) == (200, True)


def test_what_changes_within_one_step_of_the_file_systems_clock_is_seen(
    project: Project, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is, too, where a commit is being synced while a page is made."""
    written = int(NOW.timestamp() * 1e9) - 1_000_000
    monkeypatch.setattr(freshness, "_stamp", lambda _: (written, 4096, 1))
    known = etag(visitor, "/jobs")

    add(project, {"job_class": "a.A"})

    assert visitor.get("/jobs", HTTP_IF_NONE_MATCH=known).status == 200


def test_a_new_config_and_a_tick_are_seen(project: Project, visitor: Visitor) -> None:
    known = etag(visitor, "/jobs")
    (project.database.parent / "jobs.sqlite3.tick").touch()
    at_tick = etag(visitor, "/jobs")
    assert at_tick != known

    project.configure("workers: 3", classes="app.jobs.Other")

    assert etag(visitor, "/jobs") != at_tick


def test_pages_that_differ_by_query_mount_or_user_are_told_apart(visitor: Visitor) -> None:
    assert etag(visitor, "/jobs") != etag(visitor, "/jobs?status=failed")
    known = etag(visitor, "/jobs")
    mounted = Visitor(visitor.dashboard, environ={"SCRIPT_NAME": "/mount", "HTTP_IF_NONE_MATCH": known})
    assert mounted.get("/jobs").status == 200
    ann = Visitor(visitor.dashboard, environ={"REMOTE_USER": "ann", "HTTP_IF_NONE_MATCH": '"x"'})
    assert ann.get("/jobs").headers["etag"] != etag(visitor, "/jobs")


def test_no_more_pages_are_remembered_than_fit(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "_MOST_PAGES", 3)

    for number in range(10):
        visitor.get(f"/jobs?text={number}")

    assert len(visitor.dashboard._sent._pages) <= 3


@pytest.mark.parametrize("address", ["/healthz", "/nowhere", "/jobs?text=%ff"])
def test_what_is_no_page_is_kept_by_nobody(visitor: Visitor, address: str) -> None:
    answer = visitor.get(address)

    assert (answer.headers["cache-control"], "etag" in answer.headers) == ("no-store", False)


def test_files_are_kept_under_the_address_of_their_content_only(visitor: Visitor) -> None:
    from bgjob.dashboard import static

    for name in ("style.css", "live.js", "icon.svg"):
        now, old = visitor.get(static.address(name)), visitor.get(f"/static/0/{name}")
        assert now.body == old.body == static.content(name)
        assert "immutable" in now.headers["cache-control"]
        assert old.headers["cache-control"] == "no-store"
    assert visitor.get("/static/0/app.py").status == 404
