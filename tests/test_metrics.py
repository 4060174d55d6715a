"""The figures for Prometheus: what they say, read back by its own client, and the file in which they are kept."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bgjob import clock
from bgjob.metrics import Metric, Sample, text
from bgjob.store.connection import Database
from bgjob.store.upkeep import Upkeep
from tests.conftest import CODE, wait_until
from tests.test_readme import table
from tests.test_status import bgjob

if TYPE_CHECKING:
    from tests.conftest import Project

JOBS = """
import os, time
from bgjob import RetryLater

class Job:
    def execute(self, **params):
        if params.get("fail"):
            raise ValueError("no good")
        if params.get("later"):
            raise RetryLater(3600, "closed")
        if params.get("die"):
            os._exit(3)
        time.sleep(params.get("last", 0))
class Other(Job): pass
"""
Figures = dict[tuple[str, ...], float]


@pytest.fixture
def measured(project: Project) -> Project:
    project.configure(
        "max_retries: 1\nmax_crashes: 1\ntimeout: 0.2s\nmetrics_file: storage/jobs.prom",
        classes="app.jobs.Job, app.jobs.Other",
    )
    project.write_jobs(JOBS)
    return project


def queue(project: Project, *arguments: str, job_class: str = "app.jobs.Job") -> None:
    calls = "\n".join(f"queue({job_class!r}, {one})" for one in arguments)
    project.python(f"from bgjob import run_background_job as queue\n{calls}")


def read_back(told: str) -> Figures:
    """Return each number by its name and the values of its labels."""
    samples = [sample for family in text_string_to_metric_families(told) for sample in family.samples]
    figures = {(sample.name, *sample.labels.values()): sample.value for sample in samples}
    assert len(figures) == len(samples)
    return figures


def in_file(project: Project) -> Figures:
    return read_back((project.folder / "storage" / "jobs.prom").read_text())


def test_a_tick_leaves_the_figures_of_the_queue_in_the_file(measured: Project) -> None:
    queue(measured, "", "params={'fail': True}", "params={'die': True}", "params={'last': 60}", "delay=3600")
    queue(measured, "params={'later': True}")
    queue(measured, "", "", job_class="app.jobs.Other")
    measured.sql("INSERT INTO custom_jobs (job_class, method) VALUES ('os.Nothing', 'execute')")
    measured.sql("INSERT INTO custom_jobs (job_class, method, status) VALUES ('a.B', 'execute', 'cancelled')")

    measured.tick()

    figures = in_file(measured)
    counts = {key[1]: value for key, value in figures.items() if key[0] == "bgjob_jobs"}
    assert counts == {"pending": 2, "processing": 0, "completed": 3, "failed": 4, "cancelled": 1}
    assert figures["bgjob_jobs_completed_total", "app.jobs.Job"] == 1
    assert figures["bgjob_jobs_completed_total", "app.jobs.Other"] == 2
    assert figures["bgjob_jobs_failed_total", "app.jobs.Job"] == 3
    assert figures["bgjob_jobs_failed_total", "not approved"] == 1
    failed = {key[2]: value for key, value in figures.items() if key[:2] == ("bgjob_attempts_failed_total", JOB)}
    assert failed == {"raised": 2, "timed out": 2, "crashed": 1}
    assert figures["bgjob_attempt_duration_seconds_count", JOB] == 7
    assert figures["bgjob_attempts_postponed_total", JOB] == 1
    assert 0.4 <= figures["bgjob_attempt_duration_seconds_sum", JOB] < 5
    assert figures["bgjob_attempts_failed_total", "not approved", "raised"] == 1
    assert (figures["bgjob_jobs_due",], figures["bgjob_oldest_due_age_seconds",]) == (0, 0)
    assert (figures["bgjob_workers",], figures["bgjob_paused",]) == (1, 0)
    assert abs(figures["bgjob_last_tick_timestamp_seconds",] - clock.now().timestamp()) < 60


JOB = "app.jobs.Job"


def test_the_command_tells_what_waits_and_what_is_wrong(measured: Project) -> None:
    queue(measured, "", "")
    long_ago = clock.to_text(clock.now() - dt.timedelta(minutes=10))
    measured.sql("UPDATE custom_jobs SET created_at = :then, updated_at = :then WHERE id = 1", {"then": long_ago})
    measured.sql("INSERT INTO alarms (kind, raised_at, told) VALUES ('no tick', :then, 'silence')", {"then": long_ago})
    bgjob(measured, "pause")

    figures = read_back(bgjob(measured, "metrics").stdout)

    assert figures["bgjob_jobs_due",] == 2
    assert 600 <= figures["bgjob_oldest_due_age_seconds",] < 660
    assert figures["bgjob_paused",] == 1
    assert figures["bgjob_alarm_open", "no tick"] == 1
    assert figures["bgjob_alarm_open", "overdue"] == 0
    assert ("bgjob_last_tick_timestamp_seconds",) not in figures


def test_a_job_that_was_requeued_is_due_since_then(measured: Project) -> None:
    queue(measured, "")
    measured.sql("UPDATE custom_jobs SET created_at = '2026-01-01 00:00:00.000000', status = 'cancelled'")

    bgjob(measured, "requeue", "1")

    assert read_back(bgjob(measured, "metrics").stdout)["bgjob_oldest_due_age_seconds",] < 60


def test_a_time_that_is_none_costs_no_other_figure(measured: Project) -> None:
    queue(measured, "")
    measured.sql_unchecked("UPDATE custom_jobs SET updated_at = X'00'")

    assert read_back(bgjob(measured, "metrics").stdout)["bgjob_jobs", "pending"] == 1


def test_counters_never_fall(measured: Project) -> None:
    queue(measured, "", "params={'fail': True}")
    measured.tick()
    before = in_file(measured)

    bgjob(measured, "prune", "--older-than", "0", "--yes")
    database = Database(str(measured.database))
    upkeep = Upkeep(database, keep=dict.fromkeys(("completed", "failed", "cancelled"), 0.0))
    while upkeep.step(clock.now() + dt.timedelta(days=400)):
        pass
    database.close()
    queue(measured, "")
    measured.tick()

    assert measured.sql("SELECT count(*) FROM tallies WHERE span < '2026'") == [(0,)]
    after = in_file(measured)
    assert after["bgjob_jobs", "failed"] == 0
    for key, value in before.items():
        if key[0].endswith(("_total", "_sum", "_count")):
            assert after[key] >= value
    assert after["bgjob_jobs_completed_total", JOB] == 2
    assert after["bgjob_jobs_failed_total", JOB] == 1


def test_a_tick_with_nothing_to_do_tells_that_it_came(measured: Project) -> None:
    queue(measured, "")
    measured.tick()
    before = in_file(measured)["bgjob_last_tick_timestamp_seconds",]
    queue(measured, "delay=3600")

    measured.tick()

    figures = in_file(measured)
    assert figures["bgjob_last_tick_timestamp_seconds",] > before
    assert figures["bgjob_jobs", "pending"] == 1


OFTEN = "from bgjob import house, tick\nhouse._METRICS_EVERY = 0.1\ntick.main(__file__)\n"


def test_a_runner_that_lingers_writes_now_and_then(measured: Project) -> None:
    measured.runner.write_text(OFTEN)
    queue(measured, "")
    tick = measured.start_tick("--linger", "60")
    wait_until((measured.folder / "storage" / "jobs.prom").exists)

    queue(measured, "", job_class="app.jobs.Other")

    wait_until(lambda: in_file(measured)["bgjob_jobs_completed_total", "app.jobs.Other"] == 1)
    assert tick.poll() is None


def test_the_file_is_replaced_whole_with_the_mode_of_the_umask_and_nothing_is_left_beside_it(measured: Project) -> None:
    path = measured.folder / "storage" / "jobs.prom"
    queue(measured, "")
    before = os.umask(0o027)
    try:
        measured.tick()
        first = path.stat()
        measured.tick()
    finally:
        os.umask(before)

    assert path.stat().st_ino != first.st_ino
    assert first.st_mode & 0o777 == 0o640
    assert [name.name for name in path.parent.iterdir() if "prom" in name.name] == ["jobs.prom"]


@pytest.mark.parametrize("place", ["missing/jobs.prom", "app/jobs.prom"])
def test_a_file_that_cant_be_written_costs_a_line_in_the_log_and_nothing_else(measured: Project, place: str) -> None:
    measured.runner.write_text(OFTEN)
    (measured.folder / "app" / "jobs.prom").mkdir()
    measured.configure(f"linger: 1\nmetrics_file: {place}")
    queue(measured, "")

    tick = measured.tick()

    assert measured.jobs() == [(1, "completed")]
    assert tick.stderr == ""
    [line] = measured.log(errors=True).splitlines()
    assert f"metrics_file: {measured.folder}/{place} can't be written" in line
    assert [path.name for path in (measured.folder / "app").iterdir() if "new" in path.name] == []


def test_an_idle_tick_logs_it_too_if_the_file_cant_be_written(measured: Project) -> None:
    measured.configure("metrics_file: missing/jobs.prom")
    queue(measured, "delay=3600")
    measured.tick()
    measured.sql("UPDATE housekeeping SET swept_at = :now", {"now": clock.to_text(clock.now())})
    before = measured.log(errors=True).count("\n")

    assert measured.tick().stderr == ""

    assert measured.log(errors=True).count("\n") == before + 1


def test_labels_have_no_more_values_than_there_are_approved_classes(measured: Project) -> None:
    queue(measured, "")
    for number in range(20):
        measured.sql("INSERT INTO custom_jobs (job_class, method) VALUES (?, 'execute')", (f"no.Such{number}",))
    measured.sql("INSERT INTO tallies (span, job_class, completed) VALUES ('total', 'no.longer.Approved', 7)")

    measured.tick()

    classes = {key[1] for key in in_file(measured) if key[0] == "bgjob_jobs_failed_total"}
    assert classes == {"app.jobs.Job", "app.jobs.Other", "not approved"}
    assert in_file(measured)["bgjob_jobs_failed_total", "not approved"] == 20


def test_whatever_stands_in_a_label_comes_back() -> None:
    odd = 'quote " backslash \\ \\n line\nbreak ü {a="b"}'

    told = text([Metric("bgjob_odd", "gauge", "Odd.", [Sample(1.5, {"label": odd}), Sample(1e300, {"label": ""})])])

    assert read_back(told) == {("bgjob_odd", odd): 1.5, ("bgjob_odd", ""): 1e300}


def test_the_command_tells_the_same_as_one_document(measured: Project) -> None:
    queue(measured, "")
    measured.tick()

    document = json.loads(bgjob(measured, "metrics", "--json").stdout)

    told = {
        (sample["name"], *sample["labels"].values()): sample["value"]
        for metric in document["metrics"]
        for sample in metric["samples"]
    }
    assert (document["exists"], told) == (True, in_file(measured))


def test_where_no_job_was_ever_queued_the_command_prints_a_comment(measured: Project) -> None:
    plain = bgjob(measured, "metrics").stdout
    document = json.loads(bgjob(measured, "metrics", "--json").stdout)

    assert plain.startswith("# no job was ever queued")
    assert read_back(plain) == {}
    assert (document["exists"], document["metrics"]) == (False, [])
    assert not measured.database.exists()


def test_the_page_names_every_figure_with_its_kind_and_labels(measured: Project) -> None:
    queue(measured, "")
    measured.tick()
    families = list(text_string_to_metric_families(bgjob(measured, "metrics").stdout))

    told = {
        (name, kind, tuple(re.findall(r"\w+", labels)))
        for name, kind, labels, _ in table(CODE / "docs" / "monitoring.md", "figure")
    }

    suffixes = {"counter": "_total"}
    assert told == {
        (f"{family.name}{suffixes.get(family.type, '')}", family.type, tuple(family.samples[0].labels))
        for family in families
    }
