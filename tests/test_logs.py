"""The two logs: one event is one line that nobody can forge, no line is lost or torn, and no trouble stops a job."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bgjob import clock, run_background_job, run_background_jobs
from bgjob.logs import LogFile
from tests.conftest import CODE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Project

JOBS = """
import os, time

class Job:
    def execute(self, *words):
        pass

    def fail(self, text="no"):
        raise ValueError(text)

    def wait(self):
        open("trace", "w").write("begin")
        while not os.path.exists("go"):
            time.sleep(0.005)
"""
VALUE = r'(?:[A-Za-z0-9_.:/@+-]+|"(?:[^"\\]|\\.)*")'
EVENT = re.compile(
    rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{6}} (?:INFO|WARNING|ERROR) [a-z-]+(?: [a-z_]+={VALUE})+", re.ASCII
)
FORGED = "2026-01-01 00:00:00.000000 INFO complete job=99 class=x method=y attempt=1 status=completed duration=0s"
ODD = [
    *("\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"),
    *("\x1b[2J\x1b[H", "\x9b2K", "\x08" * 80, "\0", "\t", "\u202e", "\ufeff", "\udcff"),
    *('"', '" status=completed x="', "\\", "\\n", " ", "="),
]


@pytest.fixture(autouse=True)
def jobs(project: Project) -> None:
    project.configure("max_retries: 0", methods="execute, fail, wait")
    project.write_jobs(JOBS)


def main_log(project: Project) -> Path:
    return project.folder / "storage" / "logs" / "background_jobs.log"


def error_log(project: Project) -> Path:
    return project.folder / "storage" / "logs" / "background_jobs_errors.log"


def events(text: str) -> list[str]:
    """Return the lines that tell an event, each checked; splitlines() knows eleven ends of a line."""
    lines = [line for line in text.splitlines() if not line.startswith("\t")]
    assert [line for line in lines if not EVENT.fullmatch(line)] == []
    return lines


def test_a_completion_is_one_line_in_the_main_log(project: Project) -> None:
    run_background_job("app.jobs.Job")

    project.tick()

    completed, tick = events(project.log())
    assert re.fullmatch(
        r"[-\d]{10} [\d:.]{15} INFO complete job=1 class=app\.jobs\.Job method=execute attempt=1 status=completed "
        r"duration=0\.\d{6}s",
        completed,
    )
    assert re.search(r" INFO tick runner=1 .*\bcomplete=1 retry=0 fail=0\b", tick)
    assert project.log(errors=True) == ""


def test_a_failure_is_one_line_with_its_traceback_behind_tabs(project: Project) -> None:
    run_background_job("app.jobs.Job", "fail", ["first\nsecond"])

    project.tick()

    raised, failed = events(project.log(errors=True))
    assert " ERROR raised job=1 class=app.jobs.Job method=fail attempt=1 " in raised
    assert " ERROR fail job=1 class=app.jobs.Job method=fail attempt=1 status=failed outcome=raised " in failed
    assert failed.endswith('error="ValueError: first\\nsecond"')
    lines = project.log(errors=True).splitlines()
    assert lines[1] == "\tTraceback (most recent call last):"
    assert lines[-3:-1] == ["\tValueError: first", "\tsecond"]


def test_a_tick_that_did_nothing_writes_nothing(project: Project) -> None:
    project.tick()
    project.tick("-v")

    assert project.log() + project.log(errors=True) == ""


def test_no_name_of_a_class_or_method_forges_a_line(project: Project) -> None:
    project.tick()  # makes the table
    for odd in ODD:
        text = f"{odd}{FORGED}{odd}".encode("utf-8", "surrogateescape")
        for values in ((text, "execute"), ("app.jobs.Job", text), (text, text)):
            project.sql("INSERT INTO custom_jobs (job_class, method) VALUES (CAST(? AS TEXT), CAST(? AS TEXT))", values)

    project.tick()

    assert len(events(project.log(errors=True))) == 3 * len(ODD)
    assert_nothing_odd(project)


def test_no_message_of_an_exception_forges_a_line(project: Project) -> None:
    texts = [f"{odd}{FORGED}{odd}" for odd in ODD if odd != "\udcff"]
    run_background_jobs([("app.jobs.Job", "fail", [text]) for text in texts])

    project.tick()

    assert len(events(project.log(errors=True))) == 2 * len(texts)
    assert_nothing_odd(project)


def test_no_output_of_a_crashed_job_forges_a_line(project: Project) -> None:
    project.write_jobs(
        "import os\nclass Job:\n    def execute(self, text):\n        print(text, flush=True)\n        os.abort()\n"
    )
    project.configure("max_crashes: 1")
    texts = [f"{odd}{FORGED}{odd}" for odd in ODD if odd != "\udcff"]
    run_background_jobs([("app.jobs.Job", "execute", [text]) for text in texts])

    project.tick()

    assert len(events(project.log(errors=True))) == len(texts)
    assert_nothing_odd(project)


def assert_nothing_odd(project: Project) -> None:
    text = main_log(project).read_bytes().decode() + error_log(project).read_bytes().decode()
    assert {c for c in text if not c.isprintable()} <= {"\n", "\t"}
    assert "job=99" not in {word for line in events(project.log()) for word in line.split()}


def test_a_long_message_is_cut(project: Project) -> None:
    run_background_job("app.jobs.Job", "fail", ["x" * 900_000])

    project.tick()

    assert max(map(len, project.log(errors=True).splitlines())) < 20_000


def test_what_a_line_says_has_been_committed(project: Project) -> None:
    run_background_jobs([("app.jobs.Job", "execute"), ("app.jobs.Job", "fail")] * 150)
    told: set[str] = set()

    tick = project.start_tick()
    while tick.poll() is None:
        text = project.log() + project.log(errors=True)
        new = set(re.findall(r"(?:complete|fail) job=(\d+)", text)) - told
        for job_id in new:
            assert project.sql("SELECT status FROM custom_jobs WHERE id = ?", (job_id,))[0][0] in {
                "completed",
                "failed",
            }
        told |= new
    tick.communicate(timeout=60)

    assert project.jobs("status") == [("completed",), ("failed",)] * 150


def test_the_runner_rotates_by_size_and_keeps_so_many_files(project: Project) -> None:
    project.configure("log_max_size: 1KB\nlog_files: 3")
    names = []
    for number in range(4):
        run_background_jobs([("app.jobs.Job", "execute")] * 20)
        project.tick()
        names.append(f"job={20 * number + 1} ")

    files = sorted(main_log(project).parent.glob("background_jobs.log*"))
    text = "".join(file.read_text() for file in files)
    assert {file.name for file in files} <= {"background_jobs.log", "background_jobs.log.1", "background_jobs.log.2"}
    assert [name in text for name in names][-2:] == [True, True]
    assert names[0] not in text
    assert all(file.read_text().endswith("s\n") for file in files if file.stat().st_size)


WRITER = """
import sys
from bgjob.logs import LogFile
path, name, lines = sys.argv[1:]
log = LogFile(path, max_size=1, files=1)
for number in range(int(lines)):
    log.write(f"{name} {number} {'x' * (number % 500)} end\\n")
assert log.trouble is None, log.trouble
"""


def start_writers(path: Path, *, lines: int) -> list[subprocess.Popen[bytes]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name, str(lines)], env={**os.environ, "PYTHONPATH": str(CODE)}
        )
        for name in "abc"
    ]


def assert_all_there(folder: Path, *, lines: int) -> None:
    found = [line for file in folder.glob("x.log*") for line in file.read_text().splitlines()]
    expected = {f"{name} {number} {'x' * (number % 500)} end" for name in "abc" for number in range(lines)}
    assert len(found) == len(expected)
    assert set(found) == expected


def test_while_the_runner_rotates_no_line_is_lost_or_torn(tmp_path: Path) -> None:
    rotating = LogFile(str(tmp_path / "x.log"), max_size=100_000, files=400)
    writers = start_writers(tmp_path / "x.log", lines=20_000)

    while any(writer.poll() is None for writer in writers):
        rotating.rotate_if_large()

    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert rotating.trouble is None
    assert len(list(tmp_path.glob("x.log*"))) > 10
    assert_all_there(tmp_path, lines=20_000)


def test_when_a_log_is_moved_away_no_line_is_lost_and_a_new_one_begins(tmp_path: Path) -> None:
    writers = start_writers(tmp_path / "x.log", lines=20_000)
    moved = 0

    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "x.log").exists() and moved < 500:
            moved += 1
            (tmp_path / "x.log").rename(tmp_path / f"x.log.{moved}")

    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert moved > 10
    assert_all_there(tmp_path, lines=20_000)


CUT_SHORT = """
import resource, sys
from bgjob.logs import LogFile
path, size, again = sys.argv[1:]
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
log = LogFile(path, max_size=1, files=1)
log.write("a line\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), hard))
log.write("a line that finds no room\\n")
assert log.trouble is not None
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
if again == "again":
    log.write("the next line\\n")
    log.write("one more\\n")
"""


def cut_short(path: Path, *, size: int, again: str = "no more") -> None:
    """Write to a log from a process of its own until there is no room past `size`, and maybe once there is."""
    command = [sys.executable, "-c", CUT_SHORT, str(path), str(size), again]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(CODE)})


@pytest.mark.parametrize(
    ("size", "lines"),
    [
        (7, ["a line", "the next line", "one more"]),
        (8, ["a line", "a", "the next line", "one more"]),
        (13, ["a line", "a line", "the next line", "one more"]),
        (32, ["a line", "a line that finds no room", "the next line", "one more"]),
    ],
)
def test_a_line_that_a_full_disk_cut_short_stays_a_line_of_its_own(tmp_path: Path, size: int, lines: list[str]) -> None:
    cut_short(tmp_path / "same", size=size, again="again")
    cut_short(tmp_path / "other", size=size)
    other = LogFile(str(tmp_path / "other"), max_size=1, files=1)
    other.write("the next line\n")
    other.write("one more\n")

    assert (tmp_path / "same").read_text() == (tmp_path / "other").read_text() == "".join(f"{line}\n" for line in lines)


def test_a_writer_sees_that_the_line_of_another_one_was_cut_short(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), max_size=1, files=1)
    log.write("first\n")
    cut_short(tmp_path / "log", size=15)

    log.write("last\n")

    assert (tmp_path / "log").read_text() == "first\na line\na \nlast\n"


def test_a_log_that_was_cut_short_and_moved_away_leaves_the_new_one_alone(tmp_path: Path) -> None:
    cut_short(tmp_path / "log", size=8)
    log = LogFile(str(tmp_path / "log"), max_size=1, files=2)

    log.rotate_if_large()
    log.write("first\n")

    assert (tmp_path / "log").read_text() == "first\n"
    assert (tmp_path / "log.1").read_text() == "a line\na"


def test_a_log_that_is_moved_away_during_a_job_is_opened_anew(project: Project) -> None:
    run_background_job("app.jobs.Job")
    run_background_job("app.jobs.Job", "wait")
    tick = project.start_tick()
    wait_until(project.trace)
    main_log(project).rename(project.folder / "moved.log")

    (project.folder / "go").touch()
    tick.communicate(timeout=60)

    assert [line.split()[3:5] for line in events((project.folder / "moved.log").read_text())] == [["complete", "job=1"]]
    assert [line.split()[3] for line in events(project.log())] == ["complete", "tick"]


def test_whether_the_log_was_moved_is_looked_at_once_in_a_millisecond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogFile(str(tmp_path / "log"), max_size=1, files=1)
    instant = 5.0
    monkeypatch.setattr(clock, "monotonic", lambda: instant)
    log.write("first\n")
    (tmp_path / "log").rename(tmp_path / "moved")

    instant = 5.0009
    log.write("second\n")
    instant = 5.0011
    log.write("third\n")
    log.close()

    assert (tmp_path / "moved").read_text() == "first\nsecond\n"
    assert (tmp_path / "log").read_text() == "third\n"


@pytest.mark.parametrize("moved", [False, True], ids=["at its place", "moved"])
def test_a_log_whose_number_is_another_files_by_now_lets_that_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, moved: bool
) -> None:
    instant = 5.0
    monkeypatch.setattr(clock, "monotonic", lambda: instant)
    log = LogFile(str(tmp_path / "log"), max_size=1, files=1)
    log.write("first\n")
    number = log._file
    assert number is not None
    stranger = os.open(tmp_path / "stranger", os.O_RDWR | os.O_CREAT)
    os.dup2(stranger, number)
    if moved:
        (tmp_path / "log").rename(tmp_path / "moved")
        instant = 6.0

    log.write("second\n")
    os.write(number, b"a stranger's\n")
    log.close()

    assert (tmp_path / "stranger").read_text() == "a stranger's\n"
    assert (tmp_path / "log").read_text() == ("second\n" if moved else "first\nsecond\n")
    os.close(stranger)
    os.close(number)


def test_a_log_that_is_truncated_in_place_is_written_from_its_beginning(project: Project) -> None:
    run_background_job("app.jobs.Job")
    run_background_job("app.jobs.Job", "wait")
    tick = project.start_tick()
    wait_until(project.trace)
    os.truncate(main_log(project), 0)

    (project.folder / "go").touch()
    tick.communicate(timeout=60)

    assert [line.split()[3] for line in events(project.log())] == ["complete", "tick"]


def test_a_folder_that_is_removed_during_a_job_is_made_anew(project: Project) -> None:
    run_background_job("app.jobs.Job")
    run_background_job("app.jobs.Job", "wait")
    tick = project.start_tick()
    wait_until(project.trace)
    main_log(project).unlink()
    main_log(project).parent.rename(project.folder / "old logs")

    (project.folder / "go").touch()

    assert tick.communicate(timeout=60) == ("", "")
    assert [line.split()[3] for line in events(project.log())] == ["complete", "tick"]


def a_file_in_the_place_of_the_folder(folder: Path) -> None:
    folder.write_text("precious")


def folders_in_the_place_of_the_files(folder: Path) -> None:
    (folder / "background_jobs.log").mkdir(parents=True)
    (folder / "background_jobs_errors.log").mkdir()


def a_full_disk(folder: Path) -> None:
    folder.mkdir()
    (folder / "background_jobs.log").symlink_to("/dev/full")
    (folder / "background_jobs_errors.log").symlink_to("/dev/full")


def pipes_that_nobody_reads(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / "background_jobs.log")
    os.mkfifo(folder / "background_jobs_errors.log")


def a_link_that_leads_nowhere(folder: Path) -> None:
    folder.symlink_to("/nowhere/at/all")


def a_link_that_leads_to_itself(folder: Path) -> None:
    folder.symlink_to(folder)


@pytest.mark.parametrize("spoil", [a_full_disk, a_link_that_leads_nowhere])
def test_without_its_logs_the_queue_runs_on_and_says_so_once(project: Project, spoil: Callable[[Path], None]) -> None:
    run_background_jobs([("app.jobs.Job", "execute"), ("app.jobs.Job", "fail"), ("app.jobs.Job", "execute")])
    spoil(main_log(project).parent)

    done = project.tick()

    assert [status for _, status in project.jobs()] == ["completed", "failed", "completed"]
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)
    assert re.search(r"background_jobs(_errors)?\.log can't be (written|used)", done.stderr)
