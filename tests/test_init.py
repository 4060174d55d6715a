"""`bgjob init`: it makes what is missing, touches nothing that is there, and what it makes works."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bgjob.cli import starter
from bgjob.config import parse_config
from tests.conftest import CODE
from tests.test_readme import README, _settings, blocks

if TYPE_CHECKING:
    from pathlib import Path

CONFIG, RUNNER, SCHEMA = "config/jobs.yaml", "background_runner.py", "config/jobs.schema.json"
MADE = [CONFIG, SCHEMA, RUNNER, "app/__init__.py", "app/custom_jobs.py"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my 'own' project"
    made.mkdir()
    return made


def bgjob(folder: Path, *arguments: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `bgjob` in a folder to its end, expecting an exit code."""
    kept = {name: value for name, value in os.environ.items() if name != "BGJOB_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-m", "bgjob", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env={**kept, "PYTHONPATH": str(CODE), **more},
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def init(folder: Path, *arguments: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(bgjob(folder, "init", "--json", *arguments).stdout)
    return told


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file() and "storage" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_in_an_empty_folder_the_commands_that_it_names_work_as_they_are_pasted(folder: Path) -> None:
    shown = bgjob(folder, "init").stdout
    steps = [line.strip() for line in shown.partition("next:\n")[2].splitlines()]
    script = "\n".join(["set -e", *(step for step in steps if not step.endswith("install-cron"))])

    subprocess.run(["sh", "-c", script], cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(CODE)})

    assert steps[-1] == f"{sys.executable} -m bgjob install-cron"
    assert "app.custom_jobs.ExampleJob" in bgjob(folder, "list", "--status", "completed").stdout
    assert "is fine: 1 approved class" in bgjob(folder, "check").stdout


def test_the_script_that_was_typed_is_the_one_that_is_named(folder: Path) -> None:
    scripts = folder / ".venv" / "bin"
    scripts.mkdir(parents=True)
    script = scripts / "bgjob"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom bgjob.cli.main import main\nsys.exit(main())\n")
    script.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(CODE)}
    on_path = {**environment, "PATH": f"{scripts}:{os.environ['PATH']}"}

    near = subprocess.run([".venv/bin/bgjob", "init"], cwd=folder, env=environment, check=True, capture_output=True)
    found = subprocess.run(["bgjob", "init", "sub"], cwd=folder, env=on_path, check=True, capture_output=True)

    assert near.stdout.endswith(b"\n  .venv/bin/bgjob run\n  .venv/bin/bgjob install-cron\n")
    assert found.stdout.endswith(b"\n  bgjob run\n  bgjob install-cron\n")
    assert f"\n  cd {shlex.quote(str(folder / 'sub'))}\n" in found.stdout.decode()


def test_it_says_of_each_file_whether_it_was_made(folder: Path) -> None:
    first = init(folder)
    shown = bgjob(folder, "init").stdout

    assert first["files"] == dict.fromkeys(MADE, True)
    assert sorted(files(folder)) == sorted(MADE)
    assert re.findall(r"^kept   (\S+): it is there already$", shown, re.MULTILINE) == [
        name for name in MADE if name != "app/__init__.py"
    ]


@pytest.mark.parametrize("there", [CONFIG, RUNNER, SCHEMA, "app/custom_jobs.py", "app/__init__.py"])
def test_what_is_there_is_not_touched_and_the_rest_is_made(folder: Path, there: str) -> None:
    own = "approved_classes: [app.mine.Job]\napproved_methods: [execute]\n" if there == CONFIG else "# mine\n"
    (folder / there).parent.mkdir(parents=True, exist_ok=True)
    (folder / there).write_text(own)

    told = init(folder)

    assert (folder / there).read_text() == own
    assert {CONFIG, SCHEMA, RUNNER} <= set(files(folder))
    assert told["files"].get(there, False) is False


def test_a_project_with_its_own_config_gets_no_example(folder: Path) -> None:
    (folder / "config").mkdir()
    (folder / CONFIG).write_text("approved_classes: [app.mine.Job]\napproved_methods: [execute]\n")

    told = init(folder)

    assert not (folder / "app").exists()
    assert [step.split()[-1] for step in told["next"]] == ["check", "run", "install-cron"]


def test_jobs_that_are_there_already_are_not_approved_unseen(folder: Path) -> None:
    (folder / "app" / "custom_jobs").mkdir(parents=True)
    (folder / "app" / "custom_jobs" / "__init__.py").write_text("class Mine: pass\n")

    init(folder)

    assert parse_config((folder / CONFIG).read_bytes(), str(folder / CONFIG)).classes == {}
    assert set(files(folder)) == {CONFIG, SCHEMA, RUNNER, "app/custom_jobs/__init__.py"}


def test_a_folder_app_does_not_take_the_place_of_an_app_py(folder: Path) -> None:
    (folder / "app.py").write_text("name = 'flask'\n")

    told = init(folder)

    assert (folder / "custom_jobs.py").exists()
    assert not (folder / "app").exists()
    assert "queue custom_jobs.ExampleJob " in told["next"][0]
    bgjob(folder, "check")


@pytest.mark.parametrize("there", MADE)
def test_a_link_that_leads_nowhere_is_not_followed(folder: Path, there: str) -> None:
    (folder / there).parent.mkdir(exist_ok=True)
    outside = folder.parent / "outside"
    (folder / there).symlink_to(outside)

    told = init(folder)

    assert told["files"].get(there, False) is False
    assert not outside.exists()


def test_a_folder_of_configs_that_is_a_link_is_used(folder: Path) -> None:
    (folder.parent / "shared").mkdir()
    (folder / "config").symlink_to("../shared")

    init(folder)

    assert (folder.parent / "shared" / "jobs.yaml").exists()


@pytest.mark.parametrize("name", ["config", "app"])
def test_a_file_in_the_place_of_a_folder_is_told_in_one_line(folder: Path, name: str) -> None:
    (folder / name).write_text("mine")

    done = bgjob(folder, "init", code=1)

    assert f"{folder / name} is there and no folder" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_is_a_file_is_told_in_one_line(folder: Path) -> None:
    (folder / "file").write_text("mine")

    done = bgjob(folder, "init", "file", code=1)

    assert len(done.stderr.splitlines()) == 1
    assert (folder / "file").read_text() == "mine"


def test_a_folder_that_can_t_be_written_is_told_in_one_line(folder: Path) -> None:
    folder.chmod(0o555)
    place = "/proc/project" if os.geteuid() == 0 else str(folder)  # root may write anywhere but there

    done = bgjob(folder.parent, "init", place, code=1)
    folder.chmod(0o755)

    assert re.fullmatch(rf"bgjob: {re.escape(place)}/{CONFIG} can't be made: [\w ]+\n", done.stderr)
    assert done.stdout == ""


def test_a_full_disk_leaves_no_half_file(folder: Path) -> None:
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
        "from bgjob.cli.main import main; sys.exit(main(['init']))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CODE), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, files(folder)) == (1, {})
    assert done.stderr == f"bgjob: {folder / CONFIG} can't be written: File too large\n"


@pytest.mark.parametrize(
    ("ignored", "is_told"),
    [("*.pyc\n", True), ("/storage/\n", False), ("storage\n", False), ("storage/\r\n", False), ("", True)],
)
def test_it_names_the_line_that_a_gitignore_lacks(folder: Path, ignored: str, is_told: bool) -> None:  # noqa: FBT001
    (folder / ".gitignore").write_bytes(ignored.encode())

    told = init(folder)

    assert told["remarks"] == (["add this line to .gitignore: storage/"] if is_told else [])
    assert (folder / ".gitignore").read_bytes() == ignored.encode()


def test_another_config_in_the_environment_is_told(folder: Path) -> None:
    done = bgjob(folder, "init", BGJOB_CONFIG="/srv/other/jobs.yaml")

    assert "BGJOB_CONFIG names another config, /srv/other/jobs.yaml" in done.stdout


def test_a_config_that_is_named_contradicts(folder: Path) -> None:
    done = bgjob(folder, "init", "--config", "config/jobs.yaml", code=2)

    assert "leave --config out" in done.stderr
    assert files(folder) == {}


def test_every_setting_in_the_comments_of_the_config_is_one_with_the_default_that_it_says() -> None:
    text = starter.CONFIG.format(approved_classes="approved_classes: []")
    plain = parse_config(text.encode(), "/srv/app/config/jobs.yaml")
    settings = re.findall(r"^# (\w+: .+?)(?:  +#.*)?$", text.partition("More settings")[2], re.MULTILINE)

    for setting in settings:
        name = setting.partition(":")[0]
        told = parse_config(f"{text}{setting}\n".encode(), "/srv/app/config/jobs.yaml")
        is_default = _settings(told) == _settings(plain)
        assert is_default == (name not in ("linger", "boot")), setting
    assert len(settings) == 8


def test_a_class_with_its_own_settings_is_shown_as_it_can_be_written() -> None:
    text = starter.CONFIG.format(approved_classes="approved_classes:\n  - app.custom_jobs.ExampleJob")
    written = re.sub(r"^# (- app\.|  )", r"  \1", text, flags=re.MULTILINE)

    rules = parse_config(written.encode(), "/srv/app/config/jobs.yaml").classes["app.custom_jobs.ReportJob"]

    assert (set(rules.methods), rules.timeout) == ({"execute", "rebuild"}, 600.0)


def test_the_runner_and_the_config_are_those_that_the_readme_shows() -> None:
    shown = {block.file: block.text for block in blocks(README) if block.file}

    assert (CODE / RUNNER).read_text() == starter.SCRIPT
    assert shown[RUNNER].partition("\n")[2] in starter.SCRIPT
    made = starter.CONFIG.format(approved_classes="approved_classes:\n  - app.custom_jobs.ExampleJob")
    lines = [line.partition("#")[0].rstrip() for line in made.splitlines()]
    assert [line for line in lines if line] == shown[CONFIG].splitlines()[1:]
