"""The options of background_runner.py, each as a person would type it, and the exit codes."""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import bgjob
from bgjob import clock, run_background_job, run_background_jobs
from bgjob.cli.arguments import parse
from bgjob.cli.run import Options
from bgjob.moments import WrongTimeError, read_time
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project

JOBS = """
import os, time

def trace(text):
    with open("trace", "a") as file:
        file.write(f"{text}\\n")

class Job:
    def execute(self, name="job"):
        trace(name)

    def pid(self):
        trace(os.getpid())

    def fail(self):
        raise ValueError("no")

    def wait(self):
        trace("begin")
        while not os.path.exists("go"):
            time.sleep(0.005)
"""


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("max_retries: 0", methods="execute, pid, fail, wait")
    project.write_jobs(JOBS)


def utc(hours: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)


def test_version_says_which(project: Project) -> None:
    assert project.tick("--version").stdout == f"bgjob {bgjob.__version__}\n"


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_options_and_exit_codes_even_without_a_config(project: Project, option: str) -> None:
    (project.folder / "config" / "jobs.yaml").unlink()

    done = project.tick(option)

    for word in ("--check", "--dry-run", "--at", "--job", "--exit-code", "--loop", "--verbose", "--quiet", "--config"):
        assert word in done.stdout
    assert re.findall(r"^  ([\d/]+) +\S", done.stdout, re.MULTILINE) == ["0", "1", "2", "69", "70", "78", "130/143"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option"],
        ["--dry"],
        ["--ver"],
        ["word"],
        [""],
        ["--job"],
        ["--job", "one"],
        ["--job", "0"],
        ["--job", "-1"],
        ["--job", "1.5"],
        ["--job", "1_0"],
        ["--job", "٣"],
        ["--job", " 1"],
        ["--job", "9223372036854775808"],
        ["--job", "9" * 5000],
        ["--at", "2026-01-01"],
        ["--dry-run", "--at"],
        ["--check", "--dry-run"],
        ["--check", "--job", "1"],
        ["--loop", "--check"],
        ["--loop", "--in-process"],
        ["-v", "-q"],
        ["--config"],
    ],
    ids=lambda arguments: " ".join(arguments)[:30],
)
def test_wrong_usage_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments, Options())

    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("usage: background_runner.py")


def test_wrong_usage_runs_nothing(project: Project) -> None:
    run_background_job("app.jobs.Job")

    done = project.tick("-v", "--no-such-option", check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("error: unrecognized arguments: --no-such-option\n")
    assert project.jobs() == [(1, "pending")]


@pytest.mark.parametrize("options", [[], ["--check"], ["--dry-run"], ["--job", "1"]])
def test_a_wrong_config_runs_nothing_and_tells_all_that_is_wrong(project: Project, options: list[str]) -> None:
    run_background_job("app.jobs.Job")
    project.configure("max_retrys: 3\ntimeout: soon", methods="execute")

    done = project.tick(*options, check=False)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (78, "", 2)
    assert all(word in done.stderr for word in ("max_retrys", "did you mean", "soon", str(project.folder / "config")))
    assert project.jobs("status, retry_count") == [("pending", 0)]


def test_a_config_that_is_not_there_is_told(project: Project) -> None:
    done = project.tick("--config", "nowhere.yaml", check=False)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (78, "", 1)
    assert "nowhere.yaml: there is no such file" in done.stderr


def test_check_finds_everything_and_runs_nothing(project: Project) -> None:
    run_background_job("app.jobs.Job")

    done = project.tick("--check")

    classes, summary = done.stdout.splitlines()
    assert classes == "  app.jobs.Job: execute, fail, pid, wait"
    assert re.fullmatch(r".*/config/jobs\.yaml is fine: 1 approved .*", summary)
    assert project.jobs() == [(1, "pending")]
    assert project.trace() == []


def test_check_tells_all_that_cannot_be_found(project: Project) -> None:
    broken = {
        "class Other:\n    pass\n": "no class Job",
        "class Job:\n    pass\n": "execute",
        "class Job:\n    execute = property()\n": "execute",
        "Job = 5\n": "not a class",
        "import a_module_that_is_not_there\n": "a_module_that_is_not_there",
        "raise SystemExit(0)\n": "SystemExit",
        "def\n": "SyntaxError",
    }
    for number, source in enumerate(broken):
        project.write_jobs(source, f"case_{number}")
    classes = [f"app.case_{number}.Job" for number in range(len(broken))]
    project.configure(methods="execute", classes=", ".join(["app.jobs.Job", *classes, "app.nowhere.Job"]))

    done = project.tick("--check", check=False)

    lines = sorted(line for line in done.stdout.splitlines() if line.startswith("app."))
    assert (done.returncode, done.stderr) == (78, "")
    assert [line.split()[0].rstrip(":") for line in lines] == [*classes, "app.nowhere.Job"]
    assert [told for told in broken.values() if told not in done.stdout] == []


def test_check_imports_boot_first(project: Project) -> None:
    project.configure("boot: app.boot", methods="execute")
    project.write_jobs("raise OSError('no server')", "boot")

    done = project.tick("--check", check=False)

    assert done.returncode == 78
    assert "boot: app.boot can't be imported: OSError: no server" in done.stdout


def test_check_warns_of_a_config_that_everybody_may_write(project: Project) -> None:
    (project.folder / "config" / "jobs.yaml").chmod(0o666)

    done = project.tick("--check")

    assert "every user of this machine can write it" in done.stdout


def test_dry_run_shows_what_would_run_in_order_and_why_the_rest_would_not(project: Project) -> None:
    run_background_job("app.jobs.Job", "execute", priority=-1)
    run_background_job("app.jobs.Job", "execute", priority=5)
    run_background_job("app.jobs.Job", "execute", priority=9, delay=7200)
    run_background_job("app.jobs.Job", "pid")
    project.sql("INSERT INTO custom_jobs (job_class, method) VALUES ('os.Path', 'system')")
    project.sql("UPDATE custom_jobs SET available_at = '2026-01-01 00:00:00.000000' WHERE id = 2")
    before = project.jobs("*")

    done = project.tick("--dry-run")

    would, first, second, third, fourth, would_not, delayed = done.stdout.splitlines()
    assert would == "would run now, in this order:"
    assert [first, second] == [
        "  1. job 2 app.jobs.Job.execute priority 5",
        "  2. job 4 app.jobs.Job.pid priority 0",
    ]
    assert third.startswith("  3. job 5 os.Path.system priority 0 -- would fail: 'os.Path' is not approved")
    assert fourth == "  4. job 1 app.jobs.Job.execute priority -1"
    assert would_not == "would not run:"
    assert re.fullmatch(
        r"  job 3 app\.jobs\.Job\.execute priority 9: due in 1 h 59 min \(delayed until .{19} UTC\)", delayed
    )
    assert project.jobs("*") == before
    assert project.trace() == []


def test_a_dry_run_of_a_drain_is_what_the_drain_then_does(project: Project) -> None:
    for number in range(30):
        run_background_job("app.jobs.Job", "execute", [number + 1], priority=number * 7 % 4, delay=number % 3 * 1000)
    project.sql("UPDATE custom_jobs SET available_at = substr(available_at, 1, 17) || '00.000000'")
    project.sql("UPDATE custom_jobs SET available_at = replace(available_at, '2', '1') WHERE available_at IS NOT NULL")

    told = project.tick("--dry-run").stdout
    project.tick()

    assert re.findall(r"^ +\d+\. job (\d+) ", told, re.MULTILINE) == project.trace()
    assert len(project.trace()) == 30


def test_dry_run_at_another_time_counts_in_what_is_due_then(project: Project) -> None:
    run_background_job("app.jobs.Job", "execute", priority=9, delay=7200)
    run_background_job("app.jobs.Job", "pid")

    shown = [project.tick("--dry-run", "--at", str(utc(hours))).stdout for hours in (1, 3)]

    assert [re.findall(r"^  \d\. job (\d)", text, re.MULTILINE) for text in shown] == [["2"], ["1", "2"]]
    assert "due in 59 min" in shown[0]
    assert "would not run" not in shown[1]


@pytest.fixture
def live_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A function that sets the local time zone of this process until the test ends."""

    def live_in(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield live_in
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "zone", "instant"),
    [
        ("2026-12-31T08:00+01:00", "UTC", "2026-12-31 07:00:00"),
        ("2026-12-31 08:00Z", "Asia/Tokyo", "2026-12-31 08:00:00"),
        ("2026-12-31 08:00", "Asia/Tokyo", "2026-12-30 23:00:00"),
        ("2026-12-31", "UTC", "2026-12-31 00:00:00"),
        ("20261231T0800", "UTC", "2026-12-31 08:00:00"),
        ("31 Dec 2026 08:00 UTC", "Asia/Tokyo", "2026-12-31 08:00:00"),
        ("Thu, 31 Dec 2026 08:00:00 +0000", "UTC", "2026-12-31 08:00:00"),
        ("0001-01-01", "UTC", "0001-01-01 00:00:00"),
        ("9999-12-31T23:59:59", "America/New_York", "9999-12-31 23:59:59"),
    ],
)
def test_a_time_is_read_as_it_is_meant(text: str, zone: str, instant: str, live_in: Callable[[str], None]) -> None:
    live_in(zone)

    assert clock.to_text(read_time(text, clock.now())) == f"{instant}.000000"


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "2026-13-01", "2026-02-30", "25:61", "10/11/2026", "10", "5m", "90", "Monday", "08:00", "2026"),
        *("Dec 2026", "99999-01-01", "2026-01-01T00:00+99:00", "\x1b[2J", "☃", "2026-01-01 or so", "1e400"),
    ],
)
def test_a_time_that_is_none_or_could_mean_several_is_refused(text: str) -> None:
    with pytest.raises(WrongTimeError, match=r"is no time|more than one way") as refused:
        read_time(text, clock.now())

    assert "\x1b" not in str(refused.value)


def test_a_wrong_time_is_told_and_nothing_shown(project: Project) -> None:
    run_background_job("app.jobs.Job")

    done = project.tick("--dry-run", "--at", "10/11/2026", check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bgjob: '10/11/2026' can be read in more than one way; write year, month and day")


def test_a_dry_run_whose_reader_has_seen_enough_ends_in_silence(project: Project) -> None:
    run_background_jobs([("app.jobs.Job",)] * 3000)

    done = subprocess.run(
        ["sh", "-c", f'{shlex.quote(sys.executable)} "$0" --dry-run | head -n 1', project.runner],
        check=True,
        capture_output=True,
        text=True,
        env=project.environment(),
    )

    assert (done.stdout, done.stderr) == ("would run now, in this order:\n", "")


@pytest.mark.parametrize("option", ["--dry-run", "--check"])
def test_what_the_terminal_s_encoding_lacks_stops_nobody(project: Project, option: str) -> None:
    project.configure(methods="execute")
    project.write_jobs("raise ImportError('☃')\n")
    project.tick()
    project.sql("INSERT INTO custom_jobs (job_class, method) VALUES ('Grüße ☃', 'x')")

    done = project.tick(option, env=project.environment(PYTHONIOENCODING="ascii:strict"), check=False)

    assert (done.returncode, done.stderr) == ({"--dry-run": 0, "--check": 78}[option], "")
    assert "app.jobs.Job can't be imported" in done.stdout or "job 1" in done.stdout


def test_dry_run_before_the_first_job_says_so_and_makes_nothing(project: Project) -> None:
    done = project.tick("--dry-run")

    assert "no job was ever queued" in done.stdout
    assert not project.database.exists()


def test_job_runs_just_that_job_even_before_its_time(project: Project) -> None:
    for name in ("one", "two", "three"):
        run_background_job("app.jobs.Job", "execute", [name], delay=3600)

    done = project.tick("--job", "2")

    assert (done.stdout, done.stderr) == ("", "")
    assert project.trace() == ["two"]
    assert [status for _, status in project.jobs()] == ["pending", "completed", "pending"]


@pytest.mark.parametrize(
    ("job_id", "told"), [(1, "job 1 is completed"), (2, "there is no job 2"), (2**63 - 1, "there is no job")]
)
def test_job_refuses_what_is_not_pending(project: Project, job_id: int, told: str) -> None:
    run_background_job("app.jobs.Job")
    project.tick()

    done = project.tick("--job", str(job_id), check=False)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert told in done.stderr
    assert project.trace() == ["job"]


def test_job_says_when_another_runner_keeps_it_from_starting(project: Project) -> None:
    run_background_job("app.jobs.Job", "wait")
    run_background_job("app.jobs.Job")
    first = project.start_tick()
    wait_until(project.trace)

    done = project.tick("--job", "2", check=False)

    assert "job 2 was not started" in done.stderr
    assert str(first.pid) in done.stderr
    assert project.jobs() == [(1, "processing"), (2, "pending")]


@pytest.mark.parametrize(
    ("method", "config", "code"),
    [("execute", "max_retries: 0", 0), ("fail", "max_retries: 0", 1), ("fail", "max_retries: 1\nretry_delay: 1h", 0)],
)
def test_exit_code_tells_whether_a_job_failed_for_good(project: Project, method: str, config: str, code: int) -> None:
    project.configure(config, methods="execute, fail")
    run_background_job("app.jobs.Job", method)
    run_background_job("app.jobs.Job")

    done = project.tick("--exit-code", check=False)

    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    assert project.tick("--exit-code").returncode == 0


def test_without_exit_code_a_failed_job_is_no_failed_tick(project: Project) -> None:
    run_background_job("app.jobs.Job", "fail")

    assert project.tick().returncode == 0
    assert project.jobs() == [(1, "failed")]


def test_in_process_runs_the_job_in_the_runner_itself(project: Project) -> None:
    run_background_job("app.jobs.Job", "pid")
    run_background_job("app.jobs.Job", "fail")
    run_background_job("app.jobs.Job", "execute")

    tick = project.start_tick("--in-process")

    assert tick.communicate(timeout=60) == ("", "")
    assert project.trace() == [str(tick.pid), "job"]
    assert [status for _, status in project.jobs()] == ["completed", "failed", "completed"]


def test_verbose_says_that_nothing_is_due(project: Project) -> None:
    assert re.match("  nothing (is|was) due", project.tick("-v").stdout)


def test_quiet_still_says_what_a_person_must_know(project: Project) -> None:
    run_background_job("app.jobs.Job")
    (project.folder / "storage" / "jobs.sqlite3.lock").mkdir()

    done = project.tick("-q", check=False)

    assert (done.returncode, done.stdout) == (69, "")
    assert "can't be used" in done.stderr


def test_all_of_it_works_when_nobody_listens(project: Project) -> None:
    run_background_job("app.jobs.Job")

    with open(os.devnull, "w") as nothing:  # noqa: PTH123  # no path, the place of nothing
        for options in (["--check"], ["--dry-run"], ["-v"]):
            tick = project.start_tick(*options, preexec_fn=lambda: os.dup2(nothing.fileno(), 1))
            tick.communicate(timeout=60)
            assert tick.returncode == 0

    assert project.jobs() == [(1, "completed")]
