"""A queue as a small shop may have it: two days of history, jobs that run, that wait and that failed.

For pictures and for tests of the pages. All chance comes from one seed, so the same instant makes the same queue.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from bgjob import clock
from bgjob.config import read_config
from bgjob.job import ClaimedJob, Raised
from bgjob.life import LifeFile
from bgjob.logs import Logs
from bgjob.store.connection import Database
from bgjob.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOURS = 48
CONFIG = """\
approved_classes: [app.jobs.MailJob, app.jobs.ThumbnailJob, app.jobs.ImportJob, app.jobs.ReportJob]
approved_methods: [execute, rebuild]
workers: 3
"""
TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/shop/app/jobs.py", line {job_line}, in {method}
    {call}
  File "/srv/shop/app/{file}.py", line {line}, in {function}
    {code}
{error}
"""


class Kind(NamedTuple):
    """A class of jobs: its method, how many there are in an hour at noon, how long one takes, and how one fails."""

    name: str
    method: str
    an_hour: int
    seconds: float
    error: str
    where: dict[str, object]

    @property
    def traceback(self) -> str:
        """What Python would have said."""
        return TRACEBACK.format(method=self.method, error=self.error, **self.where)


KINDS = (
    Kind(
        "app.jobs.MailJob",
        "execute",
        38,
        0.4,
        "ConnectionRefusedError: [Errno 111] Connection refused",
        {
            "job_line": 14,
            "call": 'mails.send(to, subject, template="invoice")',
            "file": "mails",
            "line": 31,
            "function": "send",
            "code": "with smtplib.SMTP(HOST, 587, timeout=10) as server:",
        },
    ),
    Kind(
        "app.jobs.ThumbnailJob",
        "execute",
        21,
        1.8,
        "OSError: image file is truncated (41 bytes not processed)",
        {
            "job_line": 22,
            "call": "pictures.shrink(path, size=(320, 320))",
            "file": "pictures",
            "line": 18,
            "function": "shrink",
            "code": "image.thumbnail(size)",
        },
    ),
    Kind(
        "app.jobs.ImportJob",
        "execute",
        5,
        21.0,
        "KeyError: 'article_number'",
        {
            "job_line": 30,
            "call": "imports.read(path)",
            "file": "imports",
            "line": 57,
            "function": "read",
            "code": 'number = row["article_number"]',
        },
    ),
    Kind(
        "app.jobs.ReportJob",
        "rebuild",
        2,
        74.0,
        "ValueError: no rows for month '2026-10'",
        {
            "job_line": 38,
            "call": "reports.rebuild(month)",
            "file": "reports",
            "line": 44,
            "function": "rebuild",
            "code": 'raise ValueError(f"no rows for month {month!r}")',
        },
    ),
)
MAIL, THUMBNAIL, IMPORT, REPORT = KINDS


@contextlib.contextmanager
def shop(folder: Path, now: dt.datetime) -> Iterator[int]:
    """Make the queue in the folder as of `now`, and be its runner in the `with` block; give the id of a failed job."""
    (folder / "config").mkdir(parents=True, exist_ok=True)
    (folder / "config" / "jobs.yaml").write_text(CONFIG, encoding="utf-8")
    config = read_config(str(folder / "config" / "jobs.yaml"))
    (folder / "storage").mkdir(exist_ok=True)
    Database(config.database).close()
    with contextlib.closing(sqlite3.connect(config.database)) as connection:
        queue = _Queue(connection, now)
        with connection:
            queue.fill()
    with contextlib.closing(Logs.of(config)) as logs:
        queue.write_log(logs)
    sign = folder / "storage" / "jobs.sqlite3.tick"
    sign.touch()
    ticked = (now - dt.timedelta(seconds=7)).timestamp()
    os.utime(sign, (ticked, ticked))
    life = LifeFile(f"{config.database}.life")
    life.hold(queue.runner)
    try:
        yield queue.failed
    finally:
        life.close()


class _Queue:
    """What is written, in the order of the ids."""

    def __init__(self, connection: sqlite3.Connection, now: dt.datetime) -> None:
        self.connection = connection
        self.now = now
        self.dice = random.Random(7)  # noqa: S311  # chance that can be had again
        self.runner = 0
        self.failed = 0
        self.failures: list[dt.datetime] = []

    def fill(self) -> None:
        """Write all tables."""
        this_hour = self.now.replace(minute=0, second=0, microsecond=0)
        for ago in reversed(range(HOURS)):
            begins = this_hour - dt.timedelta(hours=ago)
            self._hour(begins, min((self.now - begins).total_seconds() / 60 - 6, 60))
        self._failed_thrice()
        self._cancelled()
        self._running()
        self._waiting()

    def write_log(self, logs: Logs) -> None:
        """Write the lines of the job that failed."""
        for attempt, finished in enumerate(self.failures):
            job = ClaimedJob(self.failed, MAIL.name, MAIL.method, None, 0, attempt, 0, self.runner, "1")
            failure = Raised(MAIL.error, MAIL.traceback)
            if finished == self.failures[-1]:
                logs.fail(job, failure, finished, duration=0.213)
            else:
                later = self.failures[attempt + 1] - dt.timedelta(seconds=3)
                logs.retry(job, failure, finished, available_at=later, duration=0.213)

    def _hour(self, begins: dt.datetime, minutes: float) -> None:
        share = max(1 - abs(begins.hour - 13) / 11, 0.12) * max(minutes, 0) / 60
        is_outage = begins.hour == 10 and self.now - begins > dt.timedelta(hours=20)  # of the mail server
        jobs = [kind for kind in KINDS for _ in range(round(kind.an_hour * share * self.dice.uniform(0.8, 1.2)))]
        places = sorted((self.dice.uniform(0, minutes), self.dice.random(), kind) for kind in jobs)
        for minute in sorted({int(place) for place, _, _ in places}):
            self._tick(begins + dt.timedelta(minutes=minute))
            here = [(place - minute, luck, kind) for place, luck, kind in places if int(place) == minute]
            for seconds, luck, kind in here:
                is_bad = luck < (0.4 if is_outage and kind is MAIL else 0.02)
                self._ended(kind, begins + dt.timedelta(minutes=minute + seconds), is_bad=is_bad)

    def _tick(self, began: dt.datetime) -> None:
        ended = began + dt.timedelta(seconds=min(0.2 + self.dice.expovariate(1 / 9), 58))
        self.runner = self._insert(
            "runners",
            pid=self.dice.randrange(20_000, 60_000),
            process="1 1",
            version=__version__,
            lingers=0,
            started=_text(began),
            last_seen=_text(ended),
            ended=_text(ended),
        )

    def _ended(self, kind: Kind, queued: dt.datetime, *, is_bad: bool) -> int:
        began = queued + dt.timedelta(seconds=self.dice.expovariate(1 / 9))
        seconds = kind.seconds * self.dice.lognormvariate(0, 0.4)
        ended = began + dt.timedelta(seconds=seconds)
        status = "failed" if is_bad else "completed"
        job = self._job(
            kind,
            queued,
            status=status,
            started_at=_text(began),
            finished_at=_text(ended),
            updated_at=_text(ended),
            error=kind.error if is_bad else None,
        )
        if is_bad:
            self._attempt(job, kind, 1, began, ended)
        self.connection.execute(f"UPDATE runners SET {status} = {status} + 1 WHERE id = ?", [self.runner])  # noqa: S608
        self._tally(kind, ended, seconds, is_bad=is_bad)
        return job

    def _failed_thrice(self) -> None:
        """A mail that failed three times; the newest failure, so that it stands on top."""
        queued = self.now - dt.timedelta(minutes=5, seconds=20)
        self.failures = [queued + dt.timedelta(seconds=seconds) for seconds in (2, 65, 190)]
        self.failed = self._job(
            MAIL,
            queued,
            status="failed",
            params=json.dumps({"to": "ann@example.org", "invoice": 4711, "smtp_password": "hunter2"}),
            retry_count=2,
            started_at=_text(self.failures[-1] - dt.timedelta(seconds=0.213)),
            finished_at=_text(self.failures[-1]),
            updated_at=_text(self.failures[-1]),
            error=MAIL.error,
        )
        for number, ended in enumerate(self.failures, 1):
            self._attempt(self.failed, MAIL, number, ended - dt.timedelta(seconds=0.213), ended)
        self._tally(MAIL, self.failures[-1], 0.6, is_bad=True)

    def _cancelled(self) -> None:
        for minutes in (4, 5):
            queued = self.now - dt.timedelta(minutes=minutes)
            self._job(IMPORT, queued, status="cancelled", finished_at=_text(queued), updated_at=_text(queued))

    def _running(self) -> None:
        self._tick(self.now - dt.timedelta(seconds=187))
        self.connection.execute("UPDATE runners SET ended = NULL, completed = 9 WHERE id = ?", [self.runner])
        for worker, (kind, seconds, fraction, told) in enumerate(
            ((REPORT, 48, 0.62, "November: 1,240 of 2,000 rows"), (IMPORT, 12, 0.35, "articles.csv, line 4,210")), 1
        ):
            began = _text(self.now - dt.timedelta(seconds=seconds))
            job = self._job(
                kind,
                self.now - dt.timedelta(seconds=seconds + 4),
                status="processing",
                started_at=began,
                updated_at=began,
                runner=self.runner,
                worker=str(worker),
            )
            self._insert("progress", job_id=job, started_at=began, fraction=fraction, text=told, updated_at=began)

    def _waiting(self) -> None:
        for seconds in (21, 16, 9):
            self._job(IMPORT, self.now - dt.timedelta(seconds=seconds))
        for minutes in (12, 45, 95, 300):
            due = self.now + dt.timedelta(minutes=minutes)
            self._job(REPORT if minutes % 2 else MAIL, self.now - dt.timedelta(hours=2), available_at=_text(due))

    def _job(self, kind: Kind, queued: dt.datetime, **more: object) -> int:
        number = self.dice.randrange(1000, 9999)
        params = {
            MAIL.name: {"to": f"customer{number}@example.org", "invoice": number},
            THUMBNAIL.name: {"path": f"uploads/2026/11/{number}.jpg"},
            IMPORT.name: {"path": f"supplier-{number % 7}/articles.csv"},
            REPORT.name: {"month": "2026-11"},
        }[kind.name]
        values = {"params": json.dumps(params), "created_at": _text(queued), "updated_at": _text(queued), **more}
        return self._insert("custom_jobs", job_class=kind.name, method=kind.method, **values)

    def _attempt(self, job: int, kind: Kind, number: int, began: dt.datetime, ended: dt.datetime) -> None:
        self._insert(
            "attempts",
            job_id=job,
            attempt=number,
            outcome="raised",
            started_at=_text(began),
            finished_at=_text(ended),
            error=kind.error,
            traceback=kind.traceback,
        )

    def _tally(self, kind: Kind, ended: dt.datetime, seconds: float, *, is_bad: bool) -> None:
        for length in (16, 13):  # its minute and its hour
            self.connection.execute(
                "INSERT INTO tallies (span, job_class, completed, failed, seconds) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET completed = completed + excluded.completed,"
                " failed = failed + excluded.failed, seconds = seconds + excluded.seconds",
                [_text(ended)[:length], kind.name, not is_bad, is_bad, seconds],
            )

    def _insert(self, table: str, **values: object) -> int:
        names, places = ", ".join(values), ", ".join(f":{name}" for name in values)
        done = self.connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", values)  # noqa: S608
        return done.lastrowid or 0


def _text(when: dt.datetime) -> str:
    return clock.to_text(when)
