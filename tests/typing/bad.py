"""Calls that type checkers must refuse: each line with `# wrong`, and no other; tests/test_typing.py asks them."""

from __future__ import annotations

from bgjob import get_job, jobs, queue_job


class ReportJob:
    def build(self, month: str, sheets: int = 3, *, draft: bool = False) -> None: ...

    def execute(self) -> None: ...

    def sheets(self, /, *names: str, **widths: int) -> None: ...

    @staticmethod
    def static(month: str, sheets: int) -> None: ...

    @classmethod
    def made(cls, month: str) -> None: ...


queue_job(ReportJob.biuld, month="2026-11")  # wrong
queue_job(ReportJob.build)  # wrong
queue_job(ReportJob.build, mont="2026-11")  # wrong
queue_job(ReportJob.build, month=11)  # wrong
queue_job(ReportJob.build, month="2026-11", colour="red")  # wrong
queue_job(ReportJob.build, "2026-11", 3, True)  # wrong
queue_job(ReportJob.build, "2026-11", month="2026-11")  # wrong
queue_job(ReportJob.build, month="2026-11", priority=5)  # wrong
queue_job(ReportJob.execute, 1)  # wrong
queue_job(ReportJob.sheets, 1)  # wrong
queue_job(ReportJob.sheets, a="1")  # wrong
queue_job(ReportJob().build, month=11)  # wrong
queue_job(ReportJob().build, mont="2026-11")  # wrong
queue_job(ReportJob.static, month="2026-11")  # wrong
queue_job(ReportJob.static, month="2026-11", sheets="3")  # wrong
queue_job(ReportJob.made, month=11)  # wrong
queue_job("app.custom_jobs.ReportJob", month="2026-11")  # wrong
queue_job.with_options(urgent=True)  # wrong
queue_job.with_options(priority="high")  # wrong
queue_job.with_options(10)  # wrong
queue_job.with_options(at="tomorrow")  # wrong
queue_job.with_options(priority=1)(ReportJob.build)  # wrong
get_job("1")  # wrong
get_job(1).status  # wrong
jobs("failed")  # wrong
jobs(since="2h")  # wrong
job = queue_job(ReportJob.execute)
job.identity  # wrong
job.params = None  # wrong
job.status = "completed"  # wrong
for attempt in job.attempts:
    attempt.output = None  # wrong
