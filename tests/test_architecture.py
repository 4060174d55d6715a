"""docs/architecture.md tells the truth, and what it says always holds does hold."""

from __future__ import annotations

import ast
import os
import re
import select
import sqlite3
import tomllib
from typing import TYPE_CHECKING

import pytest

from bgjob import job, logs, sql
from bgjob.job import TRANSITIONS
from bgjob.life import LifeFile
from bgjob.store import byhand, intake, jobs
from tests.conftest import CODE, Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = CODE / "docs" / "architecture.md"
PACKAGE = CODE / "bgjob"

# Queueing is fast and silent; what was claimed is told by its settlement.
VERBS_WITHOUT_A_LOG_LINE = {"enqueue", "claim"}


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def rows_below(head: str) -> list[list[str]]:
    """Return the cells of the table whose head line begins with `head`."""
    table = page().partition(f"\n{head}")[2].splitlines()[2:]
    rows = [line.strip("|").split("|") for line in table[: [*map(bool, table), False].index(False)]]
    assert rows, head
    return [[cell.strip() for cell in row] for row in rows]


# The state picture and the verbs


def test_the_arrows_of_the_state_picture_are_the_transitions() -> None:
    arrows = re.findall(r"^    (\[\*\]|\w+) --> (\w+): (\w+)$", page(), flags=re.MULTILINE)

    drawn = {(verb, "" if start == "[*]" else start, end) for start, end, verb in arrows}

    assert len(drawn) == len(arrows)
    assert drawn == {(verb, start, end) for verb, (starts, end) in TRANSITIONS.items() for start in starts or ("",)}


def test_the_table_of_verbs_has_every_verb_with_its_move() -> None:
    told = {verb.strip("`"): move for verb, move, *_ in rows_below("| verb |")}

    assert list(told) == list(TRANSITIONS)
    for verb, (starts, end) in TRANSITIONS.items():
        assert re.fullmatch(rf"({', '.join(starts)} )?→ {end}(, \w+)?", told[verb]), verb


def test_every_verb_is_a_method_of_the_store_as_the_table_says() -> None:
    for verb, _, method, _, _ in rows_below("| verb |"):
        owner, name = method.strip("`").split(".")

        assert f"`{name}`" == verb
        owners = {"intake": intake, "JobStore": jobs.JobStore, "ByHand": byhand.ByHand}
        assert callable(getattr(owners[owner], name))


def test_every_verb_is_an_sql_constant_that_makes_its_move() -> None:
    for verb, _, _, constant, _ in rows_below("| verb |"):
        name = verb.strip("`")
        starts, end = TRANSITIONS[name]
        statement = getattr(sql, name.upper())

        assert constant == f"`{name.upper()}`"
        if name == "enqueue":
            assert statement.split()[:3] == ["INSERT", "INTO", "main.custom_jobs"]
            assert "status" not in statement, "a new row gets the table's default, which is pending"
            assert "status TEXT NOT NULL DEFAULT 'pending'" in sql.MIGRATIONS[0][0]
        else:
            assert _move_of(statement) == (set(starts), end)


def test_every_sql_constant_that_moves_a_status_belongs_to_a_verb() -> None:
    for name, statement in _statements():
        if re.search(r"SET\s+status =", statement):
            # CLAIM_ONE is the claim of one job, for --job.
            assert name.removesuffix("_ONE").lower() in TRANSITIONS, name
            assert _move_of(statement)[1] == TRANSITIONS[name.removesuffix("_ONE").lower()][1]


def test_every_verb_has_a_line_in_the_logs_except_two_that_are_named() -> None:
    for verb, _, _, _, log in rows_below("| verb |"):
        name = verb.strip("`")

        assert hasattr(logs.Logs, name) == (name not in VERBS_WITHOUT_A_LOG_LINE)
        assert log == f"`Logs.{name}`" if hasattr(logs.Logs, name) else log.startswith("none")


def test_the_statuses_of_the_picture_and_of_the_database_are_those_of_the_code() -> None:
    statuses = {job.PENDING, job.PROCESSING, job.COMPLETED, job.FAILED, job.CANCELLED}
    allowed = re.search(r"CHECK \((status = .+?)\)", sql.MIGRATIONS[0][0], re.DOTALL)

    assert allowed
    assert set(re.findall(r"'(\w+)'", allowed[1])) == statuses
    assert {end for _, end in TRANSITIONS.values()} <= statuses


def _move_of(statement: str) -> tuple[set[str], str]:
    head, _, guard = statement.partition("WHERE")
    [end] = re.findall(r"status = '(\w+)'", head)
    return {start for start in re.findall(r"status = '(\w+)'", guard) if start != end}, end


def _statements() -> Iterator[tuple[str, str]]:
    for name, value in vars(sql).items():
        if name.isupper() and isinstance(value, str):
            yield name, value


# The floors


def floors() -> dict[str, list[str]]:
    """Return the modules of each floor in the picture, from the top down."""
    picture = page().partition("```floors\n")[2].partition("```")[0]
    return {line.split()[0]: re.findall(r"\w+", line.partition(" ")[2]) for line in picture.splitlines()}


def test_every_module_stands_on_one_floor_of_the_picture() -> None:
    drawn = [name for modules in floors().values() for name in modules]
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}

    assert sorted(drawn) == sorted({_part(name) for name in there} - {"__init__"})


def test_the_floors_of_the_picture_are_in_the_order_that_import_linter_holds() -> None:
    project = tomllib.loads((CODE / "pyproject.toml").read_text(encoding="utf-8"))
    [layers] = [
        contract["layers"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers" and contract["containers"] == ["bgjob"]
    ]
    floor_of = {name: number for number, modules in enumerate(floors().values()) for name in modules}

    down = [floor_of[_part(name)] for layer in layers for name in re.findall(r"\w+", layer)]

    assert down == sorted(down)


def _part(name: str) -> str:
    """Return the name under which a module stands in the picture: the parts of the config are drawn as one."""
    return "config" if name.startswith("config_") else name


def test_every_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:bgjob|tests|docs)/[\w/.]+|(?:store|cli)/[\w.]*|\w+\.py)`", page())

    assert len(named) > 30
    for path in named:
        assert (CODE / path).exists() or (PACKAGE / path).exists(), path


# The invariants


def test_every_invariant_of_the_page_has_a_test_here() -> None:
    told = [sentence for sentence, _ in rows_below("| what always holds |")]

    assert told == [
        "Only the store writes `custom_jobs`.",
        "A processing row has a worker that is alive, or its runner is dead.",
        "User code runs in `execution.py` and nowhere else.",
        "A class that is not approved is never imported.",
        "What a log line says has been committed.",
        "Settle only what you hold.",
    ]


def test_only_the_store_writes_custom_jobs() -> None:
    writing = {name for name, text in _statements() if re.search(r"\b(INSERT|UPDATE|DELETE|REPLACE)\b", text)}
    assert {"ENQUEUE", "CLAIM", "COMPLETE", "PRUNE"} <= writing

    for path, tree in _modules():
        inside = path.is_relative_to(PACKAGE / "store")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sql":
                assert inside or node.attr not in writing, (path, node.attr)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and path.name != "sql.py":
                assert not re.match(r"\s*(INSERT INTO|UPDATE \w+ SET|DELETE FROM|REPLACE INTO)\b", node.value), path


def test_user_code_is_imported_in_execution_and_nowhere_else() -> None:
    ways_in = {"importlib", "runpy", "imp", "pkgutil", "__import__", "exec", "eval"}
    found = set()
    for path, tree in _modules():
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    used = {name.name.partition(".")[0] for name in names}
                case ast.ImportFrom(module=str(module)):
                    used = {module.partition(".")[0]}
                case ast.Name(id=name):
                    used = {name}
                case _:
                    used = set()
            if used & ways_in:
                found.add(path.name)

    assert found == {"execution.py"}


def test_user_code_runs_in_a_worker_and_never_in_the_runner(project: Project) -> None:
    project.write_jobs(
        "import os\nwith open('imported', 'a') as file: file.write(f'{os.getppid()} ')\n"
        "class Job:\n    def execute(self): open('ran', 'w').write(str(os.getppid()))\n"
    )
    project.python("from bgjob import run_background_job as queue\nqueue('app.jobs.Job')")

    tick = project.start_tick()
    tick.communicate(timeout=30)

    assert (project.folder / "imported").read_text().split() == [str(tick.pid)]
    assert (project.folder / "ran").read_text() == str(tick.pid)


def test_a_class_that_is_not_approved_is_never_imported(project: Project) -> None:
    project.write_jobs("class Job:\n    def execute(self): pass\n")
    project.write_jobs("open('imported', 'w')\nclass Job:\n    def execute(self): pass\n", module="other")
    project.python("from bgjob import run_background_job as queue\nqueue('app.jobs.Job')")
    project.sql("INSERT INTO custom_jobs (job_class, method) VALUES ('app.other.Job', 'execute')")
    project.sql("INSERT INTO custom_jobs (job_class, method) VALUES ('app.jobs.Job', '__init__')")

    project.tick("--dry-run")
    project.tick()

    assert project.jobs() == [(1, "completed"), (2, "failed"), (3, "failed")]
    assert not (project.folder / "imported").exists()


LISTENING_RUNNER = """
import re
import sqlite3

from bgjob import logs
from bgjob.tick import main

write = logs.LogFile.write

def write_and_look(self, text):
    told = re.search(r"job=(\\d+) .* status=(\\w+)", text)
    if told:
        connection = sqlite3.connect("file:storage/jobs.sqlite3?mode=ro", uri=True)
        [[status]] = connection.execute("SELECT status FROM custom_jobs WHERE id = ?", [told[1]])
        connection.close()
        with open("looked", "a") as file:
            file.write(f"{told[2]} {status}\\n")
    write(self, text)

logs.LogFile.write = write_and_look
main(__file__)
"""


def test_what_a_log_line_says_has_been_committed(project: Project) -> None:
    project.configure("max_retries: 1\nretry_delay: 1h", methods="succeed, fail, crash")
    project.write_jobs(
        "import os\nclass Job:\n"
        "    def succeed(self): pass\n    def fail(self): raise ValueError\n    def crash(self): os._exit(0)\n"
    )
    project.runner.write_text(LISTENING_RUNNER)
    project.python(
        "from bgjob import run_background_job as queue\n"
        "for method in ('succeed', 'fail', 'crash'): queue('app.jobs.Job', method)"
    )

    project.tick()
    project.sql("UPDATE custom_jobs SET available_at = NULL WHERE status = 'pending'")
    project.tick()

    looked = [line.split() for line in (project.folder / "looked").read_text().splitlines()]
    assert sorted(told for told, _ in looked) == ["completed", "failed", "failed", "pending", "pending"]
    assert all(told == found for told, found in looked), looked


WAITING_JOB = """
import os
class Job:
    def execute(self):
        with open("started", "w") as started:
            started.write(str(os.getpid()))
        with open("go") as go:
            go.read(2)
"""


def open_pipe(path: Path) -> int:
    """Make a pipe through which a job and its test wait for each other; open for both, so that nobody hangs."""
    os.mkfifo(path)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def test_a_row_is_processing_only_while_a_living_runners_worker_has_it(project: Project) -> None:
    project.write_jobs(WAITING_JOB)
    project.python("from bgjob import run_background_job as queue\nqueue('app.jobs.Job')")
    started, go = open_pipe(project.folder / "started"), open_pipe(project.folder / "go")
    tick = project.start_tick()

    assert select.select([started], [], [], 30)[0], "the job did not start"
    pid = os.read(started, 100).decode()
    [(status, runner, worker)] = project.jobs("status, runner, worker")
    life = LifeFile(f"{project.database}.life")
    lives = life.is_held(runner)
    life.close()
    os.write(go, b"go")
    tick.communicate(timeout=30)
    os.close(started)
    os.close(go)

    assert (status, lives, worker.split()[0]) == ("processing", True, pid)
    assert project.jobs("status, runner, worker") == [("completed", None, None)]


def test_the_database_refuses_a_processing_row_without_an_owner(project: Project) -> None:
    project.python("from bgjob import run_background_job as queue\nqueue('app.jobs.Job')")

    with pytest.raises(sqlite3.IntegrityError, match="a_processing_row_has_an_owner"):
        project.sql("UPDATE custom_jobs SET status = 'processing'")


def test_every_settlement_names_what_it_holds() -> None:
    for verb in ("complete", "retry", "fail", "postpone", "release", "record_attempt"):
        guard = getattr(sql, verb.upper()).rpartition("WHERE")[2].strip()

        assert guard == "id = :id AND status = 'processing' AND runner IS :runner AND worker IS :worker", verb


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))
