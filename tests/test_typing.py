"""What type checkers say of calls: mypy, and pyright (basedpyright is the same one, and brings what it needs along)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import CODE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

EXAMPLES = CODE / "tests" / "typing"


def wrong_lines(name: str) -> set[int]:
    """Return the numbers of the lines of an example that say that they are wrong."""
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


def refused_by_mypy(name: str) -> set[int]:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", str(EXAMPLES / name)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=CODE,
    )
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    return {int(line) for line in re.findall(rf"^tests/typing/{name}:(\d+): error", done.stdout, flags=re.MULTILINE)}


def refused_by_pyright(name: str, folder: Path) -> set[int]:
    config = folder / "pyrightconfig.json"
    config.write_text(
        json.dumps({"include": [str(EXAMPLES / name)], "extraPaths": [str(CODE)], "typeCheckingMode": "strict"})
    )
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(config)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
    )
    assert done.returncode in (0, 1), (done.stdout, done.stderr)
    told = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] == 1
    return {found["range"]["start"]["line"] + 1 for found in told["generalDiagnostics"] if found["severity"] == "error"}


def test_mypy_lets_good_calls_through_and_refuses_each_bad_one() -> None:
    assert refused_by_mypy("good.py") == wrong_lines("good.py") == set()
    assert refused_by_mypy("bad.py") == wrong_lines("bad.py")


def test_pyright_lets_good_calls_through_and_refuses_each_bad_one(tmp_path: Path) -> None:
    assert refused_by_pyright("good.py", tmp_path) == set()
    assert refused_by_pyright("bad.py", tmp_path) == wrong_lines("bad.py")


def test_there_are_bad_calls_of_every_kind() -> None:
    assert len(wrong_lines("bad.py")) >= 25
