"""Each example under examples/ works as its README says: in a copy, a request comes in, a tick runs its job."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from bgjob.config import read_config
from tests.conftest import CODE

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = sorted(path.name for path in (CODE / "examples").iterdir() if path.is_dir())


class Example:
    """A copy of one example, in which its programs are started."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder / name
        shutil.copytree(CODE / "examples" / name, self.folder, ignore=shutil.ignore_patterns("__pycache__", "storage"))

    def environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if key != "BGJOB_CONFIG"}
        return {**inherited, "PYTHONPATH": str(CODE), "DJANGO_SETTINGS_MODULE": "app.settings"}

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60, cwd=self.folder,
            env=self.environment(),
        )  # fmt: skip
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done.stdout

    def tick(self) -> None:
        assert self.run("background_runner.py", "--exit-code") == ""

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        database = read_config(str(self.folder / "config" / "jobs.yaml")).database
        with closing(sqlite3.connect(database)) as connection:
            return connection.execute(statement).fetchall()

    def outputs(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT status, output FROM custom_jobs LEFT JOIN attempts ON job_id = custom_jobs.id "
                        "ORDER BY custom_jobs.id")  # fmt: skip


def test_these_are_all_examples() -> None:
    assert EXAMPLES == ["django", "fastapi", "flask", "script"]


def test_django(tmp_path: Path) -> None:
    example = Example("django", tmp_path)
    example.run("-m", "django", "migrate", "--verbosity", "0")
    assert example.run("-m", "django", "makemigrations", "--check", "--dry-run") == "No changes detected\n"
    example.tick()

    told = example.run("-c", """
import django
django.setup()
from django.test import Client
print(Client().post("/orders", {"customer": "Ada"}).json())
""")  # fmt: skip
    example.tick()

    assert told == "{'order': 1}\n"
    assert example.sql("SELECT id, customer, confirmed FROM app_order") == [(1, "Ada", 1)]
    assert example.outputs() == [
        ("completed", "Dear Ada, thank you for order 1.\n"),
        ("completed", "1 orders so far\n"),
    ]


def test_django_takes_the_job_back_with_the_order(tmp_path: Path) -> None:
    example = Example("django", tmp_path)
    example.run("-m", "django", "migrate", "--verbosity", "0")
    example.tick()

    told = example.run("-c", """
import django
django.setup()
from unittest.mock import patch
from django.test import Client
client = Client(raise_request_exception=False)
with patch("app.views.JsonResponse", side_effect=ValueError):
    print(client.post("/orders", {"customer": "kept"}).status_code)
with patch("app.views.transaction.on_commit", side_effect=ValueError):
    print(client.post("/orders", {"customer": "taken back"}).status_code)
""")  # fmt: skip

    assert told.split() == ["500", "500"]
    assert example.sql("SELECT customer FROM app_order") == [("kept",)]
    assert example.sql("SELECT job_class FROM custom_jobs") == [("app.jobs.ConfirmOrder",), ("app.jobs.CountOrders",)]


def test_the_tests_of_djangos_example_run_its_jobs_apart_from_its_database(tmp_path: Path) -> None:
    example = Example("django", tmp_path)

    told = example.run("-m", "django", "test", "--verbosity", "0", "--noinput")

    assert told.endswith("Dear Ada, thank you for order 1.\n1 orders so far\n")
    assert list(example.folder.glob("*.sqlite3*")) == list(example.folder.glob("storage/*.*")) == []


def test_flask(tmp_path: Path) -> None:
    example = Example("flask", tmp_path)
    example.tick()

    told = example.run("-c", """
from app import create_app
from unittest.mock import patch
client = create_app().test_client()
print(client.post("/orders", data={"customer": "Ada"}).json)
with patch("app.run_background_job", side_effect=ValueError):
    print(client.post("/orders", data={"customer": "taken back"}).status_code)
print(client.post("/orders", data={"customer": "Bob"}).json)
""")  # fmt: skip
    example.tick()

    assert told.splitlines() == ["{'order': 1}", "500", "{'order': 2}"]
    assert example.sql("SELECT customer, confirmed FROM orders") == [("Ada", 1), ("Bob", 1)]
    assert example.outputs() == [
        ("completed", "Dear Ada, thank you for order 1.\n"),
        ("completed", "Dear Bob, thank you for order 2.\n"),
    ]


def test_flask_behind_a_server_that_forks(tmp_path: Path) -> None:
    """The server has queued before it forks, and so has a connection that its children must not carry on."""
    example = Example("flask", tmp_path)
    (example.folder / "server.py").write_text("""
import os
from app import create_app
from bgjob import run_background_job
application = create_app()
run_background_job("app.jobs.ConfirmOrder", params={"order_id": 1})

@application.post("/again")
def again():
    run_background_job("app.jobs.ConfirmOrder", params={"order_id": 1})
    return str(os.getpid())
""")
    example.tick()
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:0",
               "--graceful-timeout", "5", "--no-control-socket", "server"]  # fmt: skip
    with subprocess.Popen(
        command, cwd=example.folder, env=example.environment(), stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr
            port = next(found[1] for line in server.stderr if (found := re.search(r"127\.0\.0\.1:(\d+)", line)))
            address = f"http://127.0.0.1:{port}"
            order = urllib.request.urlopen(f"{address}/orders", b"customer=Ada", timeout=30).read()  # noqa: S310  # as above
            pids = {urllib.request.urlopen(f"{address}/again", b"", timeout=30).read() for _ in range(20)}  # noqa: S310  # as above
        finally:
            server.terminate()
            server.wait(30)

    example.tick()

    assert order == b'{"order":1}\n'
    assert str(server.pid).encode() not in pids
    assert example.sql("SELECT status, count(*) FROM custom_jobs GROUP BY status") == [("completed", 22)]


def test_fastapi(tmp_path: Path) -> None:
    example = Example("fastapi", tmp_path)
    example.tick()

    told = example.run("-c", """
from unittest.mock import patch
from fastapi.testclient import TestClient
from app.main import app
client = TestClient(app, raise_server_exceptions=False)
print(client.post("/orders", data={"customer": "Ada"}).json())
with patch("sqlalchemy.orm.Session.commit", side_effect=ValueError):
    print(client.post("/orders", data={"customer": "taken back"}).status_code)
""")  # fmt: skip
    example.tick()

    assert told.splitlines() == ["{'order': 1}", "500"]
    assert example.sql("SELECT customer, confirmed FROM orders") == [("Ada", 1)]
    assert example.outputs() == [("completed", "Dear Ada, thank you for order 1.\n")]


def test_the_script(tmp_path: Path) -> None:
    example = Example("script", tmp_path)
    (example.folder / "poem.txt").write_text("so much depends\nupon\n", encoding="utf-8")

    told = example.run("count.py", "README.md", "poem.txt")
    example.tick()

    assert told == "2 jobs queued\n"
    assert (example.folder / "poem.txt.words").read_text(encoding="utf-8") == "4\n"
    assert (example.folder / "README.md.words").exists()
    assert example.outputs() == [("completed", None), ("completed", None)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_approved_classes_can_all_be_imported_and_run(name: str, tmp_path: Path) -> None:
    assert "is fine" in Example(name, tmp_path).run("background_runner.py", "--check")


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_readme_names_files_that_are_there_and_is_valid_shell(name: str) -> None:
    folder = CODE / "examples" / name
    page = (folder / "README.md").read_text(encoding="utf-8")
    [commands] = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)

    subprocess.run(["sh", "-n", "-c", commands], check=True)
    for path in re.findall(r"`(?:python )?([\w/]+\.(?:py|yaml))`", page):
        assert (folder / path).exists() or path == "manage.py", path
    assert (folder / "background_runner.py").read_bytes() == (
        CODE / "examples/django/background_runner.py"
    ).read_bytes()
