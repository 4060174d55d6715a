"""The dashboard in a real browser, by clicks: find what failed, run it again, filter, page, tick, act on many."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from bgjob import run_background_job, run_background_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

    from tests.browser import Server, Visitor
    from tests.conftest import Project

pytest_plugins = ["tests.browsing"]
pytestmark = pytest.mark.slow

JOBS = """
import os

class Job:
    def execute(self, **params):
        if not os.path.exists("mended"):
            raise ConnectionError("the mail server does not answer")
"""


def queue(
    project: Project, count: int, *, status: str = "pending", name: str = "job", error: str | None = None
) -> None:
    """Queue that many jobs, whose params tell `name` and a number, and have them in `status`."""
    first = (project.jobs("max(id)")[0][0] or 0) if project.database.exists() else 0
    run_background_jobs(("app.jobs.Job", "execute", {"name": f"{name}-{number}"}) for number in range(1, count + 1))
    if status != "pending":
        project.sql(
            "UPDATE custom_jobs SET status = ?, error = ?, finished_at = created_at WHERE id > ?",
            (status, error, first),
        )


def rows(page: Page) -> Locator:
    return page.locator("table.jobs tbody tr")


def ids(page: Page) -> list[int]:
    return [int(text) for text in page.locator("table.jobs td.num a").all_inner_texts()]


def named(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def test_a_person_finds_the_job_that_failed_reads_why_and_runs_it_again(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    project.configure("max_retries: 0")
    project.write_jobs(JOBS)
    run_background_job("app.jobs.Job", "execute", {"to": "ann@example.org"})
    project.tick()
    page = visit(serve().url).page

    page.goto("/")
    page.get_by_role("link", name="failed 1").click()
    rows(page).get_by_role("link", name="1", exact=True).click()
    expect(page.get_by_text("ConnectionError: the mail server does not answer").first).to_be_visible()
    expect(page.locator(".timeline pre")).to_contain_text("Traceback (most recent call last)")
    expect(page.locator(".timeline pre")).to_contain_text('raise ConnectionError("the mail server does not answer")')
    named(page, "Requeue").click()
    expect(page.get_by_role("main").get_by_role("status")).to_have_text("Requeued: 1 job.")
    expect(page.locator("h1 .status")).to_have_text("pending")
    (project.folder / "mended").touch()
    project.tick()
    page.get_by_label("Refresh").select_option("2 s")

    expect(page.locator("h1 .status")).to_have_text("completed")
    expect(page.locator(".timeline li").last).to_contain_text("succeeded")
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("link", name="completed 1")).to_be_visible()
    expect(page.get_by_role("link", name="failed 0")).to_be_visible()


def test_filters_stay_in_the_address_and_after_an_action(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 3, status="failed", name="mail", error="TimeoutError: no answer")
    queue(project, 2, status="failed", name="mail", error="KeyError: 'to'")
    queue(project, 2, name="mail")
    page = visit(serve().url).page

    page.goto("/jobs")
    page.get_by_role("link", name="failed 5").click()
    page.get_by_label("In params or error").fill("mail")
    page.get_by_text("More filters").click()
    page.get_by_label("Error", exact=True).fill("TimeoutError")
    named(page, "Filter").click()

    expect(rows(page)).to_have_count(3)
    expect(page).to_have_url(re.compile(r"/jobs\?status=failed&text=mail&sort=newest&error=TimeoutError$"))
    rows(page).nth(1).get_by_role("checkbox").check()
    named(page, "Requeue").click()
    expect(page.get_by_text("Requeued: 1 job.")).to_be_visible()
    expect(rows(page)).to_have_count(2)
    expect(page).to_have_url(re.compile(r"\?status=failed&text=mail&sort=newest&error=TimeoutError$"))
    expect(page.get_by_label("In params or error")).to_have_value("mail")
    expect(page.get_by_label("Error", exact=True)).to_have_value("TimeoutError")
    assert [number for number, status in project.jobs() if status == "pending"] == [2, 6, 7]


def test_a_search_looks_into_params_and_errors(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 12, name="mail")
    queue(project, 1, status="failed", name="report", error="ValueError: no rows for mail-7")
    page = visit(serve().url).page

    page.goto("/jobs")
    page.get_by_label("In params or error").fill("mail-7")
    page.keyboard.press("Enter")

    expect(rows(page)).to_have_count(2)
    assert ids(page) == [13, 7]
    page.get_by_role("link", name="Clear").click()
    expect(rows(page)).to_have_count(13)
    page.get_by_label("In params or error").fill("nothing has this")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No job matches.")).to_be_visible()


def test_what_is_ticked_is_counted_and_done(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 6, status="failed", error="KeyError: 'to'")
    page = visit(serve().url).page

    page.goto("/jobs")
    expect(named(page, "Requeue")).to_be_disabled()
    page.get_by_role("checkbox", name="Tick all on this page").check()
    expect(page.get_by_text("6 ticked:")).to_be_visible()
    page.get_by_role("checkbox", name="Tick job 4").uncheck()
    expect(page.get_by_text("5 ticked:")).to_be_visible()
    expect(page.get_by_role("checkbox", name="Tick all on this page")).not_to_be_checked()
    named(page, "Requeue").click()
    expect(page.get_by_text("Requeued: 5 jobs.")).to_be_visible()

    page.get_by_role("checkbox", name="Tick all on this page").check()
    named(page, "Cancel").click()
    expect(page.get_by_text("Cancelled: 5 jobs. 1 job left alone")).to_be_visible()
    assert [status for _, status in project.jobs()] == ["cancelled"] * 3 + ["failed"] + ["cancelled"] * 2


def test_delete_asks_first(project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]) -> None:
    queue(project, 3, status="failed", error="KeyError: 'to'")
    page = visit(serve().url).page

    page.goto("/jobs?status=failed")
    page.get_by_role("checkbox", name="Tick job 2").check()
    page.get_by_role("checkbox", name="Tick job 3").check()
    named(page, "Delete").click()
    expect(page.get_by_role("heading", name="Delete 2 jobs?")).to_be_visible()
    assert len(project.jobs()) == 3
    page.get_by_role("link", name="Back").click()
    expect(page).to_have_url(re.compile(r"/jobs\?status=failed$"))
    page.get_by_role("checkbox", name="Tick job 2").check()
    named(page, "Delete").click()
    expect(page.get_by_role("heading", name="Delete job 2?")).to_be_visible()
    named(page, "Delete").click()

    expect(page.get_by_text("Deleted: 1 job.")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/jobs\?status=failed$"))
    assert ids(page) == [3, 1]
    assert [number for number, _ in project.jobs()] == [1, 3]


def test_all_that_match_are_told_by_their_number_before_anything_is_done(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 70, status="failed", name="mail", error="KeyError: 'to'")
    queue(project, 5, status="failed", name="report", error="KeyError: 'to'")
    page = visit(serve().url).page

    page.goto("/jobs?status=failed&text=mail")
    page.get_by_role("link", name="requeue…").click()
    expect(page.get_by_role("heading", name="Requeue 70 jobs?")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="in their params or error mail")).to_be_visible()
    assert {status for _, status in project.jobs()} == {"failed"}
    page.get_by_role("link", name="Back").click()
    page.goto("/jobs/matching?status=failed&verb=requeue")
    expect(page.get_by_text("All failed jobs up to number 75.", exact=True)).to_be_visible()
    page.goto("/jobs/matching?status=failed&text=mail&verb=requeue")
    named(page, "Requeue 70 jobs").click()

    expect(page.get_by_text("Requeued: 70 jobs.")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/jobs\?status=failed&text=mail$"))
    expect(page.get_by_text("No job matches.")).to_be_visible()
    assert [status for _, status in project.jobs()] == ["pending"] * 70 + ["failed"] * 5


def test_a_list_is_paged_to_older_jobs_and_back(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 60)
    page = visit(serve().url).page

    page.goto("/jobs")
    page.get_by_text("More filters").click()
    page.get_by_label("Show").select_option("25")
    named(page, "Filter").click()
    expect(rows(page).first).to_have_id("job-60")
    assert ids(page) == list(range(60, 35, -1))
    page.get_by_role("link", name="Older →").click()
    expect(rows(page).first).to_have_id("job-35")
    queue(project, 1)  # moves no page
    page.get_by_role("link", name="Older →").click()
    expect(rows(page).first).to_have_id("job-10")
    assert ids(page) == list(range(10, 0, -1))
    expect(page.get_by_role("link", name="Older →")).to_have_count(0)
    page.get_by_role("link", name="← Newer").click()

    expect(rows(page).first).to_have_id("job-35")
    assert ids(page) == list(range(35, 10, -1))
    page.get_by_role("link", name="← Newer").click()
    expect(rows(page).first).to_have_id("job-60")
    page.get_by_role("link", name="← Newer").click()
    expect(rows(page).first).to_have_id("job-61")


def test_jobs_stand_in_the_order_that_is_chosen(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    for priority, delay in ((0, 600), (5, 0), (9, 1200), (0, 0)):
        run_background_job("app.jobs.Job", "execute", None, priority=priority, delay=delay)
    queue(project, 2, status="completed")
    project.sql("UPDATE custom_jobs SET started_at = '2026-11-24 10:00:00.000000' WHERE status = 'completed'")
    for number, finished in ((5, "10:00:09"), (6, "10:00:02")):
        project.sql("UPDATE custom_jobs SET finished_at = ? WHERE id = ?", (f"2026-11-24 {finished}.000000", number))
    page = visit(serve().url).page

    seen = {}
    page.goto("/jobs")
    for order in ("newest first", "oldest first", "as they will run", "as they fall due", "longest first"):
        page.get_by_label("Order").select_option(order)
        named(page, "Filter").click()
        expect(page.get_by_label("Order").locator("option[selected]")).to_have_text(order)
        seen[order] = ids(page)

    assert seen == {
        "newest first": [6, 5, 4, 3, 2, 1],
        "oldest first": [1, 2, 3, 4, 5, 6],
        "as they will run": [2, 4, 3, 1],
        "as they fall due": [2, 4, 1, 3],
        "longest first": [5, 6, 4, 3, 2, 1],
    }


def test_one_like_it_is_copied(project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]) -> None:
    run_background_job("app.jobs.Job", "execute", {"to": "it's ann", "api_token": "hush"}, priority=3)
    page = visit(serve().url, permissions=["clipboard-read", "clipboard-write"]).page

    page.goto("/jobs/1")
    page.locator(".copy").filter(has_text="Command line").get_by_role("button", name="Copy").click()

    expect(named(page, "Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    words = project.python(f"import json, shlex; print(json.dumps(shlex.split({copied!r})))").stdout
    assert json.loads(words)[:4] == ["bgjob", "queue", "app.jobs.Job", "execute"]
    assert json.loads(json.loads(words)[4]) == {"to": "it's ann", "api_token": "•••"}
