"""Pings: a service on the network is told of each tick, and whatever it does, the queue is not disturbed."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import ping, run_background_job
from bgjob.config import read_config
from tests.conftest import wait_until
from tests.test_alarm import make_older, text_ago

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Project

JOBS = """
import os, time

class Job:
    def execute(self):
        open("trace", "a").write("job\\n")

    def boom(self):
        raise ValueError("no good")

    def wait(self):
        open("trace", "a").write("begin\\n")
        while not os.path.exists("go"):
            time.sleep(0.005)
"""


class Service:
    """A service that is pinged, on loopback: it remembers what it was asked for, and answers as it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.agents: set[str] = set()
        self.status = 200
        self.gate = threading.Event()  # closed, it answers nobody
        self.gate.set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append(self.path)
                service.agents.add(self.headers["User-Agent"])
                service.gate.wait(60)
                self.send_response(service.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/uuid"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


def configure(project: Project, url: str, more: str = "") -> None:
    project.configure(f"ping_url: {url}\nmax_retries: 0\n{more}", methods="execute, boom, wait")
    project.write_jobs(JOBS)


def complaints(project: Project) -> list[str]:
    return [line for line in project.log(errors=True).splitlines() if "ping_url" in line]


def test_a_tick_tells_that_it_began_and_went_well(project: Project, service: Service) -> None:
    configure(project, service.url)
    run_background_job("app.jobs.Job")

    done = project.tick()

    assert (done.stdout, done.stderr) == ("", "")
    assert service.asked == ["/uuid/start", "/uuid"]
    assert {agent.partition("/")[0] for agent in service.agents} == {"bgjob"}
    assert complaints(project) == []


def test_each_tick_tells_that_it_came_also_with_nothing_to_do(project: Project, service: Service) -> None:
    configure(project, service.url)
    for _ in range(4):
        project.tick()

    assert service.asked[-3:] == ["/uuid"] * 3


def test_a_tick_whose_starter_ignores_the_end_of_children_has_no_trouble_of_it(
    project: Project, service: Service
) -> None:
    configure(project, service.url)
    ignoring = "import signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); sys.argv[:1] = []; "
    execute = "import os; os.execv(sys.executable, [sys.executable, *sys.argv])"

    done = project.python(f"import sys; sys.argv.append({str(project.runner)!r}); {ignoring}{execute}")

    assert (done.stdout, done.stderr) == ("", "")
    assert service.asked == ["/uuid/start", "/uuid"]


def test_a_job_that_failed_for_good_is_told(project: Project, service: Service) -> None:
    configure(project, f"{service.url}/?create=1")
    run_background_job("app.jobs.Job", "boom")

    project.tick()

    assert service.asked == ["/uuid/start?create=1", "/uuid/fail?create=1"]


def test_trouble_of_the_runner_is_told(project: Project, service: Service) -> None:
    configure(project, service.url, "boot: app.missing")
    run_background_job("app.jobs.Job")

    assert project.tick(check=False).returncode == 78

    assert service.asked == ["/uuid/start", "/uuid/fail"]


def test_a_database_that_cannot_be_used_is_told(project: Project, service: Service) -> None:
    configure(project, service.url)
    project.database.parent.mkdir()
    project.database.write_bytes(b"this is no database at all, " * 1000)

    assert project.tick(check=False).returncode == 69

    assert service.asked == ["/uuid/fail"]


def test_a_runner_that_was_killed_is_told_by_what_it_leaves(project: Project, service: Service) -> None:
    configure(project, service.url)
    run_background_job("app.jobs.Job", "wait")
    tick = project.start_tick()
    wait_until(project.trace)
    wait_until(lambda: service.asked)
    tick.send_signal(signal.SIGKILL)
    tick.wait()

    wait_until(lambda: len(service.asked) == 2)

    assert service.asked == ["/uuid/start", "/uuid/fail"]


@pytest.mark.slow
def test_a_tick_that_is_turned_away_tells_that_cron_lives_unless_a_job_is_overdue(
    project: Project, service: Service
) -> None:
    configure(project, service.url)
    run_background_job("app.jobs.Job", "wait")
    first = project.start_tick()
    wait_until(project.trace)
    wait_until(lambda: service.asked)
    project.tick()
    run_background_job("app.jobs.Job")
    make_older(project, 6)
    project.sql("UPDATE runners SET started = ?", (text_ago(7),))
    first.send_signal(signal.SIGSTOP)

    done = project.tick()

    assert service.asked == ["/uuid/start", "/uuid", "/uuid/fail"]
    assert "has been due for 6 min" in done.stderr
    first.kill()


@pytest.mark.parametrize("arguments", [("--job", "1"), ("--in-process",), ("--check",), ("--dry-run",)])
def test_what_a_person_starts_by_hand_is_no_tick(
    project: Project, service: Service, arguments: tuple[str, ...]
) -> None:
    configure(project, service.url)
    run_background_job("app.jobs.Job")

    project.tick(*arguments)

    assert service.asked == []


@pytest.mark.parametrize("status", [301, 404, 500])
def test_an_answer_that_is_no_success_is_logged_once_and_disturbs_nobody(
    project: Project, service: Service, status: int
) -> None:
    configure(project, service.url)
    service.status = status
    for _ in range(2):
        run_background_job("app.jobs.Job")
        done = project.tick()
        assert (done.stdout, done.stderr) == ("", "")

    assert project.jobs() == [(1, "completed"), (2, "completed")]
    [line] = complaints(project)
    assert f"ping_url: http://127.0.0.1:{service.server.server_port} can't be told of this tick: HTTP Error" in line
    assert "uuid" not in line


def test_after_it_was_reached_again_the_next_trouble_is_logged_at_once(project: Project, service: Service) -> None:
    configure(project, service.url)
    for status in (500, 200, 500):
        service.status = status
        project.tick()

    assert len(complaints(project)) == 2


def test_nobody_listens(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    configure(project, f"http://127.0.0.1:{port}/uuid")
    run_background_job("app.jobs.Job")

    done = project.tick()

    assert (done.stdout, done.stderr, project.jobs()) == ("", "", [(1, "completed")])
    assert "Connection refused" in complaints(project)[0]


def test_a_service_that_closes_the_line_disturbs_nobody(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closing = threading.Thread(target=hang_up_twice, args=(server,))
        closing.start()
        configure(project, f"http://127.0.0.1:{server.getsockname()[1]}/uuid")
        run_background_job("app.jobs.Job")

        done = project.tick()

        closing.join(30)
    assert (done.stdout, done.stderr, project.jobs()) == ("", "", [(1, "completed")])
    assert len(complaints(project)) == 1


def hang_up_twice(server: socket.socket) -> None:
    for _ in range(2):
        server.accept()[0].close()


@pytest.mark.slow
def test_a_service_that_hangs_delays_neither_job_nor_queue_and_the_tick_by_seconds(
    project: Project, service: Service
) -> None:
    configure(project, service.url)
    service.gate.clear()
    run_background_job("app.jobs.Job")
    began = time.monotonic()
    tick = project.start_tick()

    wait_until(lambda: project.jobs() == [(1, "completed")])
    wait_until(lambda: project.sql("SELECT 1 FROM runners WHERE ended IS NOT NULL"))
    assert tick.poll() is None, "it waits for the service, with the queue given back"
    configure(project, service.url.replace("uuid", "other"), "workers: 2")
    run_background_job("app.jobs.Job")
    second = project.start_tick()
    wait_until(lambda: project.jobs()[1] == (2, "completed"))
    assert time.monotonic() - began < ping.SECONDS_TO_ANSWER

    for one in (tick, second):
        assert one.communicate(timeout=30) == ("", "")
        assert one.returncode == 0
    assert time.monotonic() - began < 3 * ping.SECONDS_TO_ANSWER
    assert "no answer in time" in complaints(project)[0]


@pytest.mark.slow
def test_a_tick_that_is_stopped_does_not_wait_for_the_service(project: Project, service: Service) -> None:
    configure(project, service.url)
    service.gate.clear()
    run_background_job("app.jobs.Job", "wait")
    tick = project.start_tick()
    wait_until(project.trace)
    wait_until(lambda: service.asked)
    (project.folder / "go").touch()
    began = time.monotonic()
    tick.terminate()

    assert tick.communicate(timeout=30) == ("", "")

    assert tick.returncode in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 3


def test_a_service_that_sends_a_byte_now_and_then_is_not_waited_for_longer(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ping, "SECONDS_TO_ANSWER", 0.3)
    before = signal.signal(signal.SIGALRM, ping._too_late)
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()
        drips = threading.Thread(target=drip, args=(server, stop))
        drips.start()
        configure(project, f"http://127.0.0.1:{server.getsockname()[1]}/uuid")
        began = time.monotonic()
        try:
            ping._ask(read_config("config/jobs.yaml"), b"w")
        finally:
            signal.signal(signal.SIGALRM, before)
            stop.set()
            drips.join(30)

    assert time.monotonic() - began < 3
    assert "no answer in time" in complaints(project)[0]


def drip(server: socket.socket, stop: threading.Event) -> None:
    connection = server.accept()[0]
    with connection:
        try:
            connection.sendall(b"HTTP/1.0 200 OK\r\n")
            while not stop.wait(0.05):
                connection.sendall(b"X")
        except OSError:
            return


def test_the_child_holds_nothing_on_which_others_wait_and_leaves_no_zombie(project: Project, service: Service) -> None:
    configure(project, service.url)
    run_background_job("app.jobs.Job", "wait")
    tick = project.start_tick()
    wait_until(project.trace)
    wait_until(lambda: service.asked)
    processes = [Path("/proc", pid) for pid in Path(f"/proc/{tick.pid}/task/{tick.pid}/children").read_text().split()]

    def without_a_question() -> list[set[str]]:
        """Return the files of each process, once the answer of the service has come."""
        files = []
        for one in processes:
            with contextlib.suppress(FileNotFoundError):  # closed just now: the next look sees it
                files.append({str(file.readlink()) for file in (one / "fd").iterdir()})
        is_asking = len(files) < len(processes) or any("socket:" in file for opened in files for file in opened)
        return [] if is_asking else files

    files = wait_until(without_a_question)
    (project.folder / "go").touch()

    assert tick.communicate(timeout=60) == ("", "")

    [of_messenger] = [opened for opened in files if not any("jobs.sqlite3" in file for file in opened)]
    assert {file.partition(":")[0] for file in of_messenger} == {"/dev/null", "pipe"}
    assert len(of_messenger) == 2
    assert not any(one.exists() for one in processes)


def test_a_lingering_runner_tells_when_the_next_one_takes_over(project: Project, service: Service) -> None:
    configure(project, service.url, "linger: 75s")
    first = project.start_tick()
    wait_until(lambda: service.asked == ["/uuid/start"])
    second = project.start_tick()

    assert first.communicate(timeout=60) == ("", "")

    wait_until(lambda: len(service.asked) == 3)
    assert sorted(service.asked) == ["/uuid", "/uuid/start", "/uuid/start"]
    second.terminate()
    second.communicate(timeout=60)
    assert service.asked[-1] == "/uuid"


@pytest.mark.parametrize(
    ("url", "path", "address"),
    [
        ("https://hc-ping.com/uuid", "/fail", "https://hc-ping.com/uuid/fail"),
        ("https://hc-ping.com/uuid/", "/start", "https://hc-ping.com/uuid/start"),
        ("https://hc-ping.com/uuid/", "", "https://hc-ping.com/uuid/"),
        ("https://example.org/p?create=1", "/fail", "https://example.org/p/fail?create=1"),
        ("https://example.org", "/start", "https://example.org/start"),
    ],
)
def test_the_path_goes_before_the_question_mark(url: str, path: str, address: str) -> None:
    assert ping._address(url, path) == address
