"""`bgjob doctor`: each of its findings is brought about, and on a machine that is well it says one line."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from bgjob import clock, mounts
from bgjob.config import parse_config, read_config
from bgjob.views import signs
from bgjob.views.doctor import cron, examination, interpreter, starts
from bgjob.views.doctor.finding import NOTE, PROBLEM, WARNING, Finding
from tests.conftest import CODE, Project
from tests.test_architecture import WAITING_JOB, open_pipe
from tests.test_status import bgjob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgjob.views.doctor.finding import Case
    from bgjob.views.doctor.start import Start

JOB = "class Job:\n    def execute(self):\n        pass\n"
QUEUE = "from bgjob import run_background_job as queue; queue('app.jobs.Job')"
NOBODY = 65534
CRONTAB = """#!/bin/sh
test -f {0}/crontab.lines || {{ echo "no crontab for me" >&2; exit 1; }}
cat {0}/crontab.lines
"""


@pytest.fixture(autouse=True)
def machine(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which cron starts the project's ticks: its crontab is the file `crontab` beside a fake command."""
    project.write_jobs(JOB)
    commands = project.folder / "bin"
    commands.mkdir()
    (commands / "crontab").write_text(CRONTAB.format(commands))
    (commands / "crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    write_crontab(project, line(project))


def line(project: Project, python: str = sys.executable, more: str = "") -> str:
    return f"* * * * *  cd {project.folder} && {more}{python} background_runner.py"


def write_crontab(project: Project, *lines: str, path: str = str(CODE)) -> None:
    (project.folder / "bin" / "crontab.lines").write_text("\n".join([f"PYTHONPATH={path}", *lines]) + "\n")


def use(project: Project, **queueing: str) -> None:
    """Queue a job, with these variables, and let a tick run it."""
    queue(project, **queueing)
    project.tick()


def queue(project: Project, source: str = QUEUE, python: str = sys.executable, **more: str) -> None:
    subprocess.run([python, "-c", source], check=True, cwd=project.folder, env=project.environment(**more))


class Found(NamedTuple):
    """What an examination found, by the names of the checks."""

    all: list[examination.Told]

    def of(self, check: str) -> list[Finding]:
        return [told.finding for told in self.all if told.check == check]

    def one(self, check: str, severity: str) -> Finding:
        [finding] = self.of(check)
        assert finding.severity == severity, finding
        return finding

    def bad(self) -> list[str]:
        """Return the checks that found more than notes; the file system of the tests is nobody's fault."""
        checks = {told.check for told in self.all if told.finding.severity != NOTE}
        return sorted(checks - {"file_system_is_local"})


def examine(project: Project) -> Found:
    return Found(examination.examine(read_config(str(project.folder / "config" / "jobs.yaml")), clock.now()))


# A machine that is well


def test_on_a_healthy_machine_it_says_one_line(project: Project) -> None:
    use(project)

    done = bgjob(project, "doctor")

    assert examine(project).bad() == []
    if mounts.kind_of(str(project.folder)) not in ("tmpfs", "ramfs"):
        [told] = done.stdout.splitlines()
        assert told.startswith(f"healthy: {len(examination.CHECKS)} checks, nothing to mend")


def test_it_tells_notes_only_when_asked_and_everything_as_json(project: Project) -> None:
    write_crontab(project)
    use(project)

    plain, notes = bgjob(project, "doctor").stdout, bgjob(project, "doctor", "--notes").stdout
    told = json.loads(bgjob(project, "doctor", "--json").stdout)

    assert "ticks come, though" not in plain
    assert "note     ticks come, though no crontab line" in notes
    assert "         mend: " in notes
    assert told["checks"] == len(examination.CHECKS)
    assert {"check", "severity", "what", "mend"} == told["findings"][0].keys()
    assert "something_starts_ticks" in {finding["check"] for finding in told["findings"]}


def test_it_ends_with_1_if_there_is_a_problem_and_with_0_for_less(project: Project) -> None:
    use(project)
    config = project.folder / "config" / "jobs.yaml"
    config.chmod(0o666)
    warned = bgjob(project, "doctor", code=0).stdout
    shutil.rmtree(project.folder / "app")

    failed = bgjob(project, "doctor", code=1).stdout

    assert "warning  " in warned
    assert f" in {len(examination.CHECKS)} checks" in warned
    assert failed.startswith("problem  in cron's environment: app.jobs.Job can't be imported")


def test_it_changes_nothing_and_waits_for_no_writer(project: Project) -> None:
    use(project)
    before = list(sqlite3.connect(project.database).iterdump()), names(project)
    writer = sqlite3.connect(project.database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    started = time.monotonic()
    found = examine(project)
    took = time.monotonic() - started
    writer.close()

    assert found.bad() == []
    assert took < 20
    assert (list(sqlite3.connect(project.database).iterdump()), names(project)) == before


def names(project: Project) -> list[str]:
    return sorted(str(path) for path in (project.folder / "storage").rglob("*") if path.suffix != ".sqlite3-wal")


def test_the_documentation_has_every_check() -> None:
    page = (CODE / "docs" / "commands.md").read_text(encoding="utf-8")

    for check in examination.CHECKS:
        assert f"| `{check.__name__}` |" in page, check.__name__


# The checks themselves


def test_a_check_that_fails_or_hangs_is_told_and_costs_the_others_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(case: Case) -> Iterator[Finding]:
        """Nothing fails."""
        yield Finding(NOTE, str(case.config.workers / 0))

    def hangs(_: Case) -> Iterator[Finding]:
        """Everything answers."""
        yield Finding(NOTE, open_and_wait(project))

    def finds(_: Case) -> Iterator[Finding]:
        """All is well."""
        yield Finding(PROBLEM, "found", "mend it")

    monkeypatch.setattr(examination, "CHECKS", (fails, hangs, finds))
    monkeypatch.setattr(examination, "SECONDS_A_CHECK", 0.3)

    started = time.monotonic()
    found = examine(project)

    assert time.monotonic() - started < 4
    assert found.one("finds", PROBLEM).what == "found"
    assert found.one("fails", WARNING).what == (
        "could not be checked (ZeroDivisionError: division by zero): Nothing fails"
    )
    assert found.one("hangs", WARNING).what == "could not be checked (no answer within 0.3 s): Everything answers"


def test_fingerprints_that_another_program_spoiled_cost_no_other_check(project: Project) -> None:
    use(project)
    odd = {"uid": "me", "groups": 7, "clear": 3, "hashed": [], "real_path": 5, "config": 0, "prefix": "\x1b[2J"}
    for number, text in enumerate(["", "[]", "{}", "null", json.dumps(odd)]):
        project.sql(
            "INSERT INTO fingerprints SELECT side, ?, first_seen, last_seen, ? FROM fingerprints"
            " WHERE side = 'queueing' AND digest NOT LIKE 'odd%'",
            (f"odd{number}", text),
        )
    project.sql("INSERT INTO fingerprints VALUES ('tick', 'odd', 'when', 'then', '{}')")

    told = bgjob(project, "doctor", "--notes", code=0).stdout

    assert "\x1b" not in told
    assert "one_python" not in told
    assert "could not be checked" in told


def open_and_wait(project: Project) -> str:
    os.mkfifo(project.folder / "never")
    return (project.folder / "never").read_text()


# The database


def test_no_database_yet_is_a_note(project: Project) -> None:
    assert "there is no database" in examine(project).one("database_can_be_read", NOTE).what
    assert not project.database.exists()


def test_a_file_that_is_no_database_is_told_once(project: Project) -> None:
    project.database.parent.mkdir()
    project.database.write_bytes(b"not a database at all" * 100)

    found = examine(project)

    problems = [told.finding for told in found.all if "no SQLite database" in told.finding.what]
    assert [finding.severity for finding in problems] == [PROBLEM]
    bgjob(project, "doctor", code=1)


def test_a_journal_that_is_not_write_ahead_logging_is_a_warning(project: Project) -> None:
    use(project)
    connection = sqlite3.connect(project.database)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()

    assert "journal mode 'delete'" in examine(project).one("database_can_be_read", WARNING).what


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        ("nfs4", PROBLEM),
        ("cifs", PROBLEM),
        ("fuse.sshfs", PROBLEM),
        ("9p", PROBLEM),
        ("virtiofs", PROBLEM),
        ("tmpfs", WARNING),
        ("overlay", NOTE),
        ("ext4", None),
        ("btrfs", None),
        (None, None),
    ],
)
def test_a_file_system_on_which_sqlite_is_not_safe_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, kind: str | None, severity: str | None
) -> None:
    monkeypatch.setattr(mounts, "kind_of", lambda _: kind)

    found = examine(project).of("file_system_is_local")

    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_the_kernel_tells_which_file_system_a_path_lies_on(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/self")

    assert mounts.kind_of("/proc/self/status") == "proc"
    assert mounts.kind_of(str(tmp_path / "link" / "status")) == "proc"
    assert mounts.kind_of(str(tmp_path / "not" / "there")) == mounts.kind_of(str(tmp_path))


@pytest.mark.parametrize(
    ("version", "bugs"),
    [
        ("3.35.4", ["#walresetbug", "3_35_5"]),
        ("3.40.1", ["#walresetbug"]),
        ("3.44.6", []),
        ("3.50.6", ["#walresetbug"]),
        ("3.50.7", []),
        ("3.51.2", ["#walresetbug"]),
        ("3.51.3", []),
        ("3.53.0", []),
    ],
)
def test_an_sqlite_with_a_known_bug_is_a_note(project: Project, version: str, bugs: list[str]) -> None:
    use(project)
    set_fact(project, "tick", "sqlite", version)

    found = [finding for finding in examine(project).of("sqlite_is_sound") if f"SQLite {version} " in finding.what]

    assert [finding.severity for finding in found] == [NOTE] * len(bugs)
    for bug in bugs:
        assert any(bug in finding.what for finding in found)


def set_fact(project: Project, side: str, name: str, value: object) -> None:
    told = json.loads(project.sql("SELECT facts FROM fingerprints WHERE side = ?", (side,))[0][0]) | {name: value}
    project.sql("UPDATE fingerprints SET facts = ? WHERE side = ?", (json.dumps(told), side))


def test_rows_from_the_future_tell_of_a_clock_that_was_set_back(project: Project) -> None:
    use(project)
    project.sql("UPDATE custom_jobs SET created_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', '+2 hours')")

    assert "1 h 59 min from now" in examine(project).one("clock_is_right", WARNING).what


def test_a_tick_from_the_future_does_too(project: Project) -> None:
    use(project)
    os.utime(f"{project.database}.tick", (time.time() + 7_200,) * 2)

    assert examine(project).one("clock_is_right", WARNING).what.startswith("the last tick came 1 h 59 min from now")


# The disk


@pytest.mark.parametrize(("megabytes", "severity"), [(10, PROBLEM), (100, WARNING), (1_000, None)])
def test_a_disk_that_is_nearly_full_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, megabytes: int, severity: str | None
) -> None:
    real = os.statvfs(project.folder)
    fields = {name: getattr(real, name) for name in dir(real) if name.startswith("f_")}
    room = type("Room", (), {**fields, "f_frsize": 1024, "f_bavail": megabytes * 1024, "f_favail": 10**6})
    monkeypatch.setattr(os, "statvfs", lambda _: room)

    found = examine(project).of("disk_has_room")

    assert [finding.severity for finding in found] == ([severity] if severity else [])
    assert all(f"{megabytes} MB left" in finding.what for finding in found)


def test_a_disk_without_room_for_more_files_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(project.folder)
    fields = {name: getattr(real, name) for name in dir(real) if name.startswith("f_")}
    room = type("Room", (), {**fields, "f_bavail": 10**9, "f_files": 10**6, "f_favail": 3})
    monkeypatch.setattr(os, "statvfs", lambda _: room)

    assert "room for 3 more files" in examine(project).one("disk_has_room", WARNING).what


def test_a_log_that_nobody_rotates_and_a_large_write_ahead_log_are_told(project: Project) -> None:
    project.configure("log_max_size: 1MB")
    use(project)
    os.truncate(project.folder / "storage" / "logs" / "background_jobs.log", 30_000_000)
    reader = sqlite3.connect(project.database)
    reader.execute("SELECT * FROM custom_jobs").fetchall()
    os.truncate(f"{project.database}-wal", 70_000_000)

    log, wal = examine(project).of("files_have_usual_sizes")
    reader.close()

    assert (log.severity, wal.severity) == (WARNING, WARNING)
    assert "background_jobs.log has 28 MB, though `log_max_size` is" in log.what
    assert "has grown to 66 MB" in wal.what


# Who may write what


def test_a_config_that_everybody_may_write_is_a_warning(project: Project) -> None:
    (project.folder / "config" / "jobs.yaml").chmod(0o666)

    assert "can write it" in examine(project).one("config_is_protected", WARNING).what


def test_files_that_the_other_user_may_not_write_are_told_with_the_command_that_mends_it(project: Project) -> None:
    use(project)
    for fact, value in {"uid": NOBODY, "gid": NOBODY, "groups": []}.items():
        set_fact(project, "queueing", fact, value)
    project.database.chmod(0o644)
    (project.folder / "storage").chmod(0o777)

    found = {finding.what.split(", ")[0]: finding for finding in examine(project).of("files_can_be_written")}

    told = found[f"nobody may not write {project.database}"]
    assert told.severity == PROBLEM
    assert told.mend.startswith(f"chown nobody {project.database}")
    assert f"nobody may not write {project.folder / 'storage'}" not in found


def test_who_only_looks_need_not_be_able_to_write(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    use(project)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)

    assert examine(project).of("files_can_be_written") == []


@pytest.fixture
def open_project() -> Iterator[Project]:
    """A project that other users may reach, too."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    made = Project(folder / "project")
    made.write_jobs(JOB)
    yield made
    made.end_started()
    shutil.rmtree(folder)


# All is imported beforehand, for another user may not be able to read this checkout or its Python.
AS_NOBODY = f"""
import json, os, sys
import bgjob.cli.doctor, bgjob.cli.main, bgjob.config, bgjob.fingerprint, bgjob.store.fingerprints
from bgjob import run_background_job as queue
os.setgroups([]); os.setegid({NOBODY}); os.seteuid({NOBODY})
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users: run the tests as root, in a container")
def test_two_users_who_share_a_queue_are_told_and_what_either_may_not_write(open_project: Project) -> None:
    project = open_project
    (project.folder / "storage").mkdir()
    (project.folder / "storage").chmod(0o777)
    project.python(f"{AS_NOBODY}\nqueue('app.jobs.Job')")
    project.tick()

    found = examine(project)
    theirs = project.python(f"{AS_NOBODY}\nsys.exit(bgjob.cli.main.main(['doctor', '--json']))", check=False).stdout

    user, umask = found.of("one_user")
    assert (user.severity, user.what) == (WARNING, "jobs are queued as nobody, and run as root")
    assert user.mend.endswith("crontab -u nobody -e")
    assert "the app runs with umask 00" in umask.what
    logs = project.folder / "storage" / "logs"
    assert any(finding.what.startswith(f"nobody may not write {logs}") for finding in found.of("files_can_be_written"))
    told = [finding["what"] for finding in json.loads(theirs)["findings"]]
    assert f"nobody can't make a file in {logs} (Permission denied)" in told


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_in_which_no_file_can_be_made_is_a_problem(project: Project) -> None:
    use(project)
    (project.folder / "storage" / "logs").chmod(0o500)

    found = examine(project).of("files_can_be_written")
    (project.folder / "storage" / "logs").chmod(0o700)

    assert any("can't make a file in" in finding.what for finding in found)


# The two sides


def test_two_configs_that_approve_different_classes_are_a_problem(project: Project) -> None:
    use(project)
    other = project.folder / "config" / "web.yaml"
    other.write_text("approved_classes: [app.jobs.Job, app.jobs.Other]\napproved_methods: [execute]\n")
    queue(project, BGJOB_CONFIG=str(other))

    found = examine(project).one("one_list", PROBLEM)
    other.write_text("approved_classes: [app.jobs.Job]\napproved_methods: [execute]\n")

    assert f"{other} (the app's)" in found.what
    assert examine(project).of("one_list") == []


def test_an_edited_config_is_no_difference_between_the_sides(project: Project) -> None:
    use(project)
    project.configure(methods="execute, other")
    project.tick("--linger", "0")
    queue(project)

    assert examine(project).of("one_list") == []


def test_two_pythons_are_a_warning(project: Project, tmp_path: Path) -> None:
    use(project)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "other")], check=True)
    packages = sysconfig.get_path("purelib")
    queue(project, python=str(tmp_path / "other" / "bin" / "python"), PYTHONPATH=f"{CODE}:{packages}")

    found = examine(project).one("one_python", WARNING)

    assert f"in {tmp_path / 'other'}, and run by" in found.what
    assert str(tmp_path / "other" / "bin" / "python") in found.mend


def test_two_ways_to_one_python_are_no_difference(project: Project, tmp_path: Path) -> None:
    use(project)
    (tmp_path / "link").symlink_to(sys.prefix)
    queue(project, python=str(tmp_path / "link" / "bin" / "python"))

    assert len(project.sql("SELECT * FROM fingerprints WHERE side = 'queueing'")) == 2
    assert examine(project).of("one_python") == []


def test_two_versions_of_bgjob_are_a_warning_and_of_sqlite_a_note(project: Project, tmp_path: Path) -> None:
    use(project)
    shutil.copytree(CODE / "bgjob", tmp_path / "bgjob", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "bgjob" / "version.py").write_text('__version__ = "99.1"\n')
    queue(project, PYTHONPATH=str(tmp_path))
    set_fact(project, "tick", "sqlite", "3.99.0")

    version, sqlite = examine(project).of("one_bgjob")

    assert (version.severity, sqlite.severity) == (WARNING, NOTE)
    assert version.what.startswith("jobs are queued by bgjob 99.1, and run by bgjob ")
    assert str(tmp_path / "bgjob") in version.mend
    assert "run with SQLite 3.99.0" in sqlite.what


def test_another_local_time_is_a_warning(project: Project) -> None:
    use(project, TZ="Asia/Tokyo")

    found = examine(project).one("one_zone", WARNING)

    project.configure("boot: app.jobs")
    assert "the app's local time is JST, that of jobs is " in found.what
    assert found.mend == "write TZ=Asia/Tokyo above the crontab line"
    assert examine(project).one("one_zone", NOTE).what == found.what, "the module boot may set it in each worker"


def test_a_config_that_is_named_on_one_side_only_is_no_difference_if_it_is_the_same(project: Project) -> None:
    use(project)
    queue(project, BGJOB_CONFIG=str(project.folder / "config" / "jobs.yaml"))
    bgjob(project, "queue", "app.jobs.Job")

    assert [found.what for found in examine(project).of("one_environment") if found.severity == WARNING] == []


def test_variables_that_differ_are_told_by_name_and_their_values_only_where_they_are_no_secret(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "one-of-mine")
    project.tick()
    queue(project, DATABASE_URL="another-of-mine", DJANGO_SETTINGS_MODULE="site.settings", ONLY_HERE="3")

    found = examine(project)
    told = bgjob(project, "doctor", "--notes").stdout

    settings, other, lacking = found.of("one_environment")
    assert (
        settings.what == "DJANGO_SETTINGS_MODULE is 'site.settings' where jobs are queued, and not set where they run"
    )
    assert other.what.endswith("one value where jobs are queued and another where they run: DATABASE_URL")
    assert (other.severity, lacking.severity) == (WARNING, NOTE)
    assert "ONLY_HERE" in lacking.what
    assert "of-mine" not in told


def test_who_sits_at_a_terminal_is_not_compared_where_programs_queue(project: Project) -> None:
    use(project)
    queue(project, TZ="Asia/Tokyo")
    tokyo = "facts LIKE '%JST%'"
    project.sql(f"UPDATE fingerprints SET facts = json_set(facts, '$.on_terminal', json('true')) WHERE {tokyo}")  # noqa: S608  # fixed

    assert examine(project).of("one_zone") == []


# Which file


def test_jobs_that_wait_in_the_file_from_which_this_one_was_copied_are_a_problem(project: Project) -> None:
    project.configure("database: storage/old.sqlite3")
    use(project)
    old, new = (project.folder / "storage" / f"{name}.sqlite3" for name in ("old", "new"))
    shutil.copy(old, new)
    queue(project)
    project.configure("database: storage/new.sqlite3")

    served = examine(project).one("one_file", NOTE)
    os.utime(f"{old}.tick", (0, 0))
    stranded = examine(project).one("one_file", PROBLEM)
    old.unlink()
    moved = examine(project).one("one_file", NOTE)

    assert (
        stranded.what
        == f"the ticks and the app used {old} before, where 1 job waits and no tick looks; this one is {new}"
    )
    assert f"`database: {new}`" in stranded.mend
    assert served.what == moved.what == f"the ticks and the app used this queue at {old} before; it is at {new} now"


def test_jobs_that_an_earlier_release_left_behind_are_a_problem(tmp_path: Path, project: Project) -> None:
    releases = tmp_path / "srv" / "releases"
    old, new = Project(releases / "20260101120000"), Project(releases / "20260201120000")
    for release in (old, new):
        release.write_jobs(JOB)
        queue(release)
    (tmp_path / "srv" / "current").symlink_to(new.folder)
    new.tick()
    assert project.folder.name == "project"

    found = Found(examination.examine(read_config(str(tmp_path / "srv/current/config/jobs.yaml")), clock.now()))

    stranded, inside = found.of("no_release_strands_jobs")
    assert (stranded.severity, inside.severity) == (PROBLEM, WARNING)
    assert stranded.what.startswith(f"1 job waits in {old.database}, the queue of another release")
    assert f"`database: {tmp_path}/srv/shared/jobs.sqlite3`" in inside.mend
    assert examine(project).of("no_release_strands_jobs") == []


# Ticks, and what starts them


def test_without_a_line_and_a_tick_the_line_is_told_that_mends_it(project: Project) -> None:
    write_crontab(project)
    queue(project)

    found = examine(project).one("ticks_come", PROBLEM)
    write_crontab(project, found.mend.partition("add: ")[2])

    assert found.what.startswith("no tick ever came, and no crontab line or systemd unit that starts them can be seen")
    assert examine(project).of("lines_can_work") == []
    assert "has a line for it" in examine(project).one("ticks_come", PROBLEM).what


@pytest.mark.parametrize(
    ("cron_runs", "told", "mend"),
    [
        (False, ", for no cron daemon runs; the crontab of ", "systemctl enable --now cron "),
        (True, ", though the crontab of ", "see what it says there: env -i HOME=$HOME PATH="),
        (None, ", though the crontab of ", "see what it says there: "),  # processes can't be seen
    ],
)
def test_ticks_that_stopped_coming_are_a_problem_though_the_line_is_there(
    project: Project, cron_runs: object, told: str, mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signs, "is_cron_running", lambda: cron_runs)
    stop_ticks(project)

    found = examine(project).one("ticks_come", PROBLEM)

    assert found.what.startswith(f"no tick for 1 h{told}")
    assert found.mend.startswith(mend)


def test_ticks_that_stopped_coming_from_a_systemd_unit_are_a_problem_that_names_it(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "_UNIT_FOLDERS", (str(tmp_path / "units"),))
    unit = tmp_path / "units" / "jobs.service"
    unit.parent.mkdir()
    unit.write_text(
        f"[Service]\nWorkingDirectory={project.folder}\nEnvironment=PYTHONPATH={CODE}\n"
        f"ExecStart={sys.executable} background_runner.py\n"
    )
    write_crontab(project)
    stop_ticks(project)

    found = examine(project).one("ticks_come", PROBLEM)

    assert found.what == f"no tick for 1 h, though there is {unit}"
    assert found.mend == "systemctl enable --now jobs.timer; journalctl -u jobs tells what it says"


def stop_ticks(project: Project) -> None:
    """Let the last tick have come an hour ago."""
    use(project)
    old = time.time() - 3_600
    os.utime(f"{project.database}.tick", (old, old))


def test_a_machine_without_the_command_crontab_says_so(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    use(project)
    monkeypatch.setenv("PATH", str(project.folder / "app"))

    assert "(there is no command crontab here)" in examine(project).one("something_starts_ticks", NOTE).what


def test_ticks_that_a_person_starts_at_a_terminal_are_a_warning_until_cron_does(project: Project) -> None:
    write_crontab(project)
    queue(project)
    code, _ = project.tick_on_terminal()

    found = examine(project).one("something_starts_ticks", WARNING)
    write_crontab(project, line(project))

    assert code == 0
    assert found.what.startswith("ticks come from a terminal, and will end with it: no crontab line")
    assert examine(project).bad() == []


def test_two_lines_for_one_queue_are_a_note(project: Project) -> None:
    use(project)
    write_crontab(project, line(project), line(project))

    assert "2 lines start ticks of this queue" in examine(project).one("something_starts_ticks", NOTE).what


def test_the_line_of_a_sibling_project_is_named(project: Project) -> None:
    sibling = Project(project.folder.parent / "sibling")
    write_crontab(project, line(sibling))
    use(project)

    found = examine(project).one("something_starts_ticks", NOTE)

    assert f"starts those of {sibling.folder}/config/jobs.yaml" in found.what


BARE_PYTHON = f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n'


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("cd /nowhere && python background_runner.py --config {0}/config/jobs.yaml",
         "goes to /nowhere, which is no folder"),
        ("cd {0} && .venv/bin/python background_runner.py", "there is no {0}/.venv/bin/python"),
        ("cd {0} && bin/unstartable-python background_runner.py", "unstartable-python can't be started"),
        ("cd {0} && python-of-nobody background_runner.py",
         "cron finds no python-of-nobody in its PATH (/usr/bin:/bin)"),
        ("cd {0} && uv run python background_runner.py", "cron finds no uv in its PATH (/nowhere)"),
        ("cd {0}/app && {1} background_runner.py --config {0}/config/jobs.yaml",
         "there is no {0}/app/background_runner.py"),
        ("cd {0} && bin/bare-python background_runner.py", "can't import bgjob (ModuleNotFoundError"),
        ("cd {0} && flock -n storage/jobs.sqlite3.lock {1} background_runner.py", "is the queue's own lock"),
        ("cd {0} && flock -n /tmp/other.lock {1} background_runner.py", None),
    ],
)  # fmt: skip
def test_a_line_that_can_not_work_is_a_problem(project: Project, written: str, told: str | None) -> None:
    use(project)
    (project.folder / "bin" / "unstartable-python").touch()
    (project.folder / "bin" / "bare-python").write_text(BARE_PYTHON)
    (project.folder / "bin" / "bare-python").chmod(0o755)
    path = "PATH=/nowhere\n" if "uv run" in written else ""
    write_crontab(project, f"{path}* * * * * {written.format(project.folder, sys.executable)}")

    found = examine(project).of("lines_can_work")

    assert [finding.severity for finding in found] == ([PROBLEM] if told else [])
    for finding in found:
        assert str(told).format(project.folder) in finding.what
        assert finding.mend


def test_a_lock_that_another_program_holds_is_a_problem(project: Project) -> None:
    use(project)
    with Path(f"{project.database}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = examine(project).one("lock_is_held_by_a_runner", PROBLEM)

    assert f"process {os.getpid()} holds the lock" in found.what
    assert examine(project).of("lock_is_held_by_a_runner") == []


def test_a_runner_that_is_stopped_is_a_problem_and_one_that_works_is_none(project: Project) -> None:
    project.write_jobs(WAITING_JOB)
    queue(project)
    started, go = open_pipe(project.folder / "started"), open_pipe(project.folder / "go")
    tick = project.start_tick()
    assert select.select([started], [], [], 30)[0], "the job did not start"

    working = examine(project).of("lock_is_held_by_a_runner")
    tick.send_signal(signal.SIGSTOP)
    os.waitpid(tick.pid, os.WUNTRACED)
    stopped = examine(project).one("lock_is_held_by_a_runner", PROBLEM)
    tick.send_signal(signal.SIGCONT)
    os.write(go, b"go")
    tick.communicate(timeout=30)
    os.close(started)
    os.close(go)

    assert working == []
    assert f"process {tick.pid}, which holds the queue, is stopped" in stopped.what
    assert stopped.mend.startswith(f"kill -CONT {tick.pid}")


def test_a_job_that_is_due_for_long_is_a_problem_and_a_warning_while_all_workers_are_busy(project: Project) -> None:
    use(project)
    project.write_jobs(WAITING_JOB)
    queue(project)
    started, go = open_pipe(project.folder / "started"), open_pipe(project.folder / "go")
    tick = project.start_tick()
    assert select.select([started], [], [], 30)[0], "the job did not start"
    queue(project)
    project.sql("UPDATE custom_jobs SET created_at = '2026-01-01 00:00:00.000000' WHERE status = 'pending'")

    busy = examine(project).one("due_jobs_run", WARNING)
    project.configure("workers: 2")
    free = examine(project).one("due_jobs_run", PROBLEM)
    tick.kill()
    tick.wait()
    os.close(started)
    os.close(go)

    assert busy.what.startswith("job 3 is due for ")
    assert busy.what.endswith("the one worker is busy")
    assert free.what.endswith("though ticks come and a worker is free")


def test_a_queue_that_is_paused_is_a_warning(project: Project) -> None:
    use(project)
    bgjob(project, "pause", "moving the disk")

    found = examine(project).one("due_jobs_run", WARNING)

    assert "moving the disk" in found.what
    assert found.mend == "bgjob resume"


# The Python that cron starts


NEEDS = "import os\nNEEDED = os.environ['NEEDED']\n" + JOB


def test_a_class_that_needs_a_variable_which_cron_lacks_is_a_problem(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_jobs(f"print('hello')\n{NEEDS}")
    monkeypatch.setenv("NEEDED", "3")
    use(project)
    assert bgjob(project, "check").returncode == 0

    found = examine(project).one("classes_can_be_imported", PROBLEM)
    write_crontab(project, line(project, more=". ./env && "))
    unsure = examine(project).one("classes_can_be_imported", WARNING)
    write_crontab(project, "NEEDED=3", line(project))

    assert found.what == "in cron's environment: app.jobs.Job can't be imported: KeyError: 'NEEDED'"
    assert unsure.what == found.what
    assert examine(project).of("classes_can_be_imported") == []


def test_a_python_that_can_not_check_is_told(project: Project) -> None:
    use(project)
    (project.folder / "bin" / "bare-python").write_text(BARE_PYTHON)
    (project.folder / "bin" / "bare-python").chmod(0o755)
    write_crontab(project, line(project, python="bin/bare-python"))

    assert "No module named bgjob" in examine(project).one("classes_can_be_imported", PROBLEM).what


def test_a_python_that_starts_slowly_is_a_warning_that_names_what_it_runs(project: Project) -> None:
    use(project)
    slow = project.folder / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text("import time\ntime.sleep(0.15)\n")
    write_crontab(project, line(project), path=f"{slow}:{CODE}")

    found = examine(project).one("python_starts_quickly", WARNING)

    assert str(slow / "sitecustomize.py") in found.what
    assert found.what.startswith(f"{sys.executable} takes ")
    assert interpreter._SLOW < 0.15


# What starts ticks, read from texts


def one_start(command: str) -> Start:
    [start] = starts.in_crontab(f"* * * * * {command}\n", where="here", user="root")
    return start


@pytest.mark.parametrize(
    ("command", "folder", "python", "config"),
    [
        ("cd /srv/app && .venv/bin/python background_runner.py",
         "/srv/app", ".venv/bin/python", "/srv/app/config/jobs.yaml"),
        ("/v/bin/python3 /srv/app/background_runner.py >/dev/null 2>&1",
         "/root", "/v/bin/python3", "/srv/app/config/jobs.yaml"),
        ("cd /srv; nice -n 5 python -u app/background_runner.py -v", "/srv", "python", "/srv/app/config/jobs.yaml"),
        ("cd ~/app && A=1 BGJOB_CONFIG=x.yaml python background_runner.py", "/root/app", "python", "/root/app/x.yaml"),
        ("cd '$HOME/a b' && python background_runner.py --config=c.yaml", "/root/a b", "python", "/root/a b/c.yaml"),
        ("/v/bin/bgjob --config /srv/c.yaml run", "/root", "", "/srv/c.yaml"),
        ("cd /srv/app && /v/bin/python -m bgjob run", "/srv/app", "/v/bin/python", "/srv/app/config/jobs.yaml"),
        ("cd /srv/app && python background_runner.py % what it reads",
         "/srv/app", "python", "/srv/app/config/jobs.yaml"),
    ],
)  # fmt: skip
def test_a_line_is_taken_apart(command: str, folder: str, python: str, config: str) -> None:
    start = one_start(command)

    assert (start.folder, start.python, start.config) == (folder, python, config)


@pytest.mark.parametrize("command", ["date +\\%F", "python other.py", "bgjob status", "cd /srv/app", "'unclosed"])
def test_a_line_that_starts_no_tick_is_left_alone(command: str) -> None:
    assert list(starts.in_crontab(f"@hourly {command}\n#* * * * * background_runner.py\n", where="", user="root")) == []


def test_a_system_crontab_names_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app").write_text("MAILTO=x\nTZ='UTC'\n*/2 * * * * nobody cd /srv && ./background_runner.py\n")
    monkeypatch.setattr(starts, "_SYSTEM_CRONTABS", (f"{tmp_path}/*",))

    [start] = [start for start in starts.find([])[0] if start.where == str(tmp_path / "app")]

    assert (start.user, start.script, start.python) == ("nobody", "./background_runner.py", "")
    assert start.variables["TZ"] == "UTC"


def test_a_systemd_service_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.service").write_text(
        "[Service]\nUser=nobody\nWorkingDirectory=/srv/app\nEnvironment=TZ=UTC 'A=1 2'\n"
        "ExecStart=/srv/app/.venv/bin/python \\\n  background_runner.py\n"
    )
    monkeypatch.setattr(starts, "_UNIT_FOLDERS", (str(tmp_path),))

    [start] = [start for start in starts.find([])[0] if start.where == str(tmp_path / "jobs.service")]

    assert (start.user, start.folder, start.config) == ("nobody", "/srv/app", "/srv/app/config/jobs.yaml")
    assert (start.variables["A"], start.variables["TZ"], start.is_plain) == ("1 2", "UTC", True)


@pytest.mark.parametrize(
    ("folder", "config", "told"),
    [
        ("my app", "config/jobs.yaml", "-m bgjob --config '{root}/config/jobs.yaml' run"),
        ("", "config/jobs.yaml", "background_runner.py"),
        ("", "config/other jobs.yaml", "background_runner.py"),
    ],
)
def test_the_line_that_is_told_starts_this_very_queue(project: Project, folder: str, config: str, told: str) -> None:
    root = project.folder / folder

    line = cron.line_for(parse_config(b"approved_classes: []\napproved_methods: []\n", str(root / config)))

    assert line.endswith(told.format(root=root))
    assert (f"BGJOB_CONFIG='{root}/config/other jobs.yaml' " in line) == ("other" in config)
