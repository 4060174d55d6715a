"""The wheel: what is in it, and that another project's environment needs nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bgjob
from hatch_build import PLACES

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def test_the_wheel_holds_the_package_what_shells_and_man_read_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    about = {name for name in names if name.startswith(f"bgjob-{bgjob.__version__}.dist-info/")}
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bgjob").rglob("*") if is_ours(path)}
    shared = {f"bgjob-{bgjob.__version__}.data/data/{place}" for place in PLACES.values()}
    assert names - about == package | shared
    assert {"METADATA", "WHEEL", "RECORD", "licenses/LICENSE"} <= {name.partition("/")[2] for name in about}


def test_the_wheel_works_in_another_projects_environment(wheel: Path, tmp_path: Path) -> None:
    python = str(tmp_path / "env" / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True, capture_output=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    app = tmp_path / "app"
    app.mkdir()
    steps = [
        [f"{python.removesuffix('python')}bgjob", "init"],
        [python, "-c", "from bgjob import run_background_job; print(run_background_job('app.custom_jobs.ExampleJob'))"],
        [python, "background_runner.py", "-v", "--exit-code"],
    ]

    told = [subprocess.run(step, cwd=app, check=True, capture_output=True, text=True).stdout for step in steps]

    assert told[1] == "True\n"
    assert "Hello from the background!" in told[2]
    assert "bgjob wait\\-idle" in (tmp_path / "env" / PLACES["man"]).read_text()


def is_ours(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts
