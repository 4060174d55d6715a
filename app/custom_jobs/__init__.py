"""The jobs of the example app, under the names that config/jobs.yaml approves."""

from __future__ import annotations

from app.custom_jobs.example_job import ExampleJob
from app.custom_jobs.flaky_job import FlakyJob
from app.custom_jobs.report_job import ReportJob

__all__ = ["ExampleJob", "FlakyJob", "ReportJob"]
