"""Calls that type checkers must let through; tests/test_typing.py asks them."""

from __future__ import annotations

import datetime as dt
from typing import assert_type

import bgjob
from bgjob import Attempt, Job, Progress, QueueJob, get_job, jobs, queue_job, run_background_job


class ReportJob:
    def build(self, month: str, sheets: int = 3, *, draft: bool = False) -> str:
        return f"{month} {sheets} {draft}"

    def execute(self) -> None: ...

    async def fetch(self, url: str) -> bytes:
        return url.encode()

    def sheets(self, /, *names: str, **widths: int) -> None: ...

    @staticmethod
    def static(month: str, *, draft: bool = False) -> None: ...

    @classmethod
    def made(cls, month: str) -> None: ...


class MonthJob(ReportJob): ...


assert_type(queue_job(ReportJob.build, month="2026-11"), Job)
queue_job(ReportJob.build, "2026-11", 4, draft=True)
queue_job(ReportJob.execute)
queue_job(ReportJob.fetch, url="https://example.org")
queue_job(ReportJob().build, month="2026-11")
queue_job(MonthJob().build, month="2026-11", sheets=2)
queue_job(ReportJob.sheets, "a", "b")
queue_job(ReportJob.sheets, a=1, self=2)
queue_job(ReportJob.static, month="2026-11")
queue_job(ReportJob.static, "2026-11", draft=True)
queue_job(ReportJob.made, month="2026-11")

urgent = queue_job.with_options(priority=10, delay="5m")
assert_type(urgent, QueueJob)
urgent(ReportJob.build, month="2026-11")
urgent.with_options(at=dt.datetime.now(dt.UTC))(ReportJob.execute)
queue_job.with_options(delay=dt.timedelta(minutes=5))(ReportJob.execute)
queue_job.with_options(delay=0.5)(ReportJob.execute)

found = get_job(1)
assert_type(found, Job | None)
if found is not None:
    assert_type(found.id, int)
    assert_type(found.available_at, dt.datetime | None)
    assert_type(found.attempts, list[Attempt])
    assert_type(found.progress, Progress | None)
assert_type(jobs(status="failed", job_class=ReportJob, since=dt.timedelta(hours=1)), list[Job])
assert_type(run_background_job(ReportJob, "build", {"month": "2026-11"}), bool)
assert_type(bgjob.queue_job(ReportJob.execute).params_json, str | None)

# What types can't tell: self and the first param of a method that has its self already look alike. Queueing refuses it.
queue_job(ReportJob().build)
