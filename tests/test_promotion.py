"""Delayed jobs that fall due are run in their order, also when there are too many to be made ready in one go."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from bgjob.job import Succeeded
from bgjob.store import intake, jobs
from bgjob.store.connection import Database
from bgjob.store.jobs import JobStore, Owner
from bgjob.store.runners import RunnerStore
from tests.conftest import new_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = dt.datetime(2026, 1, 31, 8, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(minutes=1)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(jobs, "READ_AT_ONCE", 10)
    monkeypatch.setattr(jobs, "PROMOTED_AT_ONCE", 4)
    database = Database(str(tmp_path / "jobs.sqlite3"))
    yield database
    database.close()


def drained(store: JobStore, owner: Owner, now: dt.datetime) -> Iterator[int]:
    """Yield what a worker would run, one after the other."""
    while True:
        if store.must_promote(now):
            store.promote(now)
        with store.transaction():
            job = store.claim(owner, now)
            if job is None:
                return
            store.complete(job, now, outcome=Succeeded(), output="")
        yield job.id


@pytest.mark.parametrize("backlog", [0, 9, 10, 11, 20, 25])
def test_every_job_of_a_large_backlog_is_run_in_its_order(database: Database, backlog: int) -> None:
    owner = Owner(RunnerStore(database).start(NOW, process="1 0 -", lingers=True), "1 0 -", 1)
    delayed = [new_job(NOW, priority=n % 3, delay=1 + n % 5) for n in range(backlog)]
    intake.enqueue(database, [*delayed, *[new_job(NOW, priority=-1)] * 3])
    expected = [job.id for job, _ in JobStore(database).due_at(LATER)]
    store = JobStore(database)

    assert list(drained(store, owner, LATER)) == expected

    # The same worker, later on: what is worse than all of the backlog is run as well, and what falls due, too.
    intake.enqueue(database, [new_job(LATER, priority=-9), new_job(LATER, priority=-9, delay=60)])
    queued = [max(expected) + 1, max(expected) + 2]
    assert list(drained(store, owner, LATER)) == queued[:1]
    assert list(drained(store, owner, LATER + dt.timedelta(minutes=1))) == queued[1:]


def test_a_job_that_falls_due_between_the_look_and_the_claim_does_not_hold_up_the_others(database: Database) -> None:
    owner = Owner(RunnerStore(database).start(NOW, process="1 0 -", lingers=True), "1 0 -", 2)
    intake.enqueue(database, [new_job(NOW, delay=60), new_job(NOW, priority=1, delay=61)])
    store = JobStore(database)
    store.promote(LATER)
    meanwhile = LATER + dt.timedelta(seconds=2)

    with store.transaction():
        assert store.claim(owner, meanwhile) is None
        job = store.claim(owner, meanwhile, due=LATER)

    assert job is not None
    assert job.id == 1
