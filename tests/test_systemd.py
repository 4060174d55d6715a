"""`bgjob install-cron --systemd`: units that systemd itself finds nothing wrong with, and that start a tick."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bgjob.cli import systemd
from bgjob.cli.exits import NoMatchError
from bgjob.cli.tick_command import tick_command
from bgjob.config import read_config
from tests.conftest import CODE, Project
from tests.test_cron import give_up
from tests.test_status import bgjob

if TYPE_CHECKING:
    from pathlib import Path

ODD_NAMES = ["plain", "two words", "it's", 'say "so"', "100 % %h", "$HOME ${HOME}", "grün", "a;b # c"]


def verify(folder: Path, texts: dict[str, str]) -> str:
    """Return what systemd-analyze has against the units."""
    if not shutil.which("systemd-analyze"):
        give_up("no systemd-analyze here: install systemd (Debian and Ubuntu: apt install systemd)")
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    # It looks each path up in the unit's own environment, and needs a folder for its sockets.
    done = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", *(folder / name for name in texts)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
        capture_output=True,
        check=False,
        text=True,
    )
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit code {done.returncode}")


def units(project: Project, config: str = "") -> dict[str, str]:
    path = str(project.folder / (config or "config/jobs.yaml"))
    return systemd.units(tick_command(path), read_config(path))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_systemd_finds_nothing_wrong_whatever_the_folder_is_called(tmp_path: Path, name: str) -> None:
    project = Project(tmp_path / name)
    (project.folder / "config" / "other jobs.yaml").write_text("approved_classes: []\napproved_methods: []\n")

    assert verify(tmp_path / "units", units(project)) == ""
    assert verify(tmp_path / "others", units(project, "config/other jobs.yaml")) == ""


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if "'" not in name and '"' not in name])
def test_systemd_finds_the_python_whatever_its_folder_is_called(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path / name)
    python = project.folder / "bin" / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    texts = units(project)

    assert "is not executable" in verify(tmp_path / "units", texts)
    python.parent.mkdir()
    python.symlink_to("/bin/true")
    assert verify(tmp_path / "units", texts) == ""


def test_a_python_whose_path_systemd_can_t_start_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/srv/it's/bin/python")

    with pytest.raises(NoMatchError, match="systemd starts no program with a quote in its path"):
        units(project)


def test_what_the_service_says_starts_a_tick(project: Project) -> None:
    service = next(text for name, text in units(project).items() if name.endswith(".service"))
    told = dict(line.split("=", 1) for line in service.splitlines() if "=" in line)

    subprocess.run(
        shlex.split(told["ExecStart"]), cwd=told["WorkingDirectory"], env={"PYTHONPATH": str(CODE)}, check=True
    )

    assert project.database.with_name("jobs.sqlite3.tick").exists()
    assert (told["Type"], told["KillMode"], told["TimeoutStartSec"]) == ("oneshot", "mixed", "infinity")


def test_what_systemd_would_read_otherwise_is_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path / '100 % "$HOME"')
    (project.folder / "config" / "other.yaml").write_text("approved_classes: []\napproved_methods: []\n")
    monkeypatch.setattr(sys, "executable", "/srv/100 % $HOME/python")
    root = f"{tmp_path}/100 %% "

    [config] = re.findall(r"^Environment=(.+)$", "".join(units(project, "config/other.yaml").values()), re.MULTILINE)
    lines = "".join(units(project).values())

    assert f'\nWorkingDirectory={root}"$HOME"\n' in lines
    assert '\nExecStart=:"/srv/100 %% $HOME/python" background_runner.py\n' in lines
    assert config.startswith('"BGJOB_CONFIG=')
    assert config.endswith('/100 %% \\"$HOME\\"/config/other.yaml"')


def test_a_stop_waits_for_as_long_as_jobs_may_take_to_end(project: Project) -> None:
    seconds = []
    for settings in ("", "shutdown_grace: 10m\ntimeout_grace: 20s"):
        project.configure(settings)
        seconds += re.findall(r"^TimeoutStopSec=(\d+)$", "".join(units(project).values()), re.MULTILINE)

    assert seconds == ["90", "650"]


def test_they_are_printed_with_their_places_and_what_comes_next(project: Project) -> None:
    done = bgjob(project, "install-cron", "--systemd")

    names = re.findall(r"^# (\S+)$", done.stdout, re.MULTILINE)
    assert [name.rpartition("/")[2] for name in names] == ["bgjob-project.service", "bgjob-project.timer"]
    assert "".join(units(project).values()).replace("\n", "") in re.sub(
        r"^# .+$|\n", "", done.stdout, flags=re.MULTILINE
    )
    assert "enable --now bgjob-project.timer\n" in done.stderr


def test_they_are_written_into_a_folder_and_others_there_are_kept(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "config" / "systemd" / "user"

    first = bgjob(project, "install-cron", "--systemd", str(folder)).stdout
    second = json.loads(bgjob(project, "install-cron", "--json", "--systemd", str(folder)).stdout)
    (folder / "bgjob-project.timer").write_text("mine")
    third = bgjob(project, "install-cron", "--systemd", str(folder), code=1)

    assert re.findall(r"^made   (.+)$", first, re.MULTILINE) == list(second["files"])
    assert list(second["files"].values()) == [False, False]
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        **units(project),
        "bgjob-project.timer": "mine",
    }
    assert "bgjob-project.timer is there already, and another one" in third.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user: run this test as root")
def test_a_service_of_the_system_runs_as_whoever_has_the_files(project: Project, tmp_path: Path) -> None:
    assert "User=" not in "".join(units(project).values())
    os.chown(project.folder, 1, 1)

    texts = units(project)

    assert "\nUser=daemon\n" in texts["bgjob-project.service"]
    assert verify(tmp_path / "units", texts) == ""
