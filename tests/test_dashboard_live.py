"""The live refresh of the dashboard: what is new appears, what a person does stays, and nothing costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.conftest import wait_until
from tests.test_dashboard_browser import queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, Response

    from tests.browser import Server, Visitor
    from tests.conftest import Project

pytest_plugins = ["tests.browsing"]
pytestmark = pytest.mark.slow

# Counts what is changed in the document, apart from the ages of things, which count on by themselves.
COUNT_CHANGES = """() => {
    window.changes = [];
    new MutationObserver((records) => {
        for (const { target, type, attributeName } of records) {
            const element = target.nodeType === 1 ? target : target.parentElement;
            if (!element || element.nodeName === "TIME") continue; // or a text that was in one
            window.changes.push(`${type} ${attributeName || ""} of ${element.outerHTML.slice(0, 80)}`);
        }
    }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}"""

# A tab that is hidden, as the page is told of it; headless pages are always in front.
HIDE = """(isHidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


TOP = "(element) => element.getBoundingClientRect().top"

# The page's script plans its next look when it is done with one.
COUNT_PLANS = """() => {
    const clear = window.clearTimeout;
    window.plans = 0;
    window.clearTimeout = (timer) => { window.plans += 1; clear(timer); };
}"""

# What the page has asked for until then was asked before it.
ASK = "fetch('/ticks').then((answer) => answer.text())"


def opened(visitor: Visitor, path: str) -> Page:
    """Open a page whose clock runs only when it is told to."""
    visitor.page.clock.install(time=0)
    visitor.page.clock.pause_at(1)
    visitor.page.goto(path)
    visitor.page.evaluate(COUNT_PLANS)
    return visitor.page


def refreshed(page: Page, seconds: int = 5) -> Response:
    """Let the time pass after which the page asks again; return what it was answered."""
    before = page.evaluate("plans")
    with page.expect_response("**/*") as asked:
        page.clock.run_for(seconds * 1000)
    wait_until(lambda: page.evaluate("plans") > before)
    return asked.value


def test_a_new_job_appears_and_what_a_person_was_doing_stays(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 40)
    page = opened(visit(serve().url, viewport={"width": 1000, "height": 500}), "/jobs")
    page.get_by_role("checkbox", name="Tick job 11").check()
    page.get_by_text("More filters").click()
    page.get_by_label("In params or error").fill("half a wo")
    page.get_by_label("Order").select_option("oldest first")
    cell = page.locator("#job-12 td.about")
    cell.scroll_into_view_if_needed()
    cell.evaluate("(cell) => getSelection().selectAllChildren(cell)")
    page.get_by_role("checkbox", name="Tick job 13").focus()
    place = cell.evaluate(TOP)
    assert page.evaluate("scrollY") > 0

    queue(project, 1)
    refreshed(page)

    expect(page.locator("#job-41")).to_be_attached()
    assert page.locator("table.jobs tbody tr").first.get_attribute("id") == "job-41"
    expect(page.get_by_role("checkbox", name="Tick job 13")).to_be_focused()
    expect(page.get_by_role("checkbox", name="Tick job 11")).to_be_checked()
    expect(page.get_by_text("1 ticked:")).to_be_attached()
    expect(page.get_by_label("In params or error")).to_have_value("half a wo")
    expect(page.get_by_label("Order")).to_have_value("oldest")
    expect(page.get_by_label("Method")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == '{"name": "job-12"}'
    assert cell.evaluate(TOP) == pytest.approx(place, abs=1)  # scrolling is by whole pixels


def test_a_traceback_that_was_opened_or_closed_stays_so(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 1, status="failed", error="KeyError: 'to'")
    for number in (1, 2):
        project.sql(
            "INSERT INTO attempts (job_id, attempt, outcome, finished_at, error, traceback)"
            " VALUES (1, ?, 'raised', '2026-11-24 10:00:00.000000', 'KeyError', 'Traceback')",
            (number,),
        )
    page = opened(visit(serve().url), "/jobs/1")
    first, last = page.locator(".timeline details").first, page.locator(".timeline details").last
    first.locator("summary").click()
    last.locator("summary").click()

    project.sql("UPDATE custom_jobs SET status = 'pending'")
    refreshed(page)

    expect(page.locator("h1 .status")).to_have_text("pending")
    expect(first).to_have_attribute("open", "")
    expect(last).not_to_have_attribute("open", "")


def test_where_nothing_changed_nothing_is_sent_and_nothing_is_touched(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 30)
    queue(project, 5, status="failed", error="KeyError: 'to'")
    server = serve()
    for path in ("/", "/jobs", "/jobs/31", "/ticks"):
        page = opened(visit(server.url), path)
        page.evaluate(COUNT_CHANGES)

        statuses = [refreshed(page).status for _ in range(3)]

        assert (path, statuses) == (path, [200, 304, 304])
        assert page.evaluate("changes") == []


def test_a_hidden_tab_asks_for_nothing_until_it_is_shown(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 1)
    visitor = visit(serve().url)
    page = opened(visitor, "/jobs")
    refreshed(page)

    visitor.requests.clear()
    page.evaluate(HIDE, arg=True)
    page.clock.run_for(600_000)
    page.evaluate(ASK)
    assert [url.rpartition("/")[2] for url in visitor.requests] == ["ticks"]
    queue(project, 1)
    with page.expect_response("**/jobs"):
        page.evaluate(HIDE, arg=False)

    expect(page.locator("#job-2")).to_be_visible()
    refreshed(page)


@pytest.mark.parametrize("seconds", [2, 10])
def test_the_pace_that_was_chosen_is_kept_over_a_reload(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor], seconds: int
) -> None:
    queue(project, 1)
    visitor = visit(serve().url)
    page = opened(visitor, "/jobs")

    page.get_by_label("Refresh").select_option(f"{seconds} s")
    page.reload()

    expect(page.get_by_label("Refresh")).to_have_value(str(seconds))
    visitor.requests.clear()
    page.clock.run_for(seconds * 1000 - 1)
    page.evaluate(ASK)
    assert [url.rpartition("/")[2] for url in visitor.requests] == ["ticks"]
    with page.expect_request("**/jobs"):
        page.clock.run_for(1)


def test_a_paused_page_stays_as_it_is_until_it_goes_on(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 1)
    visitor = visit(serve().url)
    page = opened(visitor, "/jobs")

    page.get_by_label("Refresh").select_option("Pause")
    page.reload()
    expect(page.get_by_label("Refresh")).to_have_value("0")
    visitor.requests.clear()
    page.clock.run_for(600_000)
    page.evaluate(ASK)
    assert [url.rpartition("/")[2] for url in visitor.requests] == ["ticks"]

    page.get_by_label("Refresh").select_option("5 s")
    queue(project, 1)
    page.clock.run_for(5_000)
    expect(page.locator("#job-2")).to_be_visible()


def test_a_server_that_does_not_answer_is_told_until_it_does(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 1)
    server = serve()
    visitor = visit(server.url)
    page = opened(visitor, "/jobs")
    told = page.get_by_role("status").filter(has_text="The dashboard does not answer, so this page is stale.")
    refreshed(page)
    expect(told).to_have_count(0)
    expect(page.locator("#pulse")).to_be_visible()

    server.stop()
    with page.expect_console_message():
        page.clock.run_for(5_000)
    expect(told).to_be_visible()
    expect(page.locator("#pulse")).to_be_hidden()
    assert all("ERR_CONNECTION_REFUSED" in wrong for wrong in visitor.wrong)
    visitor.wrong.clear()

    queue(project, 1)
    serve(port=server.port)
    refreshed(page)
    expect(page.locator("#job-2")).to_be_visible()
    expect(told).to_have_count(0)
    expect(page.locator("#pulse")).to_be_visible()


def test_a_job_that_was_deleted_meanwhile_is_told(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 2)
    visitor = visit(serve().url)
    page = opened(visitor, "/jobs/1")

    project.sql("DELETE FROM custom_jobs WHERE id = 1")
    # Not just the next answer, which may be one to the first request, told late.
    with page.expect_console_message(), page.expect_response(lambda answer: answer.status == 404):
        page.clock.run_for(5_000)

    expect(page.get_by_role("status")).to_have_text("This page is no more.")
    visitor.wrong.clear()  # the browser's own word about the 404


def test_only_rows_that_are_new_light_up_and_none_where_motion_is_unwelcome(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 2)
    server = serve()
    for motion, animation in (("no-preference", "fresh"), ("reduce", "none")):
        context: dict[str, Any] = {"reduced_motion": motion}
        page = opened(visit(server.url, **context), "/jobs")
        before = page.locator("table.jobs tbody tr").count()
        queue(project, 1)
        refreshed(page)
        rows = page.locator("table.jobs tbody tr")
        expect(rows).to_have_count(before + 1)
        assert rows.first.evaluate("(row) => getComputedStyle(row).animationName") == animation
        assert rows.nth(1).evaluate("(row) => getComputedStyle(row).animationName") == "none"
