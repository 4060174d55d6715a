"""`bgjob dashboard` and `bgjob report` as people start them, and the report that each tick writes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bgjob import files
from bgjob.dashboard import guard, passwords
from tests.conftest import wait_until
from tests.test_dashboard_guard import basic
from tests.test_dashboard_request import Served
from tests.test_status import bgjob
from tests.visitor import Page, add, make_database, one_of_each

if TYPE_CHECKING:
    from tests.conftest import Project

EVERYWHERE = "0.0.0.0"  # noqa: S104  # what is refused, or takes a password
VARIABLE = "BGJOB_DASHBOARD_PASSWORD_HASH"


@pytest.fixture(scope="module")
def password_hash() -> str:
    return passwords.hashed("correct horse")


def ask(served: Served, address: str = "", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(served.address + address, headers=headers)  # noqa: S310  # of our own server
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # as above
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def listeners(process: subprocess.Popen[str]) -> set[str]:
    """Return the addresses at which a process listens, as the kernel writes them."""
    targets = [os.readlink(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()]  # noqa: PTH115  # no file
    sockets = {target[8:-1] for target in targets if target.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in sockets:
                found.add(columns[1].rpartition(":")[0])
    return found


def test_it_serves_this_machine_alone_until_it_is_told_to_end(project: Project) -> None:
    one_of_each(project)
    served = Served(project)

    assert served.address.startswith("http://127.0.0.1:")
    assert ask(served)[0] == 200
    assert ask(served, "jobs/4")[0] == 200
    if sys.platform == "linux":
        assert listeners(served.process) == {"0100007F"}
    assert served.end() == (0, "", "")


def test_ctrl_c_ends_it(project: Project) -> None:
    served = Served(project)
    served.process.send_signal(signal.SIGINT)

    assert served.process.wait(60) == 0
    assert served.process.communicate()[1] == ""


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.0.2.1", "example.org", "", "0", "127.0.0.1.example.org"])
def test_any_other_address_is_refused_without_a_password(project: Project, host: str) -> None:
    done = bgjob(project, "dashboard", "--port", "0", f"--host={host}", code=2)

    assert "can be reached from elsewhere" in done.stderr
    assert "bgjob dashboard --hash-password" in done.stderr


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2", "::1", "[::1]", "127.255.255.254"])
def test_addresses_of_this_machine_need_none(host: str) -> None:
    assert guard.is_loopback(host)


@pytest.mark.parametrize("place", ["environment", "config"])
def test_with_a_password_it_serves_others(project: Project, password_hash: str, place: str) -> None:
    make_database(project)
    if place == "config":
        project.configure(f"dashboard_password_hash: '{password_hash}'")
    more = {VARIABLE: password_hash} if place == "environment" else {}

    served = Served(project, "--host", EVERYWHERE, "--user", "ann", **more)

    served.address = served.address.replace(EVERYWHERE, "127.0.0.1")
    assert ask(served)[0] == 401
    assert ask(served, Authorization=basic("ann", "wrong"))[0] == 401
    assert ask(served, Authorization=basic("ann", "correct horse"))[0] == 200
    assert ask(served, "healthz")[0] in (200, 503)
    assert served.end() == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--user", "ann"], {}, "--user asks for a password, and there is none"),
        (["--user", "a:b"], {VARIABLE: "x"}, "--user can't have a colon"),
        ([], {VARIABLE: "correct horse"}, "the password's hash can't be used"),
        (["--port", "70000"], {}, "is no port"), (["--port", "-1"], {}, "is no port"), (["--port", "x"], {}, "--port"),
    ],
)  # fmt: skip
def test_what_can_not_be_meant_is_refused(
    project: Project, arguments: list[str], environment: dict[str, str], told: str
) -> None:
    done = bgjob(project, "dashboard", *arguments, code=2, cwd=None, typed=None, **environment)

    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_told(project: Project) -> None:
    served = Served(project)

    done = bgjob(project, "dashboard", "--port", str(served.port), code=1)

    assert f"127.0.0.1 port {served.port} can't be listened on" in done.stderr
    assert "--port 0" in done.stderr
    served.end()


def test_a_prefix_stands_before_all_addresses(project: Project) -> None:
    one_of_each(project)
    served = Served(project, "--prefix", "/ops/jobs/")

    status, text = ask(served)

    assert served.address.endswith("/ops/jobs/")
    assert status == 200
    assert all(link.startswith(("/ops/jobs/", "#")) for link in Page(text).links)
    served.end()


def test_a_read_only_one_shows_only(project: Project) -> None:
    one_of_each(project)
    served = Served(project, "--read-only")

    assert " · read-only" in ask(served)[1]
    raw = b"POST /pause HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n\r\n"
    assert served.say(raw).startswith(b"HTTP/1.1 403")
    served.end()


def test_a_password_is_hashed_and_never_shown(project: Project) -> None:
    done = bgjob(project, "dashboard", "--hash-password", typed="correct horse\n")

    assert passwords.fits("correct horse", done.stdout.strip())
    assert "horse" not in done.stdout + done.stderr
    assert "8 characters" in bgjob(project, "dashboard", "--hash-password", typed="short\n", code=2).stderr


WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.argv = ["bgjob", *{arguments!r}]
from bgjob.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [(["jinja2"], ["dashboard"]), (["waitress"], ["dashboard"]), (["markupsafe"], ["report", "x.html"]),
     (["jinja2"], ["report", "x.html"])],
)  # fmt: skip
def test_without_the_extra_it_is_told_which(project: Project, missing: list[str], arguments: list[str]) -> None:
    done = project.python(WITHOUT.format(missing=missing, arguments=arguments), check=False)

    assert done.returncode == 1
    assert done.stderr == (
        f"bgjob: {missing[0]} is not installed, with which the pages are made: pip install 'bgjob[dashboard]'\n"
    )


# The report


def test_a_report_needs_no_other_file_and_hides_secrets(project: Project) -> None:
    one_of_each(project)
    add(project, {"status": "failed", "params": '{"password": "hunter22"}', "error": "ValueError: hunter22"})
    add(project, {"job_id": 6, "attempt": 1, "outcome": "raised", "finished_at": "2099-01-01 00:00:00.000000",
                  "error": "ValueError: hunter22"}, table="attempts")  # fmt: skip

    done = bgjob(project, "report", "out.html")

    assert done.stdout == "wrote out.html\n"
    text = (project.folder / "out.html").read_text()
    page = Page(text)
    assert page.links == []
    assert {element.tag for element in page.elements} & {"script", "link", "form", "a", "img", "iframe"} == set()
    assert "url(" not in text
    assert "@import" not in text
    assert "hunter22" not in text
    assert "Skip to the content" not in text
    assert "ValueError" in page.said
    assert text.count('class="tile ') == 5
    assert "Written 20" in page.said
    assert (project.folder / "out.html").stat().st_mode & stat.S_IROTH
    assert sorted(path.name for path in project.folder.glob("out*")) == ["out.html"]


def test_a_report_of_an_empty_queue_says_so_and_makes_none(project: Project) -> None:
    bgjob(project, "report", "out.html")

    assert "No job was ever queued" in (project.folder / "out.html").read_text()
    assert not project.database.exists()


@pytest.mark.parametrize(("path", "code"), [("out.txt", 2), ("nowhere/out.html", 1), ("/dev/null/out.html", 1)])
def test_where_it_can_not_be_written_is_told(project: Project, path: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bgjob", "report", path], cwd=project.folder, env=project.environment(),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode != 0
    assert (done.returncode == 2) == (code == 2)
    assert path in done.stderr
    assert ".new" not in done.stderr
    assert "Traceback" not in done.stderr


def test_whoever_reads_a_report_never_sees_half_of_one(tmp_path: Path) -> None:
    path = str(tmp_path / "out.html")
    pages = [bytes([65 + number]) * 300_000 for number in range(2)]
    files.replace(path, pages[0])
    torn: list[int] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            with open(path, "rb") as file:  # noqa: PTH123  # as quick as can be
                content = file.read()
            if content not in pages:
                torn.append(len(content))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(300):
        files.replace(path, pages[number % 2])
    is_over.set()
    reader.join()

    assert torn == []


def test_each_tick_writes_the_report_also_an_idle_one(project: Project) -> None:
    project.configure("report_file: storage/report.html")
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n")
    project.python("from bgjob import run_background_job as queue\nqueue('app.jobs.Job')")
    report = project.folder / "storage" / "report.html"

    project.tick()
    first = report.stat().st_mtime_ns
    assert "1 completed" in Page(report.read_text()).said
    done = project.tick()

    assert report.stat().st_mtime_ns > first
    assert (done.stdout, done.stderr, project.log(errors=True)) == ("", "", "")


def test_a_report_that_fails_disturbs_no_job_and_is_told_once_in_each_tick(project: Project) -> None:
    project.configure("report_file: storage/report.html")
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n")
    project.python("from bgjob import run_background_job as queue\nqueue('app.jobs.Job')")
    (project.folder / "storage" / "report.html").mkdir()

    done = project.tick("--exit-code")

    assert (done.stdout, done.stderr) == ("", "")
    assert project.jobs() == [(1, "completed")]
    lines = project.log(errors=True).splitlines()
    assert [("report_file" in line, "Traceback" in line) for line in lines] == [(True, False)]
    project.tick()
    assert len(project.log(errors=True).splitlines()) == 2


def test_a_tick_that_is_stopped_writes_no_report_for_whoever_stops_it_waits(project: Project) -> None:
    project.configure("report_file: storage/report.html\nlinger: 60")
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n")
    project.python("from bgjob import run_background_job as queue\nqueue('app.jobs.Job')")
    tick = project.start_tick()
    wait_until(lambda: project.jobs() == [(1, "completed")])

    tick.terminate()

    assert tick.wait(30) == 0
    assert not (project.folder / "storage" / "report.html").exists()


def test_a_report_without_the_extra_is_told_in_the_log(project: Project) -> None:
    project.configure("report_file: storage/report.html")
    make_database(project)
    (project.folder / "jinja2.py").write_text("raise ModuleNotFoundError('none', name='jinja2')")

    project.tick(env=project.environment(PYTHONPATH=f"{project.folder}:{project.environment()['PYTHONPATH']}"))

    [line] = project.log(errors=True).splitlines()
    assert "jinja2 is not installed" in line
    assert "bgjob[dashboard]" in line


# What it costs those who do not look


def test_nothing_but_its_commands_imports_the_dashboard(project: Project) -> None:
    project.configure("workers: 2")
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n")
    script = """
import sys
from bgjob import run_background_job
run_background_job("app.jobs.Job")
sys.argv = ["bgjob", "status"]
import bgjob.runner, bgjob.enqueue, bgjob.cli.run, bgjob.metrics
from bgjob.cli.main import main
try:
    main()
finally:
    print([name for name in sys.modules if name.startswith(("bgjob.dashboard", "jinja2", "waitress", "bgjob.steering"))
           or name in ("bgjob.cli.dashboard", "bgjob.cli.report", "bgjob.views.history", "bgjob.views.masks")])
    sys.stdout.flush()
"""

    assert project.python(script).stdout.splitlines()[-1] == "[]"


def test_clients_that_come_at_once_are_all_answered(project: Project) -> None:
    one_of_each(project)
    served = Served(project)
    answers: list[int] = []

    threads = [threading.Thread(target=lambda: answers.append(ask(served, "jobs")[0])) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [200] * 24
    assert served.end() == (0, "", "")


def test_a_server_lives_on_when_the_database_comes_and_goes(project: Project) -> None:
    served = Served(project)
    assert "No job was ever queued" in ask(served)[1]
    one_of_each(project)
    assert "No job was ever queued" not in ask(served)[1]
    for path in project.database.parent.glob("jobs.sqlite3*"):
        path.unlink()
    wait_until(lambda: "No job was ever queued" in ask(served)[1])

    assert served.end() == (0, "", "")
