"""The page of one job: its attempts, why it is not running yet, what can be done to it, how to queue one like it."""

from __future__ import annotations

import ast
import datetime as dt
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import clock
from bgjob.config import read_config
from bgjob.logs import Logs
from tests.visitor import Page, add, config_of, look, one_of_each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Project

AT = "2026-11-24 11:59:00.000000"


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    thaw = clock.freeze(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC))
    yield
    thaw()


def copies(text: str) -> list[str]:
    """Return the texts that are there to be copied: Python, and the command line."""
    texts, begun = [], False
    for part in text.split('<pre data-copy tabindex="0">')[1:]:
        page = Page(f"<pre>{part.partition('</pre>')[0]}</pre>")
        texts.append("".join(page.texts))
        begun = True
    assert begun
    return texts


@pytest.mark.parametrize(
    ("number", "verbs"),
    [(1, ["cancel", "delete"]), (2, []), (3, ["delete"]), (4, ["requeue", "delete"]), (5, ["requeue", "delete"]),
     (6, ["run now", "cancel", "delete"])],
)  # fmt: skip
def test_it_offers_what_can_be_done_to_the_job(project: Project, number: int, verbs: list[str]) -> None:
    one_of_each(project)
    add(project, {"available_at": "2026-11-24 12:30:00.000000"})

    page = Page(look(project).get(f"/jobs/{number}").text)

    assert [button["value"] for button in page.all("button") if button.get("name") == "verb"] == verbs


NOT_SHOWN = (
    "What mask names is not shown.",
    "They are no JSON.",
    "They are no JSON, so nothing of them is shown.",
    "in the place of •••",
)


@pytest.mark.parametrize(
    ("params", "mask", "told"),
    [('{"token": "x"}', "['*token*']", ["What mask names is not shown.", "in the place of •••"]),
     ('{"to": "ann"}', "['*token*']", []), ("not JSON", "[]", ["They are no JSON."]),
     ("not JSON", "['*token*']", ["They are no JSON, so nothing of them is shown.", "in the place of •••"])],
)  # fmt: skip
def test_it_says_what_is_not_shown(project: Project, params: str, mask: str, told: list[str]) -> None:
    project.configure(f"mask: {mask}")
    add(project, {"params": params})

    said = Page(look(project).get("/jobs/1").text).said

    assert [text for text in NOT_SHOWN if text in said] == told


def test_attempts_are_told_with_what_they_left(project: Project) -> None:
    add(
        project,
        {"status": "completed", "retry_count": 2, "started_at": AT, "finished_at": "2026-11-24 11:59:30.000000"},
    )
    for number, (outcome, verdict) in enumerate((("raised", None), ("timed out", "postponed")), 1):
        add(project, {"job_id": 1, "attempt": number, "outcome": outcome, "verdict": verdict, "started_at": AT,
                      "finished_at": AT, "error": "ValueError: no", "traceback": "Traceback\n\tline",
                      "output": "said\n"},
            table="attempts")  # fmt: skip

    said = Page(look(project).get("/jobs/1").text).said

    assert "Attempt 1 raised" in said
    assert "Attempt 2 postponed" in said
    assert "Attempt 3 succeeded after 30" in said
    assert said.count("ValueError: no") == said.count("Traceback Traceback line") == said.count("Output said") == 2


def test_the_log_lines_of_the_job_are_told_and_no_others(project: Project) -> None:
    one_of_each(project)
    look(project).post("/jobs", [("verb", "requeue"), ("id", 4), ("id", 5)])

    said = Page(look(project).get("/jobs/4").text).said

    assert "INFO requeue job=4 " in said
    assert "job=5 " not in said


@pytest.mark.parametrize(
    "params",
    [None, {}, {"to": "ann", "n": 1.5, "x": None, "y": [True]}, ["it's", "a\nb", "\u202e", '"', "$(rm)", "ü☃"], "text"],
)
def test_what_is_copied_queues_one_like_it(project: Project, params: Any) -> None:
    import json

    add(project, {"params": None if params is None else json.dumps(params), "priority": 7})

    as_python, as_command = copies(look(project).get("/jobs/1").text)

    call = ast.parse(as_python, mode="eval").body
    assert isinstance(call, ast.Call)
    arguments = [ast.literal_eval(argument) for argument in call.args]
    assert arguments == ["app.jobs.Job", "execute", *([] if params is None else [params])]
    assert [(word.arg, ast.literal_eval(word.value)) for word in call.keywords] == [("priority", 7)]
    words = shlex.split(as_command)
    assert words[:4] == ["bgjob", "queue", "app.jobs.Job", "execute"]
    assert [json.loads(word) for word in words[4:-1]] == ([] if params is None else [params])
    assert words[-1] == "--priority=7"


def test_secrets_are_shown_nowhere_on_the_page(project: Project) -> None:
    hidden = 'hunter22 "quoted"\nsecond line of it'
    import json

    add(project, {"params": json.dumps({"password": hidden, "to": "ann"}), "status": "failed", "finished_at": AT,
                  "started_at": AT, "error": f"ValueError: {hidden!r}"})  # fmt: skip
    add(project, {"job_id": 1, "attempt": 1, "outcome": "raised", "finished_at": AT, "error": f"ValueError: {hidden!r}",
                  "traceback": f"Traceback\n  login({hidden!r})", "output": hidden}, table="attempts")  # fmt: skip
    config = read_config(config_of(project))
    logs = Logs.of(config)
    logs.trouble(clock.now(), what="nothing")
    logs.close()
    line = f"2026-11-24 11:59:00.000000 ERROR fail job=1 class=a.A error={json.dumps(hidden)}\n"
    (project.folder / "storage" / "logs" / "background_jobs_errors.log").write_text(line)

    text = look(project).get("/jobs/1").text

    for part in ("hunter22", "quoted", "second line"):
        assert part not in text
    assert "ann" in text
    assert "ERROR fail job=1" in text


@pytest.mark.parametrize(
    "number", ["0", "6", "999", str(2**63 - 1), str(2**63), "9" * 19, "-1", "01", "1e3", "\uff11", "x"]
)
def test_of_a_job_that_is_not_there_it_says_so(project: Project, number: str) -> None:
    one_of_each(project)

    answer = look(project).get(f"/jobs/{number.replace(chr(0xFF11), '%EF%BC%91')}")

    assert answer.status == 404


def test_why_it_is_not_running_yet_is_told(project: Project) -> None:
    add(project, {"available_at": "2026-11-24 12:30:00.000000"}, {"job_class": "not.Approved"})
    add(project, {"id": 1, "since": AT, "who": "ann", "reason": "deploy"}, table="pause")
    visitor = look(project)

    assert "Why it is not running yet" in Page(visitor.get("/jobs/1").text).said
    assert "not.Approved" in Page(visitor.get("/jobs/2").text).said
    assert "paused by ann" in Page(visitor.get("/jobs/2").text).said
