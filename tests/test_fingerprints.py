"""Who uses a queue leaves a fingerprint: rarely, without a secret, and without disturbing a job."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import clock, fingerprint
from bgjob.config import read_config
from bgjob.store.connection import Database
from bgjob.store.fingerprints import leave
from tests.conftest import CODE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import Project

JOB = "class Job:\n    def execute(self):\n        pass\n"
QUEUE = "from bgjob import run_background_job as queue; queue('app.jobs.Job')"
LONG_AGO = "2026-01-01 00:00:00.000000"


@pytest.fixture(autouse=True)
def job(project: Project) -> None:
    project.write_jobs(JOB)


def queue(project: Project, source: str = QUEUE, **more: str) -> None:
    subprocess.run([sys.executable, "-c", source], check=True, cwd=project.folder, env=project.environment(**more))


def sides(project: Project) -> list[str]:
    return [side for (side,) in project.sql("SELECT side FROM fingerprints ORDER BY side, digest")]


def facts(project: Project, side: str) -> dict[str, Any]:
    [(found,)] = project.sql("SELECT facts FROM fingerprints WHERE side = ?", (side,))
    read: dict[str, Any] = json.loads(found)
    return read


def test_who_queues_and_a_tick_each_leave_theirs_and_in_the_same_surroundings_these_are_the_same(
    project: Project,
) -> None:
    queue(project)
    project.tick()

    [queued, ticked] = project.sql("SELECT side, digest, facts FROM fingerprints ORDER BY side")
    assert (queued[0], ticked[0]) == ("queueing", "tick")
    assert queued[1:] == ticked[1:]
    told = facts(project, "tick")
    assert told["python"] == sys.executable
    assert told["real_path"] == os.path.realpath(project.database)
    assert told["inode"] == [project.database.stat().st_dev, project.database.stat().st_ino]
    assert told["umask"] == f"{current_umask():04o}"
    assert (told["uid"], told["bgjob_at"]) == (os.geteuid(), str(CODE / "bgjob"))
    assert told["filesystem"]


def current_umask() -> int:
    umask = os.umask(0o022)
    os.umask(umask)
    return umask


def test_what_differs_makes_another_fingerprint(project: Project) -> None:
    queue(project)
    queue(project, TZ="Asia/Tokyo")
    queue(project, f"import os; os.umask(0o077); {QUEUE}")
    project.configure(methods="execute, other")
    queue(project)

    assert sides(project) == ["queueing"] * 4


def test_no_value_of_a_variable_that_may_be_secret_lands_in_the_database(project: Project) -> None:
    value = "a-value-of-mine"
    queue(project, API_TOKEN=value, DATABASE_URL=f"postgres://me:{value}@host/db")

    told = facts(project, "queueing")
    stored = b"".join(path.read_bytes() for path in project.database.parent.glob("jobs.sqlite3*") if path.is_file())
    assert len(told["hashed"]["API_TOKEN"]) == 4
    assert b"API_TOKEN" in stored
    assert value.encode() not in stored


def test_what_differs_in_each_session_or_process_makes_no_new_one(project: Project) -> None:
    queue(project, SSH_CLIENT="1", OLDPWD="/x", XDG_SESSION_ID="1", REQUEST_ID="1", RUN="1")
    queue(project, SSH_CLIENT="2", OLDPWD="/y", XDG_SESSION_ID="2", REQUEST_ID="2", RUN="2")

    assert sides(project) == ["queueing"]
    assert {"SSH_CLIENT", "OLDPWD", "XDG_SESSION_ID", "REQUEST_ID"} & facts(project, "queueing")[
        "hashed"
    ].keys() == set()


def test_it_is_written_again_only_after_an_hour(project: Project) -> None:
    queue(project)
    recently = clock.to_text(clock.now() - dt.timedelta(minutes=59))
    project.sql("UPDATE fingerprints SET last_seen = ?", (recently,))

    queue(project)
    [(kept,)] = project.sql("SELECT last_seen FROM fingerprints")
    project.sql("UPDATE fingerprints SET last_seen = ?, first_seen = ?", (LONG_AGO, LONG_AGO))
    queue(project)
    [(first, last)] = project.sql("SELECT first_seen, last_seen FROM fingerprints")

    assert kept == recently
    assert first == LONG_AGO
    assert last > recently


def test_a_process_looks_once_a_day(project: Project) -> None:
    queue(
        project,
        "import freezegun, sqlite3\n"
        "from bgjob import run_background_job, run_background_jobs\n"
        "def left(): return sqlite3.connect('storage/jobs.sqlite3').execute('SELECT * FROM fingerprints').fetchall()\n"
        "def empty():\n"
        "    with sqlite3.connect('storage/jobs.sqlite3') as database: database.execute('DELETE FROM fingerprints')\n"
        "with freezegun.freeze_time('2026-05-01 12:00') as time:\n"
        "    run_background_job('app.jobs.Job'); assert left(); empty()\n"
        "    run_background_job('app.jobs.Job'); assert not left()\n"
        "    time.tick(23 * 3600)\n"
        "    run_background_jobs(['app.jobs.Job']); assert not left()\n"
        "    time.tick(3600)\n"
        "    run_background_jobs(['app.jobs.Job']); assert left()\n",
    )


def test_a_forked_process_leaves_its_own(project: Project) -> None:
    queue(
        project,
        f"import os; {QUEUE}\npid = os.fork()\n"
        "if not pid: os.umask(0o027); queue('app.jobs.Job'); os._exit(0)\nassert os.waitpid(pid, 0)[1] == 0",
    )

    assert sides(project) == ["queueing", "queueing"]


def test_a_job_that_queues_is_no_side_of_its_own(project: Project) -> None:
    project.configure(methods="execute, other")
    project.write_jobs(
        "from bgjob import run_background_job\n"
        "class Job:\n    def execute(self): run_background_job(Job, 'other')\n    def other(self): pass\n"
    )
    queue(project)
    project.sql("DELETE FROM fingerprints")

    project.tick()

    assert project.jobs("method, status") == [("execute", "completed"), ("other", "completed")]
    assert sides(project) == ["tick"]


def test_a_tick_with_nothing_due_leaves_one_and_an_idle_one_or_one_for_a_single_job_leaves_none(
    project: Project,
) -> None:
    project.tick()
    assert sides(project) == ["tick"]
    queue(project)
    project.sql("DELETE FROM fingerprints")

    project.tick("--job", "1")
    project.tick()

    assert project.jobs() == [(1, "completed")]
    assert sides(project) == []


def test_a_queue_without_the_table_works_as_before(project: Project) -> None:
    queue(project)
    project.sql("DROP TABLE fingerprints")

    queue(project)
    project.tick()

    assert project.jobs() == [(1, "completed"), (2, "completed")]


def test_it_waits_for_no_other_writer(project: Project) -> None:
    config = read_config(str(project.folder / "config" / "jobs.yaml"))
    writer, other = Database(config.database), Database(config.database)
    mark = fingerprint.take(config)

    with writer.transaction():
        before = clock.monotonic()
        was_left = leave(other, fingerprint.QUEUEING, mark, clock.now())
        took = clock.monotonic() - before
    is_left = leave(other, fingerprint.QUEUEING, mark, clock.now())
    writer.close()
    other.close()

    assert (was_left, is_left) == (False, True)
    assert took < 1


def test_fifty_of_each_side_are_kept_the_newest(project: Project) -> None:
    config = read_config(str(project.folder / "config" / "jobs.yaml"))
    database = Database(config.database)
    started = clock.now()
    for number in range(60):
        leave(
            database,
            fingerprint.QUEUEING,
            fingerprint.Fingerprint({"number": number}),
            started + dt.timedelta(seconds=number),
        )
    leave(database, fingerprint.TICK, fingerprint.take(config), started)
    database.close()

    kept = [json.loads(text) for (text,) in project.sql("SELECT facts FROM fingerprints WHERE side = 'queueing'")]
    assert sorted(told["number"] for told in kept) == list(range(10, 60))
    assert sides(project).count("tick") == 1


def test_a_warm_queueing_process_pays_one_comparison(project: Project) -> None:
    counted = (
        "import sys, time\nfrom bgjob import run_background_job as queue\n"
        "queue('app.jobs.Job'); time.sleep(0.1); queue('app.jobs.Job')\n"
        "called = []\n"
        "sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_filename) if event == 'call' else None)\n"
        "queue('app.jobs.Job')\nsys.setprofile(None)\n"
        "assert any('intake' in name for name in called)\n"
        "assert not any('fingerprint' in name or 'mounts' in name for name in called), called\n"
    )

    queue(project, counted)


def test_every_part_of_a_fingerprint_can_be_kept_as_json(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    odd: Mapping[str, str] = {"LC_ODD": "\udcff", "ODD\udcff": "\udcff", "TZ": "x" * 10_000}
    for name, value in odd.items():
        monkeypatch.setenv(name, value)

    taken = fingerprint.take(read_config(str(project.folder / "config" / "jobs.yaml")))

    assert json.loads(json.dumps(taken.facts))["clear"]["LC_ODD"] == "\udcff"
    assert len(taken.facts["clear"]["TZ"]) == 2_000
