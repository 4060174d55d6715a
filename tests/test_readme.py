"""The documentation is true: every example runs, every table agrees with the code, every link leads somewhere."""

from __future__ import annotations

import argparse
import re
import shlex
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

import bgjob
from bgjob import config_keys, errors, logs, sql
from bgjob.cli import arguments
from bgjob.cli.main import COMMANDS
from bgjob.cli.run import Options
from bgjob.config import parse_config
from tests.conftest import CODE, Project

if TYPE_CHECKING:
    from pathlib import Path

    from bgjob.config import Config

README = CODE / "README.md"
PAGES = [README, *sorted((CODE / "docs").glob("*.md"))]
DECISIONS = sorted((CODE / "docs" / "decisions").glob("*.md"))
LISTS = "approved_classes: [app.jobs.Job]\napproved_methods: [execute]\n"


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    kind: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that the block shows whole: its first line is a comment with nothing but a path."""
        named = re.match(r"# ([\w./-]+\.(?:py|yaml))\n", self.text)
        return named[1] if named else None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(*pages: Path, kind: str | None = None) -> list[Block]:
    found = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for fence in re.finditer(r"^( *)```(\w+)\n(.*?)^\1```$", text, flags=re.MULTILINE | re.DOTALL):
            body = re.sub(rf"^{fence[1]}", "", fence[3], flags=re.MULTILINE)
            found.append(Block(page, text.count("\n", 0, fence.start()) + 1, fence[2], body))
    return [block for block in found if kind in (None, block.kind)]


def table(page: Path, head: str) -> list[list[str]]:
    """Return the cells of the table whose head begins with the cell `head`, without backticks."""
    lines = page.read_text(encoding="utf-8").replace("`", "").splitlines()
    [start] = [number for number, line in enumerate(lines) if line.startswith(f"| {head} |")]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def prepared(project: Project) -> None:
    """Write every file that the README shows into the project, in place of the project's own."""
    shown = {block.file: block.text for block in blocks(README) if block.file}
    assert set(shown) == {"app/custom_jobs.py", "config/jobs.yaml", "background_runner.py"}
    for path, text in shown.items():
        (project.folder / path).write_text(text, encoding="utf-8")


@pytest.fixture
def shown_project(project: Project) -> Project:
    prepared(project)
    return project


# The shape of the page


def test_the_first_screen_fits_on_a_screen_and_the_page_is_short() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    first_screen = next(number for number, line in enumerate(lines) if line.startswith("## "))

    assert first_screen <= 45
    assert len(lines) < 450
    assert max(map(len, lines)) <= 250


def test_the_first_screen_has_the_example_the_crontab_line_and_the_two_commands() -> None:
    first_screen = README.read_text(encoding="utf-8").partition("\n## ")[0]
    crontab = next(line for line in (CODE / "crontab.example").read_text().splitlines() if line.startswith("* * * * *"))

    assert crontab in first_screen
    assert "make demo" in first_screen
    assert "make test" in first_screen
    code = [block for block in blocks(README, kind="python") if block.line < first_screen.count("\n")]
    assert sum(len([line for line in block.text.splitlines() if line.strip()]) for block in code) <= 7


def test_a_decision_is_at_most_25_lines_and_numbered_in_order() -> None:
    numbers = [int(path.name[:4]) for path in DECISIONS]

    assert numbers == list(range(1, len(numbers) + 1))
    for path, number in zip(DECISIONS, numbers, strict=True):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 25, path.name
        assert lines[0].startswith(f"# {number}. ")


@pytest.mark.parametrize("page", [*PAGES, *DECISIONS], ids=lambda page: page.name)
def test_every_link_leads_to_a_file_or_heading_that_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if path.startswith("https://"):
            continue
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


# The examples


def test_the_runner_that_is_shown_is_the_one_that_this_project_has() -> None:
    shown = next(block for block in blocks(README) if block.file == "background_runner.py")

    assert shown.text.split("\n\n", 1)[0].splitlines()[1:] == ["from bgjob.tick import main"]
    assert 'if __name__ == "__main__":\n    main(__file__)' in (CODE / "background_runner.py").read_text()


def test_every_python_example_runs_and_prints_what_is_said(shown_project: Project) -> None:
    shown = blocks(*PAGES)
    scripts = [(block, after) for block, after in zip(shown, [*shown[1:], None], strict=True) if block.kind == "python"]
    ran = 0
    for block, after in scripts:
        if block.file:
            continue
        done = shown_project.python(block.text, check=False)
        assert done.returncode == 0, f"{block}: {done.stderr}"
        if after is not None and after.kind == "text":
            assert done.stdout.replace(str(shown_project.folder), "/srv/app") == after.text, block
        ran += 1
    assert ran >= 6

    shown_project.tick()

    statuses = dict(shown_project.sql("SELECT status, count(*) FROM custom_jobs GROUP BY status"))
    assert set(statuses) == {"completed", "pending"}, "a job of an example failed"


def test_the_setup_passes_its_own_check(shown_project: Project) -> None:
    assert "is fine" in shown_project.tick("--check").stdout


@pytest.mark.parametrize("block", blocks(*PAGES, *DECISIONS, kind="yaml"), ids=str)
def test_every_yaml_example_is_a_valid_config(block: Block) -> None:
    lists = "" if "approved_classes:" in block.text else LISTS

    parse_config((lists + block.text).encode(), "/srv/app/config/jobs.yaml")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with jobs in every status, made by running jobs; the processing one is entered by hand."""
    project = Project(tmp_path_factory.mktemp("sql") / "project")
    prepared(project)
    (project.folder / "config" / "jobs.yaml").write_text(
        "approved_classes: [app.custom_jobs.ExampleJob]\napproved_methods: [execute]\nmax_retries: 0\n"
    )
    project.python(
        "from bgjob import run_background_job as queue\n"
        "queue('app.custom_jobs.ExampleJob', 'execute', {'no such argument': 1})\n"
        "queue('app.custom_jobs.ExampleJob')\n"
    )
    project.tick()
    project.python(
        "from bgjob import run_background_job as queue\n"
        "for delay in (0, 60): queue('app.custom_jobs.ExampleJob', delay=delay)\n"
    )
    project.sql(
        "INSERT INTO custom_jobs (job_class, method, status, runner, worker, started_at) "
        "VALUES ('app.custom_jobs.ExampleJob', 'execute', 'processing', 1, '1 1 -', '2026-01-01 00:00:00.000000')"
    )
    assert {status for _, status in project.jobs()} == {"completed", "failed", "pending", "processing"}
    return project.database


@pytest.mark.parametrize("block", blocks(*PAGES, *DECISIONS, kind="sql"), ids=str)
def test_every_sql_example_finds_or_changes_something_in_a_real_database(block: Block, database: Path) -> None:
    connection = sqlite3.connect(database)
    try:
        for statement in filter(str.strip, block.text.split(";\n")):
            cursor = connection.execute(statement)
            found = len(cursor.fetchall()) if cursor.description else cursor.rowcount
            assert found >= 1, statement
    finally:
        connection.rollback()
        connection.close()


def test_a_job_queued_by_sql_runs(shown_project: Project) -> None:
    [insert] = [block.text for block in blocks(README, kind="sql") if block.text.startswith("INSERT")]
    shown_project.python("from bgjob import run_background_job as queue\nqueue('app.custom_jobs.ExampleJob')")
    shown_project.sql(insert)

    shown_project.tick()

    assert shown_project.jobs() == [(1, "completed"), (2, "completed")]
    assert shown_project.sql("SELECT output FROM attempts WHERE job_id = 2") == [("queued by SQL\n",)]


@pytest.mark.parametrize("block", [*blocks(*PAGES, *DECISIONS, kind="console")], ids=str)
def test_every_command_is_one_that_there_is(block: Block) -> None:
    listed = re.findall(r"^  make ([a-z-]+) ", _output("make", "--no-print-directory", "help"), flags=re.MULTILINE)
    for line in block.text.splitlines():
        command = shlex.split(line.removeprefix("$ "), comments=True)
        if command[0] == "make":
            assert command[1] in listed
        elif command[1:2] == ["background_runner.py"]:
            arguments.parse(command[2:], Options())
        elif command[0] in ("bgjob", ".venv/bin/bgjob"):
            words = [word for word in command[1:] if word not in ("--json", "--watch")]
            if words[0] == "--config":
                words = words[2:]
            parser = argparse.ArgumentParser()
            COMMANDS[words[0]][0]().add_arguments(parser)
            parser.parse_args(words[1:])
        else:
            assert command[:2] == [".venv/bin/pip", "install"]


def test_every_target_that_is_named_anywhere_is_one_of_the_makefile() -> None:
    listed = set(re.findall(r"^  make ([a-z-]+) ", _output("make", "--no-print-directory", "help"), flags=re.MULTILINE))
    named = {
        target
        for page in [*PAGES, CODE / "CHANGELOG.md"]
        for target in re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text(encoding="utf-8"))
    }

    assert {"demo", "test", "check"} <= named <= listed


@pytest.mark.parametrize("block", blocks(*PAGES, kind="sh"), ids=str)
def test_every_shell_example_is_valid_shell(block: Block) -> None:
    subprocess.run(["sh", "-n", "-c", block.text], check=True)


# The tables


def test_the_settings_table_has_every_key_of_the_config_with_its_default() -> None:
    rows = [(key.removesuffix(" *"), key.endswith(" *"), default) for key, default, _ in table(README, "key")]

    assert {key for key, _, _ in rows} == set(config_keys.ALL_KEYS)
    assert {key for key, _, default in rows if default == "required"} == set(config_keys.REQUIRED_KEYS)
    assert {key for key, starred, _ in rows if starred} == set(config_keys.CLASS_KEYS)
    for key, _, default in rows:
        if default == "none":
            assert config_keys.ALL_KEYS[key][1] is None, key
        elif default != "required":
            assert _settings(_config(f"{key}: {default}\n")) == _settings(_config("")), key


def _config(more: str) -> Config:
    return parse_config((LISTS + more).encode(), "/srv/app/config/jobs.yaml")


def _settings(config: Config) -> dict[str, object]:
    return {name: getattr(config, name) for name in config.__slots__ if name != "content"}


def test_the_options_table_has_every_option_of_the_runner() -> None:
    told = set(re.findall(r"--[a-z-]+|-[a-z]\b", " ".join(option for option, _ in table(README, "option"))))
    shown = _output(sys.executable, "background_runner.py", "--help").partition("exit codes:")[0]
    options = re.findall(r"^  (-.+?)(?:  |$)", shown, flags=re.MULTILINE)

    assert told == set(re.findall(r"(?<![a-z])--?[a-z][a-z-]*", " ".join(options))) - {"-h"}


def test_the_table_of_exit_codes_agrees_with_the_help() -> None:
    told = {code for row in table(README, "exit code") for code in re.findall(r"\d+", row[0])}
    shown = _output(sys.executable, "background_runner.py", "--help").partition("exit codes:")[2]

    assert told == set(re.findall(r"\d+", " ".join(re.findall(r"^  ([\d/]+)  ", shown, flags=re.MULTILINE))))


def test_the_table_of_errors_has_every_error_that_queueing_may_raise() -> None:
    told = {
        name for row in table(README, "error, all of them BgjobError") for name in re.findall(r"\w+Error", str(row))
    }
    ours = {name for name in bgjob.__all__ if issubclass(getattr(errors, name, int), bgjob.BgjobError)}

    assert told | {"BgjobError"} == ours


def test_the_table_of_statuses_has_every_status_that_the_database_allows() -> None:
    allowed = re.search(r"CHECK \((status = .+?)\)", sql.MIGRATIONS[0][0], re.DOTALL)

    assert allowed
    assert [status for status, _ in table(README, "status")] == re.findall(r"'(\w+)'", allowed[1])


def test_the_tables_of_columns_agree_with_the_database(database: Path) -> None:
    laravel = CODE / "docs" / "from-laravel.md"
    attempts = ", ".join(row[0] for row in table(README, "columns of attempts")).split(", ")
    custom_jobs = ", ".join(row[0] for row in table(laravel, "column")).split(", ")

    assert set(attempts) == _columns(database, "attempts")
    assert set(custom_jobs) == _columns(database, "custom_jobs")


def test_the_table_of_tables_has_every_one_of_the_database(database: Path) -> None:
    shown = {row[0] for row in table(CODE / "docs" / "architecture.md", "table")}

    assert shown == _names(database, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'")


def _columns(database: Path, name: str) -> set[str]:
    return _names(database, "SELECT name FROM pragma_table_info(?)", name)


def _names(database: Path, question: str, *values: str) -> set[str]:
    connection = sqlite3.connect(database)
    try:
        return {name for (name,) in connection.execute(question, values)}
    finally:
        connection.close()


def test_the_lines_shown_of_the_logs_are_like_those_that_are_written(project: Project) -> None:
    project.configure(classes="app.jobs.Job")
    project.write_jobs(
        "class Job:\n    def execute(self, fails=False):\n        if fails: raise ConnectionError('no answer')\n"
    )
    project.configure("max_retries: 1\nretry_delay: 0")
    project.python(
        "from bgjob import run_background_job as queue\nqueue('app.jobs.Job')\nqueue('app.jobs.Job', params=[True])"
    )
    project.tick()
    project.tick()
    written = [project.log(), project.log(errors=True)]

    shown = blocks(README, kind="log")

    for block, text in zip(shown, written, strict=True):
        like = {_kind(line): re.findall(r" (\w+)=", line) for line in text.splitlines() if line[0] != "\t"}
        for line in block.text.splitlines():
            if line[0] != "\t":
                assert re.findall(r" (\w+)=", line) == like[_kind(line)]
        times = [line[:26] for line in block.text.splitlines() if line[0] != "\t"]
        assert times == sorted(times)


def _kind(line: str) -> tuple[str, str]:
    _, _, level, verb, *_ = line.split()
    return level, verb


def test_the_attempts_shown_of_a_job_in_the_logs_follow_one_another() -> None:
    attempts: dict[str, list[int]] = {}
    for line in blocks(README, kind="log")[0].text.splitlines():
        for job, attempt in re.findall(r" job=(\d+) .* attempt=(\d+) ", line):
            attempts.setdefault(job, []).append(int(attempt))

    assert [1, 2] in attempts.values()
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in attempts.values())


def test_the_names_of_the_log_files_are_those_of_the_code() -> None:
    assert [row[0] for row in table(README, "file in storage/logs/")] == [logs.MAIN, logs.ERRORS]


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=CODE, check=True, capture_output=True, text=True).stdout
