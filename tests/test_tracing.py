"""Spans of OpenTelemetry: one trace from the process that queues to the worker, with the real SDK in both."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import sql, tracing
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Project

# Each process writes its spans into spans.<name>, a line each.
SET_UP = """
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

def set_up(name, processor=SimpleSpanProcessor, **options):
    exporter = ConsoleSpanExporter(
        out=open(f"spans.{name}", "a", buffering=1), formatter=lambda span: span.to_json(indent=None) + "\\n"
    )
    provider = TracerProvider()
    provider.add_span_processor(processor(exporter, **options))
    trace.set_tracer_provider(provider)
"""
BOOT = "from app.telemetry import set_up\nset_up('worker')\n"
LATE = "from app.telemetry import *\nset_up('worker', BatchSpanProcessor, schedule_delay_millis=3_600_000)\n"
JOBS = """
import sys, time
from bgjob import GiveUp, RetryLater, run_background_job

class Rude(Exception):
    def __str__(self):
        sys.exit("no text")

class Job:
    def execute(self):
        from opentelemetry import trace
        with trace.get_tracer("app").start_as_current_span("inner"):
            pass
    def fail(self):
        raise ValueError("no good")
    def be_rude(self):
        raise Rude
    def stay(self):
        time.sleep(60)
    def later(self):
        raise RetryLater(3600, "closed")
    def give_up(self):
        raise GiveUp("gone")
    def queue(self):
        run_background_job("app.jobs.Job")
    def look(self):
        with open("loaded", "w") as file:
            file.write(str("opentelemetry.trace" in sys.modules))
"""
QUEUE = """
from app.telemetry import *
from bgjob import *
set_up("app")
with trace.get_tracer("app").start_as_current_span("request"):
    {}
"""
JOB = "app.jobs.Job.execute"


@pytest.fixture
def traced(project: Project) -> Project:
    project.configure(
        "boot: app.boot\nmax_retries: 0\ntimeout: 10s",
        methods="execute, fail, be_rude, stay, later, give_up, queue, look",
    )
    project.write_jobs(JOBS)
    project.write_jobs(SET_UP, module="telemetry")
    project.write_jobs(BOOT, module="boot")
    return project


def queue(project: Project, *calls: str) -> None:
    project.python(QUEUE.format("\n    ".join(calls)))


def spans(project: Project, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in project.trace(f"spans.{name}")]


def one(project: Project, name: str, span: str) -> dict[str, Any]:
    [found] = [one for one in spans(project, name) if one["name"] == span]
    return found


def test_the_trace_of_a_request_goes_on_in_the_worker(traced: Project) -> None:
    queue(traced, "run_background_job('app.jobs.Job')")

    traced.tick()

    request, queued = one(traced, "app", "request"), one(traced, "app", f"queue {JOB}")
    ran, inner = one(traced, "worker", f"run {JOB}"), one(traced, "worker", "inner")
    assert queued["parent_id"] == request["context"]["span_id"]
    assert ran["parent_id"] == queued["context"]["span_id"]
    assert inner["parent_id"] == ran["context"]["span_id"]
    assert len({span["context"]["trace_id"] for span in (request, queued, ran, inner)}) == 1
    assert [link["context"]["span_id"] for link in ran["links"]] == [queued["context"]["span_id"]]
    assert (queued["kind"], ran["kind"]) == ("SpanKind.PRODUCER", "SpanKind.CONSUMER")
    common = {"messaging.system": "bgjob", "messaging.destination.name": JOB, "messaging.message.id": "1"}
    sent = {"messaging.operation.name": "queue", "messaging.operation.type": "send"}
    processed = {"messaging.operation.name": "run", "messaging.operation.type": "process", "bgjob.attempt": 1}
    assert queued["attributes"] == common | sent
    assert ran["attributes"] == common | processed
    assert ran["status"] == {"status_code": "UNSET"}


@pytest.mark.parametrize(
    "call",
    [
        "run_background_jobs(['app.jobs.Job', ('app.jobs.Job', 'look')])",
        "run_background_job('app.jobs.Job', connection=mine)",
        "run_background_jobs(['app.jobs.Job'] * 2, connection=mine)",
        "from app.jobs import Job; queue_job(Job.execute)",
    ],
)
def test_every_way_of_queueing_carries_the_context(traced: Project, call: str) -> None:
    traced.python("from bgjob import run_background_job; run_background_job('app.jobs.Job')")

    queue(traced, "import sqlite3", "mine = sqlite3.connect('storage/jobs.sqlite3')", call, "mine.commit()")

    [queued] = [span for span in spans(traced, "app") if span["name"].startswith("queue ")]
    trace, span = queued["context"]["trace_id"][2:], queued["context"]["span_id"][2:]
    contexts = [context for (context,) in traced.jobs("context")[1:]]
    assert contexts
    assert {context[:-2] for context in contexts} <= {f"00-{trace}-{span}-"}
    assert queued["attributes"].get("messaging.batch.message_count", 1) == len(contexts)


def test_what_a_job_queues_belongs_to_the_same_trace(traced: Project) -> None:
    queue(traced, "run_background_job('app.jobs.Job', 'queue')")

    traced.tick()

    outer, inner = one(traced, "worker", "run app.jobs.Job.queue"), one(traced, "worker", f"run {JOB}")
    queued = one(traced, "worker", f"queue {JOB}")
    assert (queued["parent_id"], inner["parent_id"]) == (outer["context"]["span_id"], queued["context"]["span_id"])
    assert inner["context"]["trace_id"] == one(traced, "app", "request")["context"]["trace_id"]


def test_without_a_span_nothing_is_carried_and_a_worker_that_is_set_up_begins_a_trace(traced: Project) -> None:
    traced.python("from app.telemetry import *\nset_up('app')\nimport bgjob; bgjob.run_background_job('app.jobs.Job')")

    traced.tick()

    assert traced.jobs("context, status") == [(None, "completed")]
    assert spans(traced, "app") == []
    ran = one(traced, "worker", f"run {JOB}")
    assert (ran["parent_id"], ran["links"]) == (None, [])


def test_an_app_that_does_not_use_it_loads_nothing_of_it(traced: Project) -> None:
    traced.write_jobs("", module="boot")

    loaded = traced.python(
        "import sys, bgjob\nbgjob.run_background_job('app.jobs.Job', 'look')\n"
        "print([name for name in sys.modules if 'opentelemetry' in name or name == 'bgjob.tracing'])"
    )
    traced.tick()

    assert loaded.stdout.strip() == "[]"
    assert (traced.folder / "loaded").read_text() == "False"


@pytest.mark.parametrize(
    ("method", "kind", "message"),
    [("fail", "builtins.ValueError", "no good"), ("give_up", "bgjob.errors.GiveUp", "gone")],
)
def test_an_error_is_recorded_with_the_span_of_each_attempt(
    traced: Project, method: str, kind: str, message: str
) -> None:
    retries = 1 if method == "fail" else 0
    traced.configure(f"boot: app.boot\nmax_retries: {retries}", methods=method)
    queue(traced, f"run_background_job('app.jobs.Job', {method!r})")

    traced.tick()

    attempts = [span for span in spans(traced, "worker") if span["name"].startswith("run ")]
    assert [span["attributes"]["bgjob.attempt"] for span in attempts] == list(range(1, retries + 2))
    queued = one(traced, "app", f"queue app.jobs.Job.{method}")
    assert {span["parent_id"] for span in attempts} == {queued["context"]["span_id"]}
    for span in attempts:
        assert (span["status"]["status_code"], span["attributes"]["error.type"]) == ("ERROR", kind)
        [event] = span["events"]
        assert event["attributes"]["exception.message"] == message
        assert "jobs.py" in event["attributes"]["exception.stacktrace"]


def test_a_time_out_is_an_error_and_a_job_that_puts_itself_off_is_none(traced: Project) -> None:
    traced.configure("boot: app.boot\nmax_retries: 0\ntimeout: 0.2s", methods="stay, later")
    queue(traced, "run_background_job('app.jobs.Job', 'stay')", "run_background_job('app.jobs.Job', 'later')")

    traced.tick()

    stayed, later = one(traced, "worker", "run app.jobs.Job.stay"), one(traced, "worker", "run app.jobs.Job.later")
    assert stayed["attributes"]["error.type"] == "bgjob.errors.JobTimeout"
    assert stayed["status"]["status_code"] == "ERROR"
    assert later["attributes"]["bgjob.verdict"] == "postponed"
    assert (later["status"], later["events"]) == ({"status_code": "UNSET"}, [])


def test_an_exception_that_exits_when_it_is_asked_for_its_text_ends_as_ever(traced: Project) -> None:
    queue(traced, "run_background_job('app.jobs.Job', 'be_rude')", "run_background_job('app.jobs.Job')")

    traced.tick()

    assert traced.jobs() == [(1, "failed"), (2, "completed")]
    assert one(traced, "worker", "run app.jobs.Job.be_rude")["status"]["status_code"] == "ERROR"


def test_spans_that_an_exporter_holds_back_go_out_before_the_worker_ends(traced: Project) -> None:
    traced.write_jobs(LATE, module="boot")
    queue(traced, *["run_background_job('app.jobs.Job')"] * 3)

    traced.tick()

    assert len([span for span in spans(traced, "worker") if span["name"] == f"run {JOB}"]) == 3


def test_spans_that_an_exporter_holds_back_go_out_when_a_worker_has_nothing_to_do(traced: Project) -> None:
    traced.write_jobs(LATE, module="boot")
    tick = traced.start_tick("--linger", "60")

    queue(traced, "run_background_job('app.jobs.Job')")

    wait_until(lambda: spans(traced, "worker"))
    assert tick.poll() is None


HANGS = """
import time
from app.telemetry import *
class Hangs(SpanProcessor):
    def force_flush(self, timeout_millis=30000):
        time.sleep(60)
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(Hangs())
"""
RAISES = (
    HANGS
    + """
def raise_error(*_, **__):
    raise RuntimeError("broken exporter")
Hangs.on_start = Hangs.on_end = Hangs.force_flush = raise_error
"""
)


@pytest.mark.slow
def test_an_exporter_that_hangs_holds_a_worker_up_for_two_seconds_only(traced: Project) -> None:
    traced.write_jobs(HANGS, module="boot")
    queue(traced, "run_background_job('app.jobs.Job')")
    before = time.monotonic()

    traced.tick()

    assert traced.jobs() == [(1, "completed")]
    assert tracing.SECONDS_TO_FLUSH <= time.monotonic() - before < 30


def test_an_exporter_that_raises_is_no_trouble_of_the_job_or_of_its_queueing(traced: Project) -> None:
    traced.write_jobs(RAISES, module="boot")
    traced.python(
        "from app.telemetry import *\nfrom bgjob import run_background_job as queue\n"
        "parent = trace.NonRecordingSpan(trace.SpanContext(1, 1, False, trace.TraceFlags(1)))\n"
        "import app.boot\n"
        "with trace.use_span(parent): queue('app.jobs.Job', 'look')"
    )

    traced.tick()

    assert traced.jobs("status") == [("completed",)]
    assert traced.log(errors=True) == ""


@pytest.mark.parametrize("context", ["nonsense", "", "00-0-0-0", "00-" + "f" * 10_000])
def test_a_context_that_somebody_wrote_into_the_row_harms_nothing(traced: Project, context: str) -> None:
    traced.python("from bgjob import run_background_job; run_background_job('app.jobs.Job')")
    traced.sql("UPDATE custom_jobs SET context = ?", (context,))

    traced.tick()

    assert traced.jobs() == [(1, "completed")]
    assert one(traced, "worker", f"run {JOB}")["parent_id"] is None


def test_a_worker_without_the_package_runs_the_job_all_the_same(traced: Project) -> None:
    queue(traced, "run_background_job('app.jobs.Job', 'look')")
    traced.write_jobs("import sys\nsys.modules['opentelemetry'] = None\n", module="boot")

    traced.tick()

    assert traced.jobs() == [(1, "completed")]
    assert (traced.folder / "loaded").read_text() == "False"


def test_a_queue_of_an_older_bgjob_gets_the_column(traced: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from bgjob import run_background_job

    older = next(number for number, scripts in enumerate(sql.MIGRATIONS) if any("context" in one for one in scripts))
    monkeypatch.setattr(sql, "MIGRATIONS", sql.MIGRATIONS[:older])
    run_background_job("app.jobs.Job")

    queue(traced, "run_background_job('app.jobs.Job')")

    assert [context is None for (context,) in traced.jobs("context")] == [True, False]
