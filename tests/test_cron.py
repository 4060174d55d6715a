"""A real cron: the lines of crontab.example and of `bgjob install-cron` start ticks that run jobs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bgjob import clock, run_background_job
from bgjob.config import read_config
from bgjob.views.doctor import examination
from bgjob.views.doctor.finding import NOTE
from tests.conftest import CODE, Project, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# What `bgjob doctor` finds of a cron that works.
DOCTOR_LOOKS = {"ticks_come", "something_starts_ticks", "lines_can_work", "classes_can_be_imported", "one_python"}
SECONDS = 90  # cron looks once a minute, at its full minute
EXAMPLE = CODE / "crontab.example"
JOBS = """
import os

class Job:
    def execute(self):
        with open("/proc/%d/cmdline" % parent_of(os.getppid())) as file:
            grandparent = file.read().split(chr(0))[0]
        with open("trace", "a") as file:
            file.write(f"{os.environ['PATH']}|{grandparent}\\n")

def parent_of(pid):
    return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
"""


def give_up(lacking: str) -> None:
    """Skip on a developer's machine; in CI, where a skip would go unseen, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(lacking)
    pytest.skip(lacking)


@pytest.fixture
def cron() -> Iterator[None]:
    """A cron daemon that runs while the test does: one of our own, unless there is one already."""
    if not shutil.which("crontab") or not shutil.which("cron", path=f"{os.environ['PATH']}:/usr/sbin"):
        give_up("no cron here: install it (Debian and Ubuntu: apt install cron)")
    if os.geteuid() != 0:
        give_up("only root can start a cron daemon: run this test as root, in a container for example")
    daemon = subprocess.Popen(["/usr/sbin/cron", "-f"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        daemon.terminate()
        daemon.wait()


@pytest.fixture
def install() -> Iterator[Callable[[str], None]]:
    """A function that adds lines to the crontab of the current user, which afterwards is again what it was."""
    before = subprocess.run(["crontab", "-l"], check=False, capture_output=True)
    yield lambda lines: write_crontab(before.stdout + lines.encode())
    if before.returncode == 0:
        write_crontab(before.stdout)
    else:
        subprocess.run(["crontab", "-r"], check=False, capture_output=True)


def write_crontab(content: bytes) -> None:
    subprocess.run(["crontab", "-"], input=content, check=True)


def example_line() -> str:
    """Return the one line of crontab.example that starts something."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.strip() and not re.match(r"\s*#|\w+\s*=", line)]
    return line


def test_the_example_starts_the_runner_each_minute_in_its_own_folder_with_its_own_python() -> None:
    fields = example_line().split(None, 5)

    assert fields[:5] == ["*"] * 5
    assert fields[5] == "cd /srv/app && .venv/bin/python background_runner.py"
    assert EXAMPLE.read_bytes().endswith(b"\n")


@pytest.mark.slow
@pytest.mark.usefixtures("cron")
def test_a_tick_that_cron_started_completes_the_job_and_install_cron_sees_its_own_come(
    project: Project, install: Callable[[str], None], tmp_path: Path
) -> None:
    """One test, for it takes a minute, and there is only one crontab."""
    other = Project(tmp_path / "100 % 'odd' $HOME")
    project.write_jobs(JOBS)
    (project.folder / ".venv").symlink_to(sys.prefix)
    run_background_job("app.jobs.Job")

    install(f'MAILTO=""\nPYTHONPATH={CODE}\n' + example_line().replace("/srv/app", str(project.folder)) + "\n")
    command = [sys.executable, "-m", "bgjob", "install-cron"]
    installed = subprocess.run(command, cwd=other.folder, env=other.environment(), check=False, capture_output=True)

    assert re.search(rb"\nthe first tick came after \d+ s, as user \w+ with /", installed.stdout), installed
    assert other.database.exists()
    wait_until(lambda: project.jobs() == [(1, "completed")], limit=SECONDS)
    ((path, _, grandparent),) = [line.partition("|") for line in project.trace()]
    assert path == "/usr/bin:/bin"
    assert grandparent.endswith(("sh", "cron", "CRON"))
    assert "complete job=1" in project.log()
    told = examination.examine(read_config(str(project.folder / "config" / "jobs.yaml")), clock.now())
    assert [each for each in told if each.check in DOCTOR_LOOKS and each.finding.severity != NOTE] == []
