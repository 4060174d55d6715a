"""`--check` imports what a worker would, in a process that a module may end without ending the check."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Project

FINE = "class Job:\n    def execute(self):\n        pass\n"
DEADLY = {
    "os._exit(0)": ("import os; os._exit(0)", "ended itself with exit code 0"),
    "os._exit(3)": ("import os; os._exit(3)", "ended itself with exit code 3"),
    "a segfault": ("import ctypes; ctypes.string_at(0)", "was killed by SIGSEGV (signal 11)"),
    "kill -9 of its group": ("import os; os.killpg(0, 9)", "was killed by SIGKILL (signal 9)"),
    "SIGTERM": ("import os; os.kill(os.getpid(), 15)", "was killed by SIGTERM (signal 15)"),
}


@pytest.fixture(autouse=True)
def three_classes(project: Project) -> None:
    configure(project)
    for module in ("first", "second", "third"):
        project.write_jobs(FINE, module)


def configure(project: Project, text: str = "") -> None:
    project.configure(text, classes="app.first.Job, app.second.Job, app.third.Job")


@pytest.mark.parametrize(("how", "told"), DEADLY.values(), ids=DEADLY)
def test_a_module_that_ends_the_process_is_named_and_the_others_are_looked_at(
    project: Project, how: str, told: str
) -> None:
    project.write_jobs(how, "second")
    project.write_jobs("class Other:\n    pass\n", "third")

    done = project.tick("--check", check=False)

    assert done.returncode == 78
    assert f"app.second.Job: the process that imported it {told}\n" in done.stdout
    assert "app.third.Job: module app.third has no class Job\n" in done.stdout
    assert "2 not found" in done.stdout
    assert "app.first" not in done.stdout


@pytest.mark.parametrize("module", ["first", "third"])
def test_an_import_that_never_ends_is_given_up_after_the_timeout_of_the_class(project: Project, module: str) -> None:
    configure(project, "timeout: 1s")
    project.write_jobs("while True:\n    pass\n", module)

    done = project.tick("--check", check=False, timeout=20)

    assert done.returncode == 78
    assert f"app.{module}.Job: its import did not end within 1 s\n" in done.stdout
    assert "1 not found" in done.stdout


INTRUDERS = """
import os, time
for file in range(3, 60):
    try: os.write(file, {text!r})
    except OSError: pass
"""


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (INTRUDERS.format(text=b"no line") + "time.sleep(60)", "its import did not end within 1 s"),
        (INTRUDERS.format(text=b"rubbish\n"), "its import writes into files that it did not open"),
        (
            "import os\nif os.fork(): os._exit(3)\nimport time; os.setsid(); time.sleep(3)",
            "ended itself with exit code 3",
        ),
    ],
    ids=["half a line", "a line", "a daemon"],
)
def test_a_module_that_meddles_with_the_check_holds_nobody_up(project: Project, how: str, told: str) -> None:
    configure(project, "timeout: 1s")
    project.write_jobs(how, "second")

    done = project.tick("--check", check=False, timeout=20)

    assert done.returncode == 78
    assert told in done.stdout
    assert "app.second.Job" in done.stdout


def test_a_module_that_reopens_all_files_keeps_its_own_ones_clean(project: Project) -> None:
    project.write_jobs(
        f"import os\nos.closerange(3, 60)\nfor n in range(20): open(f'own {{n}}', 'w')\n{FINE}", "second"
    )

    project.tick("--check", check=False)

    assert {path.read_text() for path in project.folder.glob("own *")} == {""}


@pytest.mark.parametrize(("how", "told"), DEADLY.values(), ids=DEADLY)
def test_a_boot_module_that_ends_the_process_is_told(project: Project, how: str, told: str) -> None:
    configure(project, "boot: app.boot")
    project.write_jobs(how, "boot")

    done = project.tick("--check", check=False)

    assert done.returncode == 78
    assert done.stdout == f"boot: app.boot: the process that imported it {told}\n"


def test_a_module_may_print_and_exit_and_ask_for_input_as_in_a_worker(project: Project) -> None:
    project.write_jobs(f"print('hello')\nimport os; os.write(2, b'there')\n{FINE}", "first")
    project.write_jobs("raise SystemExit(3)", "second")
    project.write_jobs(f"try:\n    input()\nexcept EOFError:\n    print('no input')\n{FINE}", "third")

    done = project.tick("--check", check=False, timeout=20)

    assert done.returncode == 78
    assert "hello\n" in done.stdout
    assert "no input\n" in done.stdout
    assert done.stderr == "there"
    assert "app.second.Job can't be imported: SystemExit: 3\n" in done.stdout
    assert "1 not found" in done.stdout


def test_a_module_that_closes_all_files_is_told(project: Project) -> None:
    project.write_jobs(f"import os; os.closerange(3, 256)\n{FINE}", "second")

    done = project.tick("--check", check=False)

    assert done.returncode == 78
    assert "app.second.Job: " in done.stdout
    assert "1 not found" in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_nothing_is_left_of_a_check_that_is_stopped(project: Project, number: int, code: int) -> None:
    project.write_jobs("import os\nopen('importing', 'w').write(str(os.getpid()))\nwhile True:\n    pass\n", "second")
    check = project.start_tick("--check")
    note = project.folder / "importing"
    importer = int(wait_until(lambda: note.exists() and note.read_text()))

    check.send_signal(number)

    assert check.wait(10) == code
    wait_until(lambda: not is_running(importer))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_check_of_many_classes_imports_boot_once(project: Project) -> None:
    configure(project, "boot: app.boot")
    project.write_jobs("import os\nwith open('boots', 'a') as file:\n    file.write('boot\\n')\n", "boot")

    project.tick("--check")

    assert project.trace("boots") == ["boot"]


def test_exceptions_on_the_lists_that_are_not_there_are_told(project: Project) -> None:
    project.write_jobs(
        "class BadInput(Exception):\n    class Worse(Exception):\n        pass\nclass NoError:\n    pass\n", "errors"
    )
    configure(project, "fail_on: [KeyError, app.errors.BadInput, app.errors.BadInput.Worse, json.JSONDecodeError]")
    fine = project.tick("--check")
    configure(
        project, "fail_on: [app.errors.BadInptu]\nretry_on: [app.errors.NoError, app.nowhere.Error, nowhere.Error]"
    )

    done = project.tick("--check", check=False)

    assert "is fine" in fine.stdout
    assert done.returncode == 78
    assert "the exception app.errors.BadInptu: module 'app.errors' has no attribute 'BadInptu'\n" in done.stdout
    assert "the exception app.errors.NoError: it is no exception but type\n" in done.stdout
    assert "the exception app.nowhere.Error: module 'app' has no attribute 'nowhere'\n" in done.stdout
    assert (
        "the exception nowhere.Error can't be imported: ModuleNotFoundError: No module named 'nowhere'\n" in done.stdout
    )
    assert "4 not found" in done.stdout


def test_a_module_of_an_exception_that_ends_the_process_is_named(project: Project) -> None:
    project.write_jobs("import os; os._exit(3)", "errors")
    project.configure("", classes="{app.first.Job: {fail_on: [app.errors.BadInput]}}, app.second.Job")

    done = project.tick("--check", check=False)

    assert done.returncode == 78
    assert (
        "the exception app.errors.BadInput: the process that imported it ended itself with exit code 3\n" in done.stdout
    )
    assert "1 not found" in done.stdout
