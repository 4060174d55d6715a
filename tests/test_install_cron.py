"""`bgjob install-cron` and `uninstall-cron`: one block a project, every other byte as it was, and the proof."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bgjob import clock
from bgjob.cli import crontab, first_tick
from bgjob.cli.crontab import CrontabError
from bgjob.cli.tick_command import TickCommand
from bgjob.views import signs
from tests.conftest import CODE, Project, wait_until
from tests.test_status import bgjob

if TYPE_CHECKING:
    from pathlib import Path

# As cron's own, but with the crontab in a file.
CRONTAB = """#!/bin/sh
cd "$CRONTABS" || exit 1
case "$1" in
  -l) [ -e crontab ] || { echo "no crontab for root" >&2; exit 1; }; cat crontab ;;
  -r) rm crontab ;;
  -) cat > crontab; date >> written ;;
esac
"""
LINE = "* * * * *  cd {root} && {python} background_runner.py"


class Cron:
    """A user's crontab, and the program `crontab` that reads and writes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "crontab"
        (folder / "bin").mkdir(parents=True)
        self.program = folder / "bin" / "crontab"
        self.replace(CRONTAB)

    def replace(self, script: str) -> None:
        self.program.write_text(script)
        self.program.chmod(0o755)

    @property
    def content(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    @property
    def times_written(self) -> int:
        written = self.folder / "written"
        return len(written.read_text().splitlines()) if written.exists() else 0


@pytest.fixture
def cron(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cron:
    made = Cron(tmp_path / "cron")
    monkeypatch.setenv("PATH", f"{made.folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("CRONTABS", str(made.folder))
    return made


def install(project: Project, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    return bgjob(project, "install-cron", "--no-wait", *arguments, code=code)


def line_of(project: Project, content: bytes | None) -> str:
    """Return the one line of the project's block that starts something."""
    lines = (content or b"").decode().splitlines()
    start, end = lines.index(f"# begin bgjob {project.folder}"), lines.index(f"# end bgjob {project.folder}")
    [line] = [line for line in lines[start:end] if not line.startswith("#")]
    return line


# The block


def test_it_makes_a_crontab_with_the_line_between_two_marks(project: Project, cron: Cron) -> None:
    done = install(project)

    line = LINE.format(root=project.folder, python=sys.executable)
    assert line_of(project, cron.content) == line
    assert done.stdout.startswith("installed in the crontab of ")
    assert line in done.stdout
    assert (cron.content or b"").endswith(b"\n")


def test_once_more_it_writes_nothing(project: Project, cron: Cron) -> None:
    install(project)
    content = cron.content

    done = install(project)

    assert done.stdout.startswith("it stands already in the crontab of ")
    assert (cron.content, cron.times_written) == (content, 1)


@pytest.mark.parametrize(
    "own",
    [
        b"MAILTO=me@example.org\n\n# mine\n5 4 * * * true\n",
        b"0 1 * * * true\r\n# CRLF\r\n",
        b"0 1 * * * echo \xff\xfe\\%\n\n\n",
        b"\n",
        b"# begin bgjob /srv/other\n* * * * * true\n# end bgjob /srv/other\n",
        b"# begin bgjob /srv/half of another\n",
    ],
    ids=[
        "a plain one",
        "CRLF",
        "bytes that are no text",
        "an empty line",
        "another project",
        "half of another project",
    ],
)
def test_every_other_byte_stays_as_it_was(project: Project, cron: Cron, own: bytes) -> None:
    cron.path.write_bytes(own)

    install(project)
    with_block = cron.content or b""
    bgjob(project, "uninstall-cron")

    assert with_block.startswith(own)
    assert cron.content == own


def test_a_last_line_without_an_end_gets_one(project: Project, cron: Cron) -> None:
    cron.path.write_bytes(b"0 1 * * * true")

    install(project)

    assert (cron.content or b"").startswith(b"0 1 * * * true\n# begin bgjob ")


def test_a_block_keeps_its_place_and_is_brought_up_to_date(project: Project, cron: Cron) -> None:
    marks = [f"# {word} bgjob {project.folder}\n" for word in ("begin", "end")]
    cron.path.write_text(f"# above\n{marks[0]}* * * * * /gone/python background_runner.py\n{marks[1]}# below\n")

    install(project)

    content = (cron.content or b"").decode()
    assert content.startswith("# above\n# begin bgjob ")
    assert content.endswith(f"{marks[1]}# below\n")
    assert "/gone" not in content


def test_a_crontab_of_nothing_else_goes_with_its_block(project: Project, cron: Cron) -> None:
    install(project)

    bgjob(project, "uninstall-cron")

    assert cron.content is None
    assert "nothing of " in bgjob(project, "uninstall-cron").stdout


@pytest.mark.parametrize(
    "code", [["begin"], ["end"], ["end", "begin"], ["begin", "begin", "end"], ["begin", "x", "end"]]
)
@pytest.mark.parametrize("command", [["install-cron", "--no-wait"], ["uninstall-cron"]], ids=lambda command: command[0])
def test_marks_that_don_t_belong_together_are_told_and_nothing_is_written(
    project: Project, cron: Cron, code: list[str], command: list[str]
) -> None:
    marks = {word: f"# {word} bgjob {project.folder}" for word in ("begin", "end")} | {"x": "# begin bgjob /srv/other"}
    broken = "".join(f"{marks[word]}\n" for word in code)
    cron.path.write_text(broken)

    done = bgjob(project, *command, code=1)

    assert (cron.content or b"").decode() == broken
    assert re.search(r"don't belong together \(line \d.*crontab -e", done.stderr)
    assert len(done.stderr.splitlines()) == 1


def test_a_line_that_a_person_wrote_for_the_same_project_is_pointed_out(project: Project, cron: Cron) -> None:
    cron.path.write_text(
        f"* * * * * cd {project.folder} && .venv/bin/python background_runner.py\n# background_runner.py\n"
    )

    told = install(project).stderr

    assert "warning: another line starts the same project's ticks" in told
    assert len(told.splitlines()) == 1


def test_the_block_is_shown_and_nothing_changed(project: Project, cron: Cron) -> None:
    shown = bgjob(project, "install-cron", "--dry-run").stdout
    install(project)
    removed = bgjob(project, "uninstall-cron", "--dry-run").stdout

    assert shown.encode() == cron.content
    assert removed == f"would be removed from the crontab of {first_user()}:\n{shown}"


def first_user() -> str:
    return subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()


def test_all_of_it_as_json(project: Project, cron: Cron) -> None:
    told = json.loads(install(project, "--json").stdout)
    again = json.loads(install(project, "--json").stdout)
    removed = json.loads(bgjob(project, "uninstall-cron", "--json").stdout)

    assert told["lines"] == removed["lines"]
    assert (told["changed"], again["changed"], removed["changed"]) == (True, False, True)
    assert (told["first_tick_after"], told["python"], told["user"]) == (None, sys.executable, first_user())
    assert cron.content is None


# What is started, and from where


@pytest.mark.parametrize(
    "name", ["two words", "it's", 'say "so"', "100 %", "%%", "grün", "$HOME", "a;b&c|d", "`id`", "#1 !"]
)
def test_a_folder_of_any_name_is_entered_by_the_shell_that_cron_starts(tmp_path: Path, cron: Cron, name: str) -> None:
    project = Project(tmp_path / name)
    project.write_jobs("class Job:\n    def execute(self): pass\n")

    install(project)

    command = line_of(project, cron.content).removeprefix("* * * * *  ")
    as_vixie_does, newline, _ = re.sub(r"(?<!\\)%", "\n", command).replace("\\%", "%").partition("\n")
    assert not newline
    for text in (as_vixie_does, command):  # the cron of busybox passes \% on to the shell
        done = subprocess.run(
            ["/bin/sh", "-c", text], env={"PYTHONPATH": str(CODE)}, cwd="/", check=True, capture_output=True
        )
        assert (done.stdout, done.stderr) == (b"", b"")
        project.database.with_name("jobs.sqlite3.tick").unlink()


@pytest.mark.parametrize("name", ["back\\slash", "line\nbreak"])
def test_a_folder_that_no_crontab_can_name_is_refused(tmp_path: Path, cron: Cron, name: str) -> None:
    project = Project(tmp_path / name)

    done = install(project, code=1)

    assert "backslash or a line break" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert cron.content is None


def test_a_project_without_a_runner_is_told_how_to_get_one(project: Project, cron: Cron) -> None:
    project.runner.unlink()

    done = install(project, code=1)

    assert done.stderr == f"bgjob: there is no background_runner.py in {project.folder}; bgjob init makes one\n"
    assert cron.content is None


def test_a_wrong_config_installs_nothing_but_is_no_hindrance_to_uninstall(project: Project, cron: Cron) -> None:
    install(project)
    project.configure("max_retrys: 1")

    install(project, code=78)
    bgjob(project, "uninstall-cron")

    assert cron.content is None


def test_what_is_installed_through_a_link_goes_through_the_link(tmp_path: Path) -> None:
    project = Project(tmp_path / "releases" / "42")
    current = tmp_path / "current"
    current.symlink_to("releases/42")
    (project.folder / "env").symlink_to(sys.prefix)
    python = f"{current}/env/bin/python"

    told = bgjob(project, "install-cron", "--dry-run", "--json", cwd=current / "app").stdout
    own = subprocess.run(
        [project.folder / "env" / "bin" / "python", "-m", "bgjob", "install-cron", "--dry-run", "--json"],
        cwd=current,
        env=project.environment(PWD=str(current)),
        check=True,
        capture_output=True,
    ).stdout

    assert LINE.format(root=current, python=sys.executable) in json.loads(told)["lines"]
    assert LINE.format(root=current, python=python) in json.loads(own)["lines"]


def test_a_pwd_that_lies_is_not_believed(project: Project, cron: Cron) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "bgjob", "install-cron", "--dry-run"],
        cwd=project.folder,
        env={**project.environment(), "PWD": "/"},
        check=True,
        capture_output=True,
    ).stdout

    assert LINE.format(root=project.folder, python=sys.executable) in told.decode()
    assert cron.content is None


def test_a_config_in_another_place_is_named_to_the_tick_and_has_a_block_of_its_own(
    project: Project, cron: Cron
) -> None:
    other = project.folder / "config" / "night jobs.yaml"
    other.write_text("approved_classes: []\napproved_methods: []\ndatabase: storage/night.sqlite3\n")

    install(project)
    install(project, "--config", str(other))

    text = (cron.content or b"").decode()
    assert re.findall("^# begin bgjob (.+)$", text, re.MULTILINE) == [str(project.folder), str(other)]
    [command] = re.findall(r"^\* \* \* \* \*  (.+BGJOB_CONFIG.+)$", text, re.MULTILINE)
    subprocess.run(["/bin/sh", "-c", command], env={"PYTHONPATH": str(CODE)}, cwd="/", check=True)
    assert (project.folder / "storage" / "night.sqlite3.tick").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user: run this test as root")
def test_the_crontab_of_another_user_than_the_files_owner_is_warned_of(project: Project, cron: Cron) -> None:
    os.chown(project.folder, 65534, 65534)

    told = install(project).stderr

    assert re.fullmatch(r"warning: the jobs will run as root, but the project's files are \w+'s; .+\n", told)
    assert cron.times_written == 1


# What goes wrong with crontab


def test_without_the_command_it_says_what_to_install(project: Project, cron: Cron, tmp_path: Path) -> None:
    del cron
    done = bgjob(project, "install-cron", code=1, PATH=str(tmp_path))

    assert "there is no command crontab here; install cron (Debian, Ubuntu: apt install cron" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_refusal_is_passed_on_in_crons_own_words(project: Project, cron: Cron) -> None:
    cron.replace("#!/bin/sh\necho 'You (me) are not allowed to use this program (crontab)' >&2\nexit 1\n")

    done = install(project, code=1)

    assert "can't be read: You (me) are not allowed to use this program (crontab)\n" in done.stderr


def test_a_crontab_that_is_not_taken_is_told(project: Project, cron: Cron) -> None:
    cron.replace(CRONTAB.replace("-) ", "-) echo '\"-\":4: command too long' >&2; exit 1;"))

    done = install(project, code=1)

    assert 'can\'t be written: "-":4: command too long\n' in done.stderr


def test_a_crontab_that_was_changed_in_the_same_moment_is_told(project: Project, cron: Cron) -> None:
    cron.replace(CRONTAB.replace("-) cat >", "-) cat >/dev/null; echo '# theirs' >"))

    done = install(project, code=1)

    assert "another program changed the crontab in the same moment" in done.stderr


def test_projects_that_are_installed_at_once_all_get_their_block(tmp_path: Path, cron: Cron) -> None:
    cron.replace(CRONTAB.replace("cat crontab ;;", "cat crontab; sleep 0.1 ;;"))  # time between reading and writing
    projects = [Project(tmp_path / f"project {number}") for number in range(4)]

    command = [sys.executable, "-m", "bgjob", "install-cron", "--no-wait"]
    started = [
        subprocess.Popen(command, cwd=one.folder, env=one.environment(PWD=str(one.folder)), stdout=subprocess.DEVNULL)
        for one in projects
    ]

    assert [one.wait(60) for one in started] == [0] * 4
    for one in projects:
        assert line_of(one, cron.content)


def test_the_words_of_busybox_for_no_crontab_are_known(cron: Cron) -> None:
    cron.replace("#!/bin/sh\necho \"crontab: can't open 'root': No such file or directory\" >&2\nexit 1\n")

    assert crontab.read() == b""


def test_half_a_mark_at_the_end_without_a_line_break_is_a_whole_block() -> None:
    command = TickCommand(root="/srv/app", python="/usr/bin/python3", config="")
    lines = crontab.block(command)

    assert crontab.without_block(lines.rstrip(b"\n"), "/srv/app") == b""
    assert (
        crontab.without_block(b"# mine\n" + lines.replace(b"\n", b"\r\n") + b"# last", "/srv/app") == b"# mine\n# last"
    )
    with pytest.raises(CrontabError):
        crontab.with_block(lines + lines, "/srv/app", lines)


# The proof


def test_the_tick_that_comes_at_crons_next_minute_is_seen(project: Project, cron: Cron) -> None:
    leave_tick(project, seconds_from_now=3600)  # by a clock that was wrong
    ours, theirs = pty.openpty()
    started = subprocess.Popen(
        [sys.executable, "-m", "bgjob", "install-cron"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=project.folder,
        env=project.environment(TERM="xterm"),
        text=True,
    )
    os.close(theirs)
    shown = b""
    while b"waiting" not in shown:
        shown += os.read(ours, 1000)
    leave_tick(project, seconds_from_now=-5)  # somebody else's, for cron starts at full minutes
    seen = shown.count(b"waiting")
    while shown.count(b"waiting") < seen + 2:
        shown += os.read(ours, 1000)
    assert started.poll() is None

    leave_tick(project, seconds_from_now=60)
    out, _ = started.communicate(timeout=30)
    shown += os.read(ours, 1000)
    os.close(ours)

    assert started.returncode == 0
    assert re.search(rb"\rwaiting for the first tick: cron's (next )?minute (begins in|has begun; ) *\d+ s", shown)
    assert shown.endswith(b"\r\x1b[K")
    assert re.search(rf"\nthe first tick came after \d+ s, as user \w+ with {sys.executable}\n$", out)
    assert cron.times_written == 1


def leave_tick(project: Project, *, seconds_from_now: float) -> None:
    sign = project.database.with_name("jobs.sqlite3.tick")
    sign.parent.mkdir(exist_ok=True)
    draft = sign.with_name("draft")
    draft.touch()
    at = clock.now().timestamp() + seconds_from_now
    os.utime(draft, (at, at))
    draft.replace(sign)


def test_without_a_tick_it_says_where_to_look(
    project: Project, cron: Cron, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bgjob.cli.main import main

    monkeypatch.setattr(first_tick, "LONGEST", 0.2)

    code = main(["install-cron", "--json"])

    out, err = capsys.readouterr()
    assert code == 1
    assert json.loads(out)["first_tick_after"] is None
    assert "bgjob: no tick came within 0.2 s. The line stays in the crontab. Look at:\n" in err
    by_hand = re.search(r"the line by hand, as cron starts it: (env -i .+)$", err, re.MULTILINE)
    assert by_hand
    subprocess.run(["sh", "-c", by_hand[1].replace("env -i ", f"env -i PYTHONPATH={CODE} ")], check=True)
    assert project.database.with_name("jobs.sqlite3.tick").exists()
    assert cron.times_written == 1


def test_who_does_not_want_to_wait_is_told_that_the_line_stays(project: Project, cron: Cron) -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "bgjob", "install-cron"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=project.folder,
        env=project.environment(),
        text=True,
    )
    assert started.stderr
    told = ""
    while "waiting for the first tick, 75 s at most\n" not in told:
        told += started.stderr.readline()
    started.send_signal(signal.SIGINT)
    _, more = started.communicate(timeout=30)

    assert started.returncode == 130
    assert more == "waited no longer; the line stays in the crontab (bgjob uninstall-cron takes it out)\n"
    assert cron.content is not None


def test_a_cron_that_does_not_run_is_the_first_thing_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    for running, told in (
        (False, "no process called cron or crond is running"),
        (None, "is cron running?"),
        (True, "the line by hand"),
    ):
        monkeypatch.setattr(signs, "is_cron_running", lambda running=running: running)

        assert first_tick.what_to_look_at("true", "me")[0].startswith(told)


def test_a_running_cron_is_seen_by_its_name(tmp_path: Path) -> None:
    daemon = tmp_path / "crond"
    shutil.copy(shutil.which("sleep") or "", daemon)
    started = subprocess.Popen([daemon, "60"])
    try:
        wait_until(signs.is_cron_running)
    finally:
        started.kill()
        started.wait()
