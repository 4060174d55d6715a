"""How the pages of the dashboard look, and that everybody can use them: at each width, by keyboard, without script."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from typing import TYPE_CHECKING, Any, Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import expect

from bgjob import run_background_job
from tests.browser import Server
from tests.conftest import Project
from tests.plausible import shop
from tests.test_dashboard_browser import ids, named, queue, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.browser import Visitor

pytest_plugins = ["tests.browsing"]
pytestmark = pytest.mark.slow

NOW = dt.datetime(2026, 11, 24, 14, 37, tzinfo=dt.UTC)
WIDTHS = (360, 768, 1440)
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
LOOK = "(options) => axe.run(options).then((results) => results.violations)"
LONG = "a_class_whose_name_goes_on_and_on_" * 6


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, list[str]]]]:
    """Dashboards of queues in several states: each address, and the paths of its pages."""
    from bgjob import enqueue

    with contextlib.ExitStack() as stack:
        folder = tmp_path_factory.mktemp("few")
        failed = stack.enter_context(shop(folder, NOW))
        empty, trouble = Project(tmp_path_factory.mktemp("none") / "x"), Project(tmp_path_factory.mktemp("bad") / "x")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(trouble.folder)
            in_trouble(trouble)
        enqueue._intake._close()
        pages = ["/", "/jobs?limit=25", "/ticks?before=12", "/health"]  # few rows: axe-core looks at each
        ask = "/jobs/matching?status=failed&verb=delete"
        started = {
            "none": (Server(empty.folder), pages),
            "few": (
                Server(folder, at=NOW),
                [*pages, f"/jobs/{failed}", "/jobs?class=nothing", ask, "/nowhere"],
            ),
            "trouble": (Server(trouble.folder), [*pages, "/jobs/1", "/jobs?limit=25&since=nonsense", ask]),
            "read-only": (Server(trouble.folder, "--read-only"), ["/", "/jobs/1"]),
        }
        for server, _ in started.values():
            stack.callback(server.stop)
        yield {name: (server.url, paths) for name, (server, paths) in started.items()}


def in_trouble(project: Project) -> None:
    """Let everything be as bad, and as long, as it can be."""
    project.configure(classes=f"app.{LONG}.Job")
    for number in range(60):
        params = {"text": "no spaces at all " * 20, "unbroken": "x" * 400, "number": number}
        run_background_job(f"app.{LONG}.Job", "execute", params, priority=10**17)
    project.sql(
        "UPDATE custom_jobs SET status = 'failed', error = ?, finished_at = updated_at WHERE id < 40",
        ("Err" * 200 + ": " + "why " * 300,),
    )
    project.sql(
        "INSERT INTO attempts (job_id, attempt, outcome, finished_at, error, traceback, output)"
        " VALUES (1, 1, 'raised', '2026-11-24 10:00:00.000000', ?, ?, ?)",
        ("Err" * 200, "\n".join("  " + "deep " * 60 for _ in range(300)), "printed" * 300),
    )
    project.sql(
        "INSERT INTO alarms (kind, raised_at, told) VALUES ('no tick', '2026-11-24 10:00:00.000000', ?)",
        ("cron " * 40,),
    )
    project.sql(
        "INSERT INTO pause (id, since, who, reason) VALUES (1, '2026-11-24 10:00:00.000000', 'ann', ?)", ("z" * 200,)
    )
    project.sql(
        "INSERT INTO runners (pid, process, version, lingers, started, last_seen, completed, failed)"
        " VALUES (4242, '1 1', '0.1.0', 1, '2026-11-24 10:00:00.000000', '2026-11-24 10:00:00.000000', 9876543, 9876)"
    )


STATES = ("none", "few", "trouble", "read-only")


@pytest.mark.parametrize("state", STATES)
def test_every_page_is_for_everybody(
    sites: dict[str, tuple[str, list[str]]], visit: Callable[..., Visitor], state: str
) -> None:
    url, paths = sites[state]
    visitor = visit(url, color_scheme="light")
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

    found = []
    for path in paths:
        open_page(visitor, path)
        visitor.page.evaluate(AXE_SCRIPT)
        looks: tuple[tuple[int, Literal["light", "dark"], dict[str, object]], ...] = (
            (1440, "light", {"type": "tag", "values": tags}),
            (360, "light", {"type": "tag", "values": tags}),
            (360, "dark", {"type": "rule", "values": ["color-contrast"]}),  # all that its colours can break
            (1440, "dark", {"type": "rule", "values": ["color-contrast"]}),
        )
        for width, scheme, only in looks:
            visitor.page.set_viewport_size({"width": width, "height": 900})
            visitor.page.emulate_media(color_scheme=scheme)
            options = {"resultTypes": ["violations"], "runOnly": only}
            violations = visitor.page.evaluate(LOOK, arg=options)
            found += [
                f"{path} {width} {scheme}: {violation['id']}: {node['html'][:160]}"
                for violation in violations
                for node in violation["nodes"][:2]
            ]

    assert not found, "\n".join(found)


@pytest.mark.parametrize("state", STATES)
def test_no_page_is_wider_than_its_window(
    sites: dict[str, tuple[str, list[str]]], visit: Callable[..., Visitor], state: str
) -> None:
    url, paths = sites[state]
    visitor = visit(url)

    wide = []
    for path in paths:
        open_page(visitor, path)
        for width in WIDTHS:
            visitor.page.set_viewport_size({"width": width, "height": 900})
            if visitor.page.evaluate(OVERFLOW) > 0:
                wide.append((path, width))

    assert wide == []


def open_page(visitor: Visitor, path: str) -> None:
    if path == "/nowhere":
        with visitor.page.expect_console_message():
            visitor.page.goto(path)
        visitor.wrong.clear()  # the browser's own word about the 404
    else:
        visitor.page.goto(path)
    if path == "/health":  # its checks are made meanwhile
        expect(visitor.page.get_by_text(re.compile(r"\d+ checks, made"))).to_be_visible(timeout=30_000)


def test_text_that_is_twice_as_large_needs_no_sideways_scrolling(
    sites: dict[str, tuple[str, list[str]]], visit: Callable[..., Visitor]
) -> None:
    url, paths = sites["few"]
    # 200 % on a screen of 1280 pixels.
    visitor = visit(url, viewport={"width": 640, "height": 450}, device_scale_factor=2)

    wide = []
    for path in paths:
        open_page(visitor, path)
        for size in ("", "30px"):  # as zoomed, and with a larger font besides
            visitor.page.evaluate("(size) => { document.documentElement.style.fontSize = size; }", arg=size)
            if visitor.page.evaluate(OVERFLOW) > 0:
                wide.append((path, size))

    assert wide == []


def test_colours_are_those_that_a_person_asked_the_system_for(
    sites: dict[str, tuple[str, list[str]]], visit: Callable[..., Visitor]
) -> None:
    page = visit(sites["few"][0]).page
    page.goto("/")

    def brightness(scheme: Any) -> float:
        page.emulate_media(color_scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert brightness("light") > 230
    assert brightness("dark") < 30


def test_a_thumb_reaches_everything_on_a_phone(
    sites: dict[str, tuple[str, list[str]]], visit: Callable[..., Visitor]
) -> None:
    url, paths = sites["few"]
    visitor = visit(url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)

    missed = []
    for path in paths:
        open_page(visitor, path)
        missed += [(path, each) for each in visitor.page.evaluate(MISSED)]

    assert missed == []


# What can be tapped is at least 24 pixels high (WCAG 2.2, 2.5.8; links within a sentence are exempt), and on top there.
MISSED = """() => {
    const missed = [];
    for (const it of document.querySelectorAll("button, .button, input:not([type=hidden]), select, summary, nav a")) {
        if (!it.checkVisibility() || it.disabled) continue;
        it.scrollIntoView({ block: "center", inline: "center" });
        const { left, top, width, height } = (it.closest("label") || it).getBoundingClientRect();
        const own = it.getBoundingClientRect();
        const hit = document.elementFromPoint(own.left + own.width / 2, own.top + own.height / 2);
        if (!hit || !(it.contains(hit) || hit.contains(it))) missed.push(`covered: ${it.outerHTML.slice(0, 90)}`);
        if (height < 24 || width < 19) missed.push(`${width} x ${height}: ${it.outerHTML.slice(0, 90)}`);
    }
    return missed;
}"""


def test_a_keyboard_is_enough(project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]) -> None:
    queue(project, 3, status="failed", error="KeyError: 'to'")
    page = visit(serve().url).page
    page.goto("/jobs")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    box = page.get_by_role("link", name="Skip to the content").bounding_box()
    assert box is not None
    assert box["height"] > 20  # it shows itself
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    order = []
    while True:
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        order.append(focused.get_attribute("aria-label") or focused.get_attribute("name") or focused.inner_text())
        assert focused.evaluate("(it) => getComputedStyle(it).outlineStyle") != "none", order
        if order[-1] == "Tick job 2":
            break
    assert order == [
        *("all", "pending 0", "processing 0", "completed 0", "failed 3", "cancelled 0"),
        *("class", "text", "sort", "More filters", "Filter"),
        *("requeue…", "cancel…", "delete…"),
        *("Jobs", "Tick all on this page", "Tick job 3", "3", "Tick job 2"),
    ]
    page.keyboard.press("Space")
    expect(page.get_by_role("checkbox", name="Tick job 2")).to_be_checked()
    named(page, "Requeue").focus()
    page.keyboard.press("Enter")

    expect(page.get_by_text("Requeued: 1 job.")).to_be_visible()
    assert project.jobs() == [(1, "failed"), (2, "pending"), (3, "failed")]


def test_nothing_moves_where_motion_is_unwelcome(
    sites: dict[str, tuple[str, list[str]]], visit: Callable[..., Visitor]
) -> None:
    page = visit(sites["few"][0], reduced_motion="reduce").page

    for path in sites["few"][1][:3]:
        page.goto(path)
        assert page.evaluate("document.getAnimations().length") == 0
        moving = "[...document.querySelectorAll('*')].filter((it) => getComputedStyle(it).animationName !== 'none')"
        assert page.evaluate(f"{moving}.length") == 0


def test_all_works_without_script(
    project: Project, serve: Callable[..., Server], visit: Callable[..., Visitor]
) -> None:
    queue(project, 30, status="failed", name="mail", error="KeyError: 'to'")
    queue(project, 30, name="report")
    page = visit(serve().url, java_script_enabled=False).page

    page.goto("/")
    expect(page.locator("#refresh")).to_be_hidden()
    page.get_by_role("link", name="failed 30").click()
    page.get_by_label("In params or error").fill("mail-7")
    named(page, "Filter").click()
    expect(rows(page)).to_have_count(1)
    page.get_by_role("checkbox", name="Tick job 7").check()
    named(page, "Requeue").click()
    expect(page.get_by_text("Requeued: 1 job.")).to_be_visible()
    expect(page.get_by_label("In params or error")).to_have_value("mail-7")
    page.get_by_role("link", name="Clear").click()
    page.get_by_role("link", name="Older →").click()
    assert ids(page) == list(range(10, 0, -1))
    expect(page.get_by_role("checkbox", name="Tick all on this page")).to_have_count(0)
    page.get_by_role("checkbox", name="Tick job 4", exact=True).check()
    named(page, "Delete").click()
    expect(page.get_by_role("heading", name="Delete job 4?")).to_be_visible()
    named(page, "Delete").click()
    expect(page.get_by_text("Deleted: 1 job.")).to_be_visible()
    page.get_by_role("link", name="cancel…").click()
    named(page, "Cancel 31 jobs").click()
    expect(page.get_by_text("Cancelled: 31 jobs.")).to_be_visible()

    page.get_by_role("link", name="Overview").click()
    page.get_by_label("Reason").fill("deploy")
    named(page, "Pause the queue").click()
    expect(page.locator("#notices")).to_contain_text("deploy. No job starts until it is resumed.")
    named(page, "Resume").click()
    expect(named(page, "Resume")).to_have_count(0)
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_text(re.compile(r"\d+ checks, made"))).to_be_visible(timeout=30_000)  # it reloads itself
    named(page, "Look again").click()
    expect(page.get_by_role("heading", name="Health")).to_be_visible()


def test_the_top_of_each_page_tells_what_is_wrong(
    sites: dict[str, tuple[str, list[str]]], visit: Callable[..., Visitor]
) -> None:
    url, paths = sites["trouble"]
    visitor = visit(url)

    for path in paths:
        open_page(visitor, path)
        expect(visitor.page.get_by_role("alert").filter(has_text="No tick has ever come,")).to_be_in_viewport()
        expect(visitor.page.get_by_role("alert").filter(has_text="Alarm.")).to_be_in_viewport()
        expect(visitor.page.get_by_text("No job starts until it is resumed.")).to_be_visible()


def test_a_dashboard_that_only_shows_has_no_buttons_that_act(
    sites: dict[str, tuple[str, list[str]]], visit: Callable[..., Visitor]
) -> None:
    url, _ = sites["read-only"]
    page = visit(url).page

    for path in ("/", "/jobs", "/jobs/1"):
        page.goto(path)
        expect(page.locator("form[method=post]")).to_have_count(0)
        expect(page.get_by_role("checkbox")).to_have_count(0)
        expect(page.get_by_text("read-only")).to_be_visible()
