"""Odd requests: over a raw socket through the server, and as environments straight into the application."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import subprocess
import sys
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgjob.dashboard import Dashboard
from bgjob.dashboard.request import LARGEST_FORM, MOST_FIELDS
from tests.conftest import Project
from tests.test_dashboard_guard import assert_harmless
from tests.visitor import Page, Visitor, answer_of, config_of, look, one_of_each

if TYPE_CHECKING:
    from collections.abc import Iterator

HIGHEST = 2**63 - 1


class Served:
    """`bgjob dashboard`, and a socket to it for each request."""

    def __init__(self, project: Project, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bgjob", "dashboard", "--port", "0", *arguments],
            cwd=project.folder,
            env=project.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.told = self.process.stdout.readline()
        found = re.fullmatch(r"the dashboard is at (http://(.+):(\d+)(/.*)) \(Ctrl-C ends it\)\n", self.told)
        assert found, (self.told, self.process.communicate(timeout=60))
        self.address, self.host, self.port = found[1], found[2].strip("[]"), int(found[3])

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=60)

    def say(self, raw: bytes) -> bytes:
        """Send bytes, say no more, and return all that comes back."""
        with self.connect() as connection:
            # The answer may come, and the connection go, before everything was sent.
            with contextlib.suppress(OSError):
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
            said = b""
            with contextlib.suppress(ConnectionResetError):
                while more := connection.recv(65_536):
                    said += more
        return said

    def end(self) -> tuple[int, str, str]:
        """End it as Ctrl-C does; return its exit code, and what it has said since."""
        self.process.terminate()
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture(scope="module")
def served_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("served") / "project")
    one_of_each(project)
    return project


@pytest.fixture(scope="module")
def served(served_project: Project) -> Iterator[Served]:
    """Yield a server for all tests of this module, which at its end has complained of nothing."""
    server = Served(served_project)
    try:
        yield server
    finally:
        ended = server.end()
    assert ended == (0, "", "")


HOST = b"Host: localhost\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n"
MANY = b"&".join(b"id=%d" % number for number in range(1, MOST_FIELDS + 50))
ODD: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "plain": (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", (200,)),
    "head": (b"HEAD /jobs HTTP/1.1\r\n" + HOST + b"\r\n", (200,)),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n" + HOST + b"\r\n", (200,)),
    "HTTP/1.0 without a host": (b"GET / HTTP/1.0\r\n\r\n", (421,)),
    "HTTP/0.9": (b"GET /\r\n\r\n", (421, 400)),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", (421,)),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", (421, 400)),
    "host of the address": (b"GET http://localhost/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", (421,)),
    "absolute": (b"GET http://evil.example/jobs HTTP/1.1\r\n" + HOST + b"\r\n", (200, 404)),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", (404, 400)),
    "connect": (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", (404, 400, 405)),
    "unknown method": (b"BREW /jobs HTTP/1.1\r\n" + HOST + b"\r\n", (405,)),
    "lower case": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", (200, 400, 405)),
    "long method": (b"A" * 5000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", (400, 405)),
    "NUL": (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    "NUL in the query": (b"GET /jobs?text=%00 HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    "no UTF-8": (b"GET /%ff HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    "raw byte": (b"GET /jobs?text=\xff HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    "no UTF-8 in the query": (b"GET /jobs?text=%ff HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    "two slashes": (b"GET //jobs HTTP/1.1\r\n" + HOST + b"\r\n", (404, 200)),
    "path tricks": (b"GET /static/0/../../../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", (404,)),
    "escaped path tricks": (b"GET /static/0/%2e%2e%2f%2e%2e%2fapp.py HTTP/1.1\r\n" + HOST + b"\r\n", (404,)),
    "line break": (b"GET /%0d%0aX:%20y HTTP/1.1\r\n" + HOST + b"\r\n", (404,)),
    "long address": (b"GET /jobs?text=" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", (414,)),
    "huge head": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 500_000 + b"\r\n\r\n", (431, 400)),
    "many heads": (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 20_000 + b"\r\n", (431, 400)),
    "bad head": (b"GET / HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n", (400, 200)),
    "bad length": (b"POST /jobs HTTP/1.1\r\n" + HOST + FORM + b"Content-Length: ten\r\n\r\n", (400,)),
    "negative length": (b"POST /jobs HTTP/1.1\r\n" + HOST + FORM + b"Content-Length: -5\r\n\r\n", (400,)),
    "two lengths": (
        b"POST /jobs HTTP/1.1\r\n" + HOST + FORM + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", (400,)),
    "huge body": (
        b"POST /jobs HTTP/1.1\r\n" + HOST + FORM + b"Content-Length: 9000000000\r\n\r\n" + b"a" * 100_000, (413,)),
    "large body": (
        b"POST /jobs HTTP/1.1\r\n" + HOST + FORM + b"Content-Length: 500000\r\n\r\n" + b"a" * 500_000, (413,)),
    "length without a body": (b"POST /jobs HTTP/1.1\r\n" + HOST + FORM + b"Content-Length: 50\r\n\r\nid=1", ()),
    "chunked": (b"POST /jobs HTTP/1.1\r\n" + HOST + FORM
                + b"Transfer-Encoding: chunked\r\n\r\n7\r\nverb=re\r\n8\r\nqueue&id\r\n2\r\n=1\r\n0\r\n\r\n", (303,)),
    "bad chunk": (
        b"POST /jobs HTTP/1.1\r\n" + HOST + FORM + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nverb", (400,)),
    "odd encoding": (b"POST /jobs HTTP/1.1\r\n" + HOST + FORM + b"Transfer-Encoding: gzip\r\n\r\n", (501, 400)),
    "many fields": (
        b"POST /jobs HTTP/1.1\r\n" + HOST + FORM + b"Content-Length: %d\r\n\r\n" % len(MANY) + MANY, (413,)),
    "json": (b"POST /jobs HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nSec-Fetch-Site: none\r\n"
             b"Content-Length: 2\r\n\r\n{}", (415,)),
    "from another site": (b"POST /pause HTTP/1.1\r\n" + HOST + b"Origin: http://evil.example\r\n\r\n", (403,)),
    "rubbish": (bytes(range(256)) * 50 + b"\r\n\r\n", (400,)),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50 + b"\r\n\r\n", (400,)),
    "nothing": (b"", ()),
    "half": (b"GET / HT", ()),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_the_server_answers_what_is_odd_and_goes_on(served: Served, name: str) -> None:
    raw, statuses = ODD[name]

    said = served.say(raw)

    head = said.partition(b"\r\n\r\n")[0].decode("latin-1")
    assert bool(said) == bool(statuses), said[:300]
    if statuses:
        assert int(head.split()[1]) in statuses, said[:300]
    assert b"Traceback" not in said
    assert b"bug in bgjob" not in said
    assert "evil.example" not in head
    assert served.say(ODD["plain"][0]).startswith(b"HTTP/1.1 200 OK\r\n")


def test_requests_one_behind_the_other_are_answered_in_turn(served: Served) -> None:
    requests = [b"GET %s HTTP/1.1\r\n" % path + HOST + b"\r\n" for path in (b"/", b"/nowhere", b"/healthz", b"/jobs")]

    said = served.say(b"".join(requests))

    assert re.findall(rb"HTTP/1\.1 (\d+) ", said) == [b"200", b"404", b"503", b"200"]


def test_clients_that_stop_in_the_middle_hold_nobody_up(served: Served) -> None:
    """There are more of them than threads."""
    with contextlib.ExitStack() as stack:
        for part in (b"", b"GET / HT", b"POST /jobs HTTP/1.1\r\n" + HOST + FORM + b"Content-Length: 99\r\n\r\nverb="):
            for _ in range(8):
                stack.enter_context(served.connect()).sendall(part)

        assert served.say(ODD["plain"][0]).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_that_does_not_read_holds_nobody_up(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(served.connect())
            connection.sendall((b"GET /static/0/style.css HTTP/1.1\r\n" + HOST + b"\r\n") * 20)

        assert served.say(ODD["plain"][0]).startswith(b"HTTP/1.1 200 OK\r\n")


# Straight into the application


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({"CONTENT_LENGTH": "ten"}, 400), ({"CONTENT_LENGTH": "-1"}, 413), ({"CONTENT_LENGTH": "9" * 5000}, 400),
        ({"CONTENT_LENGTH": str(LARGEST_FORM + 1)}, 413), ({"CONTENT_TYPE": "multipart/form-data; boundary=x"}, 415),
        ({"CONTENT_TYPE": "text/plain"}, 415),
        ({"wsgi.input": io.BytesIO(b"verb=requeue&id=%ff"), "CONTENT_LENGTH": "19"}, 400),
        ({"wsgi.input": io.BytesIO(b"verb=requeue&id=\xff\xfe"), "CONTENT_LENGTH": "18"}, 400),
        ({"wsgi.input": io.BytesIO(b"verb=%00&id=1"), "CONTENT_LENGTH": "13"}, 400),
    ],
)  # fmt: skip
def test_what_is_no_form_is_refused(project: Project, environ: dict[str, Any], status: int) -> None:
    one_of_each(project)

    assert Visitor(Dashboard.on_loopback(config_of(project)), is_valid=False).post("/jobs", **environ).status == status


def test_letters_that_were_not_escaped_are_read_as_they_are(project: Project) -> None:
    one_of_each(project)
    visitor = look(project)

    page = Page(visitor.get("/jobs", QUERY_STRING="text=jürgen☃".encode().decode("latin-1")).text)

    assert "jürgen☃" in {field.get("value") for field in page.all("input")}


ODD_TEXT = st.one_of(
    st.sampled_from([
        "", "0", "1", "-1", "+1", "\uff14", "1e9", "NaN", " 1 ", "1_0", "0x1", "null", "\ud800", "\0", "\r\n", "%00",
        "%ff", "<script>", "'", '"', "/", "//", "..", "2h", "-2h", "9" * 30 + "d", "2026-13-45", "0001-01-01",
        "9999-12-31",
        "2026-11-24T12:00+23:59", "1.1.2026", "pending", "failed", "running", "requeue", "cancel", "delete",
        "run now", "prune", "newest", "oldest", "priority", "due", "duration", "\u202e", "a" * 3000,
    ]),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from([HIGHEST, HIGHEST - 1, HIGHEST + 1, -HIGHEST - 1, -HIGHEST - 2, 2**62, 10**18, 10**19]).map(str),
    st.text(max_size=20),
)  # fmt: skip
NAMES = st.sampled_from(
    ["status", "class", "method", "priority", "error", "text", "since", "until", "before", "after", "offset", "sort",
     "limit", "verb", "did", "n", "left", "id", "upto", "back", "sure", "reason", "odd"]
)  # fmt: skip
PATHS = st.one_of(
    st.sampled_from(["/", "", "/jobs", "/jobs/matching", "/jobs/1", "/jobs/3", "/ticks", "/health", "/healthz",
                     "/pause", "/resume", "/prune", "/static/0/style.css", f"/jobs/{HIGHEST}", f"/jobs/{HIGHEST + 1}",
                     "/jobs/0",
                     "/jobs/-1", "/jobs/\uff11", "/jobs/01", "/jobs/1/", "//", "/..", "/static/../x", "/jobs/1\n"]),
    st.text(max_size=12).map(lambda text: f"/{text}"),
)  # fmt: skip


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> list[Dashboard]:
    """Return the dashboard as it is mounted and as it is served."""
    project = Project(tmp_path_factory.mktemp("fuzzed") / "project")
    one_of_each(project)
    return [Dashboard(config_of(project), host_auth=True), Dashboard.on_loopback(config_of(project))]


FUZZ = settings(max_examples=120, deadline=None)


@FUZZ
@given(st.sampled_from(["GET", "HEAD", "POST"]), PATHS, st.lists(st.tuples(NAMES, ODD_TEXT), max_size=6))
def test_whatever_stands_in_a_field_is_answered_by_a_harmless_page(
    fuzzed: list[Dashboard], method: str, path: str, fields: list[tuple[str, str]]
) -> None:
    told = urllib.parse.urlencode(fields, errors="surrogatepass")
    address = urllib.parse.quote(path, errors="surrogatepass")
    body = told.encode() if method == "POST" else b""
    sent = {"CONTENT_TYPE": "application/x-www-form-urlencoded", "HTTP_SEC_FETCH_SITE": "same-origin"}

    answer = Visitor(fuzzed[1]).ask(method, address if method == "POST" else f"{address}?{told}", body, **sent)

    assert answer.status in (200, 303, 400, 403, 404, 405, 413, 414) or path == "/healthz"
    if answer.status == 303:
        assert re.fullmatch(r"/(jobs(/[0-9]+|/matching)?|health)?(\?[\x21-\x7e]*)?", answer.headers["location"])
    elif answer.headers["content-type"].startswith("text/html") and method != "HEAD":
        assert_harmless(Page(answer.text), path)


HEADERS = st.text(st.characters(max_codepoint=255), max_size=40)
ODD_ENVIRON = st.fixed_dictionaries(
    {"wsgi.input": st.binary(max_size=60).map(io.BytesIO)},
    optional={
        "REQUEST_METHOD": st.one_of(HEADERS, st.sampled_from(["GET", "POST", "HEAD", "post", ""])),
        "SCRIPT_NAME": HEADERS,
        "PATH_INFO": st.one_of(HEADERS, st.sampled_from(["/", "/jobs", "/pause", "jobs"])),
        "QUERY_STRING": HEADERS,
        "CONTENT_TYPE": st.one_of(HEADERS, st.just("application/x-www-form-urlencoded")),
        "CONTENT_LENGTH": st.one_of(HEADERS, st.integers(-5, 80).map(str)),
        "HTTP_HOST": st.one_of(HEADERS, st.just("localhost")),
        "HTTP_ORIGIN": HEADERS,
        "HTTP_SEC_FETCH_SITE": st.one_of(HEADERS, st.just("same-origin")),
        "HTTP_IF_NONE_MATCH": HEADERS,
        "HTTP_AUTHORIZATION": HEADERS,
        "REMOTE_USER": HEADERS,
        "wsgi.url_scheme": HEADERS,
    },
)


@FUZZ
@given(ODD_ENVIRON)
def test_whatever_stands_in_the_environment_is_answered(fuzzed: list[Dashboard], environ: dict[str, Any]) -> None:
    for dashboard in fuzzed:
        answer = answer_of(dashboard, environ)

        assert answer.status < 500
        assert not any(set("\r\n\0").intersection(value) for value in answer.headers.values())
        assert all(value.isascii() for value in answer.headers.values())
