"""The Makefile and what stands beside it: the targets that a newcomer and CI use."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def make(*arguments: str) -> str:
    return subprocess.run(["make", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def recipe_of(target: str) -> list[str]:
    # --assume-old: an environment that is out of date would print its own recipe, too.
    return make("--dry-run", "--no-print-directory", "--assume-old=.venv/.ready", target).splitlines()


def test_help_lists_every_target() -> None:
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)

    listed = re.findall(r"^  make ([a-z-]+)  +\S", make("--no-print-directory", "help"), flags=re.MULTILINE)

    assert listed == targets
    assert {"demo", "dev", "test", "check", "help"} <= set(listed)


def test_help_is_what_make_does_when_not_told() -> None:
    assert make("--no-print-directory") == make("--no-print-directory", "help")


def test_check_contains_test_in_full() -> None:
    tests = recipe_of("test")

    assert tests
    assert recipe_of("check")[-len(tests) :] == tests


def test_every_line_of_the_procfile_starts_a_file_of_this_project() -> None:
    commands = dict(re.findall(r"^(\w+): (.+)$", (ROOT / "Procfile").read_text(encoding="utf-8"), flags=re.MULTILINE))

    assert list(commands) == ["web", "runner", "logs"]
    assert "-m app.web" in commands["web"]
    assert "background_runner.py --loop" in commands["runner"]
