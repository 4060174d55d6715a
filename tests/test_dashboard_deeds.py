"""What is done from the pages: to ticked jobs, to all that match, and to the queue; and what is left alone."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import sqlite3
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import clock, wake
from bgjob.dashboard import deeds
from bgjob.dashboard.pages import matching
from bgjob.store import byhand, connection
from tests.test_store_connection import file_system
from tests.visitor import Element, Page, Visitor, add, look, make_database, one_of_each

if TYPE_CHECKING:
    from tests.conftest import Project

AT = "2026-11-24 12:00:00.000000"
PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED = range(1, 6)  # the ids of one_of_each


def statuses(project: Project) -> dict[int, str]:
    return dict(project.jobs())


def told(visitor: Visitor, place: str) -> str:
    """Return what the page to which a deed leads says of it."""
    page = visitor.get(place)
    assert page.status == 200
    found = re.search(r'good" role="status">([^<]*)<', page.text)
    return found[1] if found else ""


# Ticked


@pytest.mark.parametrize(
    ("verb", "done"),
    [
        ("requeue", {FAILED: "pending", CANCELLED: "pending"}),
        ("cancel", {PENDING: "cancelled"}),
        ("delete", {PENDING: None, COMPLETED: None, FAILED: None, CANCELLED: None}),
        ("run now", {PENDING: "pending"}),
    ],
)
def test_it_is_done_to_the_ticked_jobs_whose_status_allows_it(
    project: Project, verb: str, done: dict[int, str | None]
) -> None:
    one_of_each(project)
    before = statuses(project)
    visitor = look(project)
    ids = [("id", number) for number in (1, 2, 3, 4, 5, 99, 1)]

    answer = visitor.post("/jobs", [("verb", verb), ("sure", 1), *ids, ("back", "/jobs?status=failed")])

    expected = {number: done.get(number, status) for number, status in before.items()}
    assert statuses(project) == {number: status for number, status in expected.items() if status}
    assert answer.headers["location"].startswith("/jobs?status=failed&did=")
    said = told(visitor, answer.headers["location"])
    assert f"{len(done)} job" in said
    assert f"{6 - len(done)} job" in said


def test_what_was_done_is_logged_as_from_the_command_line(project: Project) -> None:
    one_of_each(project)
    visitor = look(project)

    for verb, number in (("requeue", FAILED), ("cancel", PENDING), ("delete", COMPLETED)):
        visitor.post("/jobs", {"verb": verb, "id": number, "sure": 1})

    assert [line.split(" ", 2)[2] for line in project.log().splitlines()] == [
        "INFO requeue job=4 class=app.jobs.Job method=execute status=pending before=failed",
        "INFO cancel job=1 class=app.jobs.Job method=execute status=cancelled before=pending",
        "INFO delete job=3 class=app.jobs.Job method=execute before=completed",
    ]


def test_deleting_asks_first_and_then_leads_to_the_list(project: Project) -> None:
    one_of_each(project)
    visitor = look(project)

    asked = visitor.post("/jobs", {"verb": "delete", "id": FAILED, "back": f"/jobs/{FAILED}"})

    assert (asked.status, len(statuses(project))) == (200, 5)
    page = Page(asked.text)
    [(form, fields)] = [each for each in page.forms if each[0].attributes["method"] == "post"]
    answer = visitor.post(str(form.attributes["action"]), sent_by(fields))
    assert FAILED not in statuses(project)
    assert answer.headers["location"] == "/jobs?did=delete&n=1&left=0"


def test_run_now_makes_a_job_due_that_waits(project: Project) -> None:
    add(project, {"available_at": "2099-01-01 00:00:00.000000", "retry_count": 2})

    look(project).post("/jobs", {"verb": "run now", "id": 1})

    assert project.jobs("status, available_at, retry_count") == [("pending", None, 0)]


@pytest.mark.parametrize(
    "form",
    [
        {}, {"verb": "burn", "id": 4}, {"id": 4}, {"verb": "requeue", "id": "x"}, {"verb": "requeue", "id": "-4"},
        {"verb": "requeue", "id": "04"}, {"verb": "requeue", "id": "\uff14"}, {"verb": "requeue", "id": " 4"},
        {"verb": "requeue", "id": 2**63}, {"verb": "requeue", "id": "4 OR 1"}, {"verb": "Requeue", "id": 4},
    ],
)  # fmt: skip
def test_a_form_that_can_not_be_read_does_nothing(project: Project, form: dict[str, Any]) -> None:
    one_of_each(project)
    before = statuses(project)

    assert look(project).post("/jobs", form).status == 400
    assert statuses(project) == before


def test_nothing_ticked_is_nothing_done(project: Project) -> None:
    one_of_each(project)

    assert look(project).post("/jobs", {"verb": "delete", "sure": 1}).headers["location"].endswith("n=0&left=0")


def test_a_job_that_changed_since_it_was_seen_is_left_alone(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    one_of_each(project)
    whole = byhand.ByHand.find

    def find(store: byhand.ByHand, job_id: int) -> Any:
        seen = whole(store, job_id)
        project.sql("UPDATE custom_jobs SET status = 'completed' WHERE id = ?", (job_id,))
        return seen

    monkeypatch.setattr(byhand.ByHand, "find", find)

    answer = look(project).post("/jobs", {"verb": "requeue", "id": FAILED})

    assert answer.headers["location"].endswith("did=requeue&n=0&left=1")
    assert statuses(project)[FAILED] == "completed"


def test_many_ticked_jobs_are_done_in_transactions_of_a_bounded_length(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deeds, "AT_ONCE", 7)
    add(project, *({"status": "failed", "started_at": AT, "finished_at": AT} for _ in range(20)))
    lengths: list[int] = []
    whole = byhand.ByHand._changed

    def watched(store: byhand.ByHand, statement: str, jobs: list[Any], now: dt.datetime) -> list[Any]:
        lengths.append(len(jobs))
        return whole(store, statement, jobs, now)

    monkeypatch.setattr(byhand.ByHand, "_changed", watched)

    look(project).post("/jobs", [("verb", "requeue"), *[("id", number) for number in range(1, 21)]])

    assert lengths == [7, 7, 6]


# All that match


KINDS = [
    {"status": status, "job_class": name, "priority": priority, "error": error, "updated_at": at, "started_at": AT,
     "finished_at": AT}
    for status in ("failed", "completed", "cancelled")
    for name in ("a.A", "b.B")
    for priority in (0, 5)
    for error, at in (("ValueError: x", "2026-11-24 10:00:00.000000"), ("KeyError: y", "2026-11-24 11:30:00.000000"))
]  # fmt: skip


@pytest.fixture
def many(project: Project) -> Visitor:
    add(project, *KINDS, {"job_class": "a.A"}, {"job_class": "b.B"})
    return look(project)


def sent_by(fields: list[Element]) -> list[tuple[str, object]]:
    """Return what a browser sends of a form."""
    return [
        (str(field.attributes["name"]), field.attributes["value"]) for field in fields if "name" in field.attributes
    ]


def asked_and_done(visitor: Visitor, query: str) -> str:
    """Ask, send the form that comes, as it comes; return where it leads."""
    page = Page(visitor.get(f"/jobs/matching?{query}").text)
    [(form, fields)] = [each for each in page.forms if each[0].attributes["action"] == "/jobs/matching"]
    assert any(field.tag == "button" for field in fields)
    answer = visitor.post(str(form.attributes["action"]), sent_by(fields))
    assert answer.status == 303
    return answer.headers["location"]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("verb=requeue", "status = 'failed'"),
        ("verb=requeue&status=cancelled", "status = 'cancelled'"),
        ("verb=cancel", "status = 'pending'"),
        ("verb=cancel&class=a.A", "status = 'pending' AND job_class = 'a.A'"),
        ("verb=delete", "status IN ('completed', 'failed', 'cancelled')"),
        ("verb=delete&status=pending", "status = 'pending'"),
        ("verb=delete&status=completed&class=b.B&priority=5",
         "status = 'completed' AND job_class = 'b.B' AND priority = 5"),
        ("verb=requeue&error=KeyError", "status = 'failed' AND error LIKE 'KeyError%'"),
        ("verb=requeue&text=valueerror", "status = 'failed' AND error LIKE 'ValueError%'"),
        ("verb=delete&since=1h", "updated_at >= '2026-11-24 11:00' AND finished_at IS NOT NULL"),
        ("verb=delete&until=2026-11-24T11:00Z", "updated_at <= '2026-11-24 11:00' AND finished_at IS NOT NULL"),
        ("verb=requeue&method=execute&priority=-9223372036854775808", "0"),
    ],
)  # fmt: skip
def test_it_is_done_to_all_that_match_and_to_no_other(
    project: Project, many: Visitor, frozen: None, query: str, where: str
) -> None:
    del frozen
    expected = {number for (number,) in project.sql(f"SELECT id FROM custom_jobs WHERE {where}")}  # noqa: S608
    before = statuses(project)

    if expected:
        told = urllib.parse.parse_qs(asked_and_done(many, query).partition("?")[2])
        assert (told["n"], told["left"]) == ([str(len(expected))], ["0"])
    else:
        assert "<button class" not in many.get(f"/jobs/matching?{query}").text

    after = statuses(project)
    assert {number for number in before if after.get(number) != before[number]} == expected


@pytest.fixture
def frozen() -> Any:
    thaw = clock.freeze(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC))
    yield
    thaw()


@pytest.mark.parametrize(
    "query",
    ["verb=requeue&priority=x", "verb=requeue&since=rubbish", "verb=delete&status=odd", "verb=delete&sort=odd", "verb=",
     "verb=run+now", "status=failed"],
)  # fmt: skip
def test_filters_that_can_not_be_read_do_nothing_rather_than_more(project: Project, many: Visitor, query: str) -> None:
    before = statuses(project)

    assert many.get(f"/jobs/matching?{query}").status == 400
    assert many.post("/jobs/matching", urllib.parse.parse_qsl(query + "&upto=999")).status == 400
    assert statuses(project) == before


@pytest.mark.parametrize("upto", ["", "0", "-1", "x", "\uff11\uff10", None])
def test_without_the_number_up_to_which_it_was_asked_nothing_is_done(
    project: Project, many: Visitor, upto: str | None
) -> None:
    before = statuses(project)

    many.post("/jobs/matching", {"verb": "delete", **({"upto": upto} if upto is not None else {})})

    assert statuses(project) == before


@pytest.mark.parametrize("upto", [2**63 - 1, 2**63, 10**19 - 1])
def test_a_number_beyond_all_jobs_means_all(project: Project, many: Visitor, upto: int) -> None:
    many.post("/jobs/matching", {"verb": "delete", "upto": upto, "after": upto})

    assert set(statuses(project).values()) == {"pending"}


def test_jobs_that_came_after_it_was_asked_are_not_touched(project: Project, many: Visitor) -> None:
    last = len(statuses(project))
    add(project, KINDS[0])

    many.post("/jobs/matching", {"verb": "requeue", "upto": last})

    assert statuses(project)[last + 1] == "failed"
    assert list(statuses(project).values()).count("failed") == 1


@pytest.mark.parametrize("verb", ["delete", "requeue"])
def test_jobs_that_came_to_match_after_it_was_asked_are_not_touched(project: Project, verb: str) -> None:
    add(project, KINDS[0], {"job_class": "a.A"})
    visitor = look(project)
    page = Page(visitor.get(f"/jobs/matching?verb={verb}&status=failed").text)
    assert f"{verb.capitalize()} 1 job?" in page.said
    [(_, fields)] = [each for each in page.forms if each[0].attributes["action"] == "/jobs/matching"]
    project.sql("UPDATE custom_jobs SET status = 'failed', updated_at = ? WHERE id = 2", (clock.to_text(clock.now()),))

    answer = visitor.post("/jobs/matching", sent_by(fields))

    assert "n=1&" in answer.headers["location"]
    assert statuses(project)[2] == "failed"


def test_a_span_is_counted_from_when_it_was_asked(project: Project) -> None:
    """Else what has become old enough only since would go, too, though it was not counted."""
    add(project, *({**KINDS[0], "updated_at": f"2026-11-24 {time}:00.000000"} for time in ("10:00", "11:30")))
    visitor = look(project)
    thaw = clock.freeze(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC))
    try:
        page = Page(visitor.get("/jobs/matching?verb=delete&until=1h").text)
    finally:
        thaw()
    assert "Delete 1 job?" in page.said
    [(_, fields)] = [each for each in page.forms if each[0].attributes["action"] == "/jobs/matching"]
    thaw = clock.freeze(dt.datetime(2026, 11, 24, 13, tzinfo=dt.UTC))
    try:
        answer = visitor.post("/jobs/matching", sent_by(fields))
    finally:
        thaw()

    assert statuses(project) == {2: "failed"}
    assert "until=1h" in answer.headers["location"]


def test_it_says_why_nothing_can_be_done(project: Project, many: Visitor) -> None:
    page = Page(many.get("/jobs/matching?verb=cancel&status=failed").text)

    assert "Cancel takes pending jobs, and this filter finds failed ones only." in page.said
    before = statuses(project)
    many.post("/jobs/matching", {"verb": "cancel", "status": "failed", "upto": 99})
    assert statuses(project) == before


def test_after_its_time_is_over_it_tells_how_far_it_has_come_and_asks_again(
    project: Project, many: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byhand, "AT_ONCE", 3)
    monkeypatch.setattr(deeds, "AT_ONCE", 3)
    monkeypatch.setattr(deeds, "_SECONDS", -1.0)

    place = asked_and_done(many, "verb=requeue&class=a.A")

    assert place.startswith("/jobs/matching?")
    assert told(many, place) == "Requeued: 3 jobs."
    assert "Requeue 1 job?" in Page(many.get(place).text).said
    assert asked_and_done(many, place.partition("?")[2]) == "/jobs?class=a.A&did=requeue&n=1&left=0"
    assert set(project.sql("SELECT job_class FROM custom_jobs WHERE status = 'failed'")) == {("b.B",)}


def test_counting_stops_when_its_time_is_over_and_says_so(many: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_STRETCH", 2)
    looks = iter(range(10_000))
    monkeypatch.setattr(clock, "monotonic", lambda: next(looks) / 50)

    page = Page(many.get("/jobs/matching?verb=delete").text)

    assert re.search(r"Delete more than \d+ jobs\?", page.said)
    assert "Delete them" in page.said


# The queue


def test_pausing_and_resuming_are_done_and_logged_with_who_did_it(project: Project) -> None:
    make_database(project)
    visitor = look(project)
    visitor.environ["REMOTE_USER"] = "ann"

    assert visitor.post("/pause", {"reason": "a\r\ndeploy\u202e" + "x" * 500}).headers["location"] == "/"
    [(who, reason)] = project.sql("SELECT who, reason FROM pause")
    assert (who, len(reason), reason[:8]) == ("ann (dashboard)", 200, "a deploy")
    assert "Paused by ann (dashboard)" in Page(visitor.get("/").text).said
    assert visitor.post("/resume").headers["location"] == "/"

    assert project.sql("SELECT * FROM pause") == []
    lines = project.log().splitlines()
    assert [re.findall(r"INFO (\w+) who=(\"[^\"]*\")", line) for line in lines] == [
        [("pause", '"ann (dashboard)"')], [("resume", '"ann (dashboard)"')],
    ]  # fmt: skip


def test_nobody_is_named_but_the_user_under_whom_the_server_runs(project: Project) -> None:
    make_database(project)

    look(project).post("/pause")

    [(who,)] = project.sql("SELECT who FROM pause")
    assert re.fullmatch(r"\S+ \(dashboard\)", who)


def test_pruning_takes_old_finished_jobs_and_tells_how_many(project: Project) -> None:
    old = {"created_at": AT, "updated_at": AT, "started_at": AT, "finished_at": "2020-01-01 00:00:00.000000"}
    add(project, *({**old, "status": status} for status in ("completed", "failed")), {"job_class": "a.A"})
    visitor = look(project)

    place = visitor.post("/prune").headers["location"]

    assert told(visitor, place) == "Pruned: 2 jobs."
    assert statuses(project) == {3: "pending"}
    assert re.search(r"INFO prune .*\(dashboard\)", project.log())


@pytest.mark.parametrize(
    ("address", "form"),
    [("/jobs", {"verb": "requeue", "id": FAILED}), ("/jobs", {"verb": "run now", "id": PENDING}), ("/pause", {}),
     ("/resume", {})],
)  # fmt: skip
def test_a_runner_that_lingers_is_woken(
    project: Project, address: str, form: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one_of_each(project)
    woken: list[str] = []
    monkeypatch.setattr(wake, "ping", woken.append)

    look(project).post(address, form)

    assert woken == [os.path.realpath(project.database)]


# What goes wrong


DEEDS: list[tuple[str, dict[str, Any]]] = [
    ("/jobs", {"verb": "requeue", "id": FAILED}), ("/jobs/matching", {"verb": "requeue", "upto": 9}), ("/pause", {}),
    ("/prune", {}), ("/jobs", {"verb": "delete", "id": FAILED, "sure": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("address", "form"), DEEDS)
def test_a_database_that_another_program_has_locked_is_told_after_a_while(
    project: Project, address: str, form: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one_of_each(project)
    add(project, {"status": "completed", "started_at": AT, "finished_at": "2020-01-01 00:00:00.000000"})
    monkeypatch.setattr(connection, "PATIENCE", 0.05)
    monkeypatch.setattr(connection, "PATIENCE_WITH_OURSELVES", 0.05)

    with contextlib.closing(sqlite3.connect(project.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = look(project).post(address, form)
        assert look(project).get("/").status == 200

    assert (answer.status, "locked" in answer.text) == (503, True)
    assert statuses(project)[FAILED] == "failed"


def test_a_full_and_a_read_only_file_system_are_told(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    project.database.parent.mkdir()
    with file_system(project.database.parent) as remount:
        one_of_each(project)
        visitor = look(project)
        filler = project.database.parent / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 512):
                pass
        full = [visitor.post(*deed) for deed in DEEDS[:3]]
        assert [answer.status for answer in full] == [503] * 3
        assert all("full" in answer.text or "space" in answer.text for answer in full)
        assert visitor.get("/").status in (200, 503)
        filler.unlink()
        remount("ro")
        assert [visitor.get(address).status for address in ("/", "/jobs", "/jobs/4")] == [200] * 3
        assert [visitor.post(*deed).status for deed in DEEDS[:3]] == [503] * 3
        remount("rw")
        assert visitor.post(*DEEDS[0]).status == 303

    assert "bug" not in caplog.text


def test_logs_that_can_not_be_written_undo_nothing_and_are_told_to_the_server(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    one_of_each(project)
    logs = project.folder / "storage" / "logs"
    if logs.exists():
        logs.rmdir()
    logs.write_text("a file in its place")

    assert look(project).post("/jobs", {"verb": "requeue", "id": FAILED}).status == 303
    assert statuses(project)[FAILED] == "pending"
    assert str(logs) in caplog.text


def test_another_programs_database_is_left_as_it_is(project: Project) -> None:
    project.database.parent.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(project.database)) as other:
        other.execute("CREATE TABLE custom_jobs (id INTEGER, mine TEXT)")
    before = project.database.read_bytes()
    visitor = look(project)

    for address, form in DEEDS:
        assert visitor.post(address, form).status == 503
    assert visitor.get("/").status == 503
    assert project.database.read_bytes() == before
