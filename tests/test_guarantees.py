"""docs/guarantees.md names a test for each promise; each of them must exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = (HERE.parent / "docs" / "guarantees.md").read_text()
TESTS = "\n".join(path.read_text() for path in HERE.glob("test_*.py"))


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", PAGE)

    missing = [name for name in named if f"def {name}(" not in TESTS]

    assert named
    assert missing == []


def test_every_file_of_tests_that_the_page_names_exists() -> None:
    named = re.findall(r"tests/(test_\w+\.py)", PAGE)

    missing = [name for name in named if not (HERE / name).exists()]

    assert named
    assert missing == []


def test_every_promise_of_the_readme_stands_on_the_page() -> None:
    readme = (HERE.parent / "README.md").read_text()
    promised = re.findall(r"^\d\. \*\*(.+?)\*\*", readme, re.MULTILINE)

    missing = [promise for promise in promised if promise not in PAGE]

    assert len(promised) == 5
    assert missing == ["Understood in 15 minutes."]  # no test can hold that one
