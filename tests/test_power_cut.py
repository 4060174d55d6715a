"""A power cut at any moment: what was accepted is there, and what counts as completed was run."""

from __future__ import annotations

import random
import shutil
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

import pytest

from bgjob import enqueue, run_background_job
from tests.disk import STRACE, Call, Disk, calls
from tests.warm import Warm, in_memory, warm_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Project

JOBS = """
import os
from bgjob import run_background_job

def append(name, line):
    file = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\\n".encode())
    os.close(file)

class Job:
    def execute(self, name):
        append("trace", name)
        if name.startswith("two"):
            run_background_job("app.jobs.Job", "execute", ["queued by a job"])
            append("acks", "queued by a job")
        if name.startswith("three"):
            raise RuntimeError(name)
"""


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with warm_process() as process:
        yield process


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with in_memory() as folder:
        yield folder


class Found(NamedTuple):
    """What is in the database after a power cut."""

    queued: set[str]
    completed: set[str]


class Moments:
    """The moments after each change of the disk, and what had happened until then."""

    def __init__(self, project: Project) -> None:
        """Begin with the files as they are, all of them synced."""
        self._disk = Disk(project.folder)
        self.after = project.folder.parent / "after"
        self._dice = random.Random(project.folder.name)  # noqa: S311  # the same disks in each run
        self.accepted: set[str] = set()
        self.run: set[str] = set()
        self.number = 0
        self._sure: Found | None = None  # the same until the next sync

    def pass_by(self, seen: str) -> Iterator[None]:
        """Go through what strace has seen, from change to change."""
        for call in calls(seen):
            self._note(call)
            if self._disk.apply(call):
                self.number += 1
                if "sync" in call.name:
                    self._sure = None
                yield

    def _note(self, call: Call) -> None:
        if call.name == "write":
            name = call.texts[0].decode(errors="replace").strip()
            if call.files[0].endswith("/acks"):
                self.accepted.add(name)
            if call.files[0].endswith("/trace"):
                self.run.add(name)

    def power_cuts(self) -> Iterator[Found]:
        """Cut the power now, and yield what is found then: of what was not synced nothing is left, or a part."""
        if self._sure is None:
            self.cut_power()
            self._sure = self.found()
        yield self._sure
        if self.number % 3 == 0:
            self.cut_power(self._dice)
            yield self.found()

    def cut_power(self, dice: random.Random | None = None) -> None:
        """Leave in the folder `after` what a power cut now would leave."""
        shutil.rmtree(self.after, ignore_errors=True)
        self._disk.rebuild(self.after, dice)

    def found(self) -> Found:
        """Return what is in the database in the folder `after`."""
        path = self.after / "storage" / "jobs.sqlite3"
        if not path.exists():
            return Found(set(), set())
        connection = sqlite3.connect(path)
        try:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"moment {self.number}"
            if not connection.execute("SELECT * FROM sqlite_schema WHERE name = 'custom_jobs'").fetchall():
                return Found(set(), set())
            rows = connection.execute("SELECT json_extract(params, '$[0]'), status FROM custom_jobs").fetchall()
        finally:
            connection.close()
        return Found({name for name, _ in rows}, {name for name, status in rows if status == "completed"})


@pytest.fixture(params=["wal", "delete"])
def journal(project: Project, request: pytest.FixtureRequest) -> str:
    """The two ways in which the database writes: with a write-ahead log, and as on file systems that have none."""
    project.configure("max_retries: 2")
    project.write_jobs(JOBS)
    return str(request.param)


def prepare(project: Project, journal: str) -> None:
    """Make the database, in that journal mode, with one job in it."""
    run_background_job("app.jobs.Job", "execute", ["already there"])
    enqueue._intake._close()
    assert project.sql(f"PRAGMA journal_mode = {journal}") == [(journal,)]


NAMES = ["one", "two", f"three {'long' * 1500}", "four"]


def test_what_was_accepted_survives_a_power_cut_at_any_moment_after(project: Project, warm: Warm, journal: str) -> None:
    if journal == "delete":
        prepare(project, journal)
    moments = Moments(project)

    for some in (NAMES[:3], NAMES[3:]):  # two processes; the first one closes the database at its end
        for _ in moments.pass_by(warm.queue(project.folder, some, *STRACE).seen):
            for found in moments.power_cuts():
                assert moments.accepted <= found.queued, f"moment {moments.number}"

    assert moments.accepted == set(NAMES)
    assert moments.number > 30


def test_no_job_counts_as_completed_after_a_power_cut_that_was_not_run_and_none_is_lost(
    project: Project, warm: Warm, journal: str
) -> None:
    prepare(project, journal)
    assert warm.queue(project.folder, NAMES).code == 0
    there = {"already there", *NAMES}
    moments = Moments(project)

    for _ in moments.pass_by(warm.tick(project.folder, *STRACE).seen):
        for found in moments.power_cuts():
            assert there | moments.accepted <= found.queued, f"moment {moments.number}"
            assert found.completed <= moments.run, f"moment {moments.number}"

    assert moments.accepted == {"queued by a job"}
    assert moments.run == there | moments.accepted
    assert moments.number > 30


def test_the_queue_goes_on_after_a_power_cut(project: Project, warm: Warm, journal: str) -> None:
    prepare(project, journal)
    assert warm.queue(project.folder, NAMES).code == 0
    moments = Moments(project)

    for _ in moments.pass_by(warm.tick(project.folder, *STRACE).seen):
        if moments.number % 25 == 0:
            moments.cut_power()
            assert warm.queue(moments.after, ["afterwards"]).code == 0
            assert warm.tick(moments.after)[:2] == (0, "")
            found = moments.found()
            assert found.queued >= {"already there", "afterwards", *NAMES}
            assert found.queued - found.completed == {NAMES[2]}
