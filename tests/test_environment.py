"""A tick works wherever it is started: under cron's bare environment, in odd folders, with nothing open."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bgjob import run_background_job
from tests.conftest import CODE, Project, wait_until

if TYPE_CHECKING:
    from pathlib import Path

JOBS = """
import locale, os, sys, time

def trace(text):
    with open(os.path.join(os.environ.get("TRACE", "."), "trace"), "a", encoding="utf-8") as file:
        file.write(f"{text}\\n")

class Job:
    def execute(self, text="job"):
        print("Grüße ☃")
        trace(text)

    def fail(self, text):
        raise ValueError(text)

    def wait(self):
        trace("begin")
        while not os.path.exists("go"):
            time.sleep(0.005)

    def umask(self):
        umask = os.umask(0)
        os.umask(umask)
        trace(f"{umask:03o}")
"""
BARE = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CODE)}


def make(folder: Path) -> Project:
    project = Project(folder)
    project.configure("max_retries: 0", methods="execute, fail, wait, umask")
    project.write_jobs(JOBS)
    return project


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("max_retries: 0", methods="execute, fail, wait, umask")
    project.write_jobs(JOBS)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LANG": "C"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"},
        {"HOME": "/nowhere", "TMPDIR": "/nowhere", "USER": "", "LOGNAME": "", "SHELL": "/bin/sh"},
        {"PYTHONSAFEPATH": "1"},
        {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONOPTIMIZE": "2"},
        {"TZ": "America/Lord_Howe"},
        {"TERM": "nonsense", "COLUMNS": "none", "LINES": "-5"},
    ],
    ids=lambda environment: " ".join(environment) or "nothing",
)
def test_an_environment_as_bare_as_cron_s_is_enough(project: Project, environment: dict[str, str]) -> None:
    run_background_job("app.jobs.Job", "execute", ["Grüße ☃"])
    run_background_job("app.jobs.Job", "fail", ["Grüße ☃"])

    done = project.tick(env=BARE | environment)

    assert (done.stdout, done.stderr) == ("", "")
    assert project.trace() == ["Grüße ☃"]
    assert project.jobs("status, error") == [("completed", None), ("failed", "ValueError: Grüße ☃")]
    assert project.sql("SELECT output FROM attempts WHERE job_id = 1") == [("Grüße ☃\n",)]
    assert "Grüße ☃" in project.log(errors=True)


def test_any_working_directory_will_do(project: Project) -> None:
    run_background_job("app.jobs.Job")

    project.tick(cwd="/", env=BARE | {"TRACE": str(project.folder)})

    assert project.trace() == ["job"]
    assert project.database.exists()


def test_a_working_directory_that_is_gone_will_do(project: Project) -> None:
    run_background_job("app.jobs.Job")
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$0" "$@"'

    done = subprocess.run(
        ["sh", "-c", script, sys.executable, project.runner],
        check=False,
        capture_output=True,
        text=True,
        env=BARE | {"TRACE": str(project.folder)},
        cwd=project.folder,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert project.trace() == ["job"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_will_do_and_no_print_goes_into_the_database(project: Project, closed: str) -> None:
    run_background_job("app.jobs.Job")
    run_background_job("app.jobs.Job", "fail", ["no"])

    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, project.runner, "-v"],
        check=False,
        capture_output=True,
        text=True,
        env=BARE,
        cwd=project.folder,
    )

    assert done.returncode == 0
    assert [status for _, status in project.jobs()] == ["completed", "failed"]
    assert project.sql("PRAGMA integrity_check") == [("ok",)]
    assert project.database.read_bytes().startswith(b"SQLite format 3\0")


FOLDERS = [
    "with blanks and 'quotes' \"double\"",
    "Büro für Grüße ☃",
    "per%20cent ? query # fragment & more",
    "back\\slash and $HOME `id`",
    "-v",
    "new\nline",
    os.fsdecode(b"no text \xff\xfe"),
    "deep/" * 40,
]


@pytest.mark.parametrize("name", FOLDERS, ids=ascii)
def test_odd_folders_will_do_even_in_the_c_locale(tmp_path: Path, name: str) -> None:
    project = make(tmp_path / name)
    environment = BARE | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    queue = "from bgjob import run_background_job as run; run('app.jobs.Job'); run('app.jobs.Job', 'fail', ['no'])"
    subprocess.run([sys.executable, "-c", queue], check=True, cwd=project.folder, env=environment)

    done = project.tick(env=environment)
    idle = project.tick(env=environment)

    assert (done.stdout, done.stderr, idle.stdout, idle.stderr) == ("", "", "", "")
    assert project.trace() == ["job"]
    assert [status for _, status in project.jobs()] == ["completed", "failed"]
    assert "app/jobs.py" in project.log(errors=True)
    assert (project.folder / "storage" / "jobs.sqlite3.tick").exists()


def test_a_folder_and_a_link_to_it_are_one_queue_and_one_lock(project: Project, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(project.folder)
    run_background_job("app.jobs.Job", "wait")
    run_background_job("app.jobs.Job")
    first = project.start_tick()
    wait_until(project.trace)

    project.runner = link / "background_runner.py"
    second = project.tick("-v", cwd=link)

    assert "another runner is at work" in second.stdout
    assert project.jobs() == [(1, "processing"), (2, "pending")]
    (project.folder / "go").touch()
    first.communicate(timeout=60)
    assert project.jobs() == [(1, "completed"), (2, "completed")]


def test_two_configs_of_one_database_are_one_queue_and_one_lock(project: Project, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked.sqlite3").symlink_to(project.database)
    other = make(tmp_path / "other")
    other.configure("database: ../elsewhere/linked.sqlite3", methods="execute, wait")
    run_background_job("app.jobs.Job", "wait")
    run_background_job("app.jobs.Job")
    first = project.start_tick()
    wait_until(project.trace)

    second = other.tick("-v")

    assert "another runner is at work" in second.stdout
    assert other.trace() == []
    (project.folder / "go").touch()
    first.communicate(timeout=60)
    assert project.jobs() == [(1, "completed"), (2, "completed")]


def test_a_narrow_umask_is_kept_for_files_and_jobs(tmp_path: Path) -> None:
    project = make(tmp_path / "narrow")
    project.tick(umask=0o077)
    project.sql("INSERT INTO custom_jobs (job_class, method) VALUES ('app.jobs.Job', 'umask')")
    project.sql("INSERT INTO custom_jobs (job_class, method, params) VALUES ('app.jobs.Job', 'fail', '[1]')")

    project.tick(umask=0o077)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (project.folder / "storage").rglob("*")}
    assert project.trace() == ["077"]
    assert {name for name, mode in modes.items() if mode & 0o077} == set()
    assert {"jobs.sqlite3", "jobs.sqlite3.lock", "jobs.sqlite3.life", "background_jobs.log"} <= modes.keys()


def test_few_descriptors_are_enough(project: Project) -> None:
    for _ in range(3):
        run_background_job("app.jobs.Job")

    project.tick(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)))

    assert project.trace() == ["job"] * 3


def test_code_that_may_not_be_written_is_enough(project: Project) -> None:
    run_background_job("app.jobs.Job")
    for folder in (project.folder / "app", project.folder / "config"):
        folder.chmod(0o555)

    project.tick()

    assert project.trace() == ["job"]


def test_a_tick_through_its_own_first_line_works(project: Project) -> None:
    run_background_job("app.jobs.Job")
    project.runner.write_text(f"#!{sys.executable}\n{project.runner.read_text()}")
    project.runner.chmod(0o755)

    done = subprocess.run(["./background_runner.py"], check=True, capture_output=True, cwd=project.folder, env=BARE)

    assert (done.stdout, done.stderr) == (b"", b"")
    assert project.trace() == ["job"]
