"""Someone who looks at the dashboard: asks its WSGI callable as a server would, and reads the HTML of the answers."""

from __future__ import annotations

import io
import urllib.parse
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, NamedTuple
from wsgiref.validate import validator

from bgjob.dashboard import Dashboard
from bgjob.store.connection import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tests.conftest import Project

    Pairs = Mapping[str, object] | Iterable[tuple[str, object]]

HOST = "localhost:8765"
STATUSES = ("pending", "processing", "completed", "failed", "cancelled")


class Answer(NamedTuple):
    """What came back; the names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Visitor:
    """Asks one WSGI application; the standard library's validator holds question and answer against the protocol."""

    def __init__(
        self, application: Callable[..., Any], *, is_valid: bool = True, environ: Mapping[str, Any] | None = None
    ) -> None:
        self.dashboard: Any = application
        self.application = validator(application) if is_valid else application
        self.environ = dict(environ or {})

    def get(self, address: str, **environ: Any) -> Answer:
        return self.ask("GET", address, **environ)

    def post(self, address: str, fields: Pairs = (), **environ: Any) -> Answer:
        """Send a form as a page of the dashboard would; a field of `environ` that is None is not sent."""
        pairs = list(fields.items()) if hasattr(fields, "items") else list(fields)
        sent = {"HTTP_SEC_FETCH_SITE": "same-origin", "CONTENT_TYPE": "application/x-www-form-urlencoded", **environ}
        return self.ask("POST", address, urllib.parse.urlencode(pairs).encode(), **sent)

    def ask(self, method: str, address: str, body: bytes = b"", **environ: Any) -> Answer:
        path, _, query = address.partition("?")
        asked = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": urllib.parse.unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8765",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": HOST,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **self.environ,
            **environ,
        }
        return answer_of(self.application, {key: value for key, value in asked.items() if value is not None})


def answer_of(application: Callable[..., Any], environ: dict[str, Any]) -> Answer:
    """Hand an environment to an application and collect what it answers."""
    told: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], object]:
        told.extend((status, headers))
        return bytes

    parts = application(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    status, headers = told
    return Answer(int(status.split()[0]), {name.lower(): value for name, value in headers}, body)


def look(project: Project, **options: Any) -> Visitor:
    """Return a visitor of the project's dashboard as `bgjob dashboard` serves it."""
    return Visitor(Dashboard.on_loopback(config_of(project), **options))


def config_of(project: Project) -> str:
    return str(project.folder / "config" / "jobs.yaml")


def make_database(project: Project) -> None:
    Database(str(project.database)).close()


def add(project: Project, *rows: dict[str, Any], table: str = "custom_jobs") -> None:
    """Insert rows as another program could that sets the CHECKs aside; a job is pending unless its row says more."""
    database = Database(str(project.database))
    try:
        database.connection.execute("PRAGMA ignore_check_constraints = ON")
        database.connection.execute("BEGIN")
        for row in rows:
            whole = {"job_class": "app.jobs.Job", "method": "execute", **row} if table == "custom_jobs" else row
            names = ", ".join(whole)
            holders = ", ".join("?" * len(whole))
            insert = f"INSERT INTO {table} ({names}) VALUES ({holders})"  # noqa: S608  # the test's own names
            database.connection.execute(insert, list(whole.values()))
        database.connection.execute("COMMIT")
    finally:
        database.close()


def one_of_each(project: Project) -> None:
    """Insert a job of each status, with ids from 1 in the order of STATUSES."""
    at = "2026-11-24 12:00:00.000000"
    for status in STATUSES:
        row: dict[str, object] = {"status": status, "created_at": at, "updated_at": at}
        if status == "processing":
            row |= {"runner": 1, "worker": "1 0 -", "started_at": at}
        if status in ("completed", "failed"):
            row |= {"started_at": at, "finished_at": at}
        if status == "failed":
            row |= {"error": "ValueError: no good"}
        add(project, row)


class Element(NamedTuple):
    """A tag and its attributes."""

    tag: str
    attributes: dict[str, str | None]


class Page(HTMLParser):
    """The elements of a page, its forms with their fields, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.forms: list[tuple[Element, list[Element]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag == "form":
            self.forms.append((element, []))
        elif tag in ("input", "button", "select") and self.forms:
            self.forms[-1][1].append(element)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def said(self) -> str:
        """All texts, with single spaces."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [element.attributes for element in self.elements if element.tag == tag]

    @property
    def links(self) -> list[str]:
        """All addresses of other pages and files."""
        return [
            value
            for element in self.elements
            for name, value in element.attributes.items()
            if name in ("href", "src", "action", "formaction", "data", "poster", "srcset") and value is not None
        ]


def everything_under(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content and the time of each file, to see whether anything was written.

    Without the index of SQLite's log, by which readers agree, and the log itself where it is empty.
    """
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
        if path.stat().st_size or not path.name.endswith("-wal")
    }
