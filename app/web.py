"""A small example web page: a form that queues jobs, and the newest jobs below it. On this machine only, port $PORT.

It is an example, not a dashboard: it has no login, so it listens on 127.0.0.1 and refuses forms from other sites.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from contextlib import closing
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from bgjob import run_background_job
from bgjob.config import Config, find_config, read_config
from bgjob.errors import BgjobError

LARGEST_FORM = 100_000
NEWEST = 20
COLUMNS = ("id", "job_class", "method", "params", "priority", "status", "retry_count", "available_at", "created_at")
NEWEST_JOBS = f"SELECT {', '.join(COLUMNS)} FROM custom_jobs ORDER BY id DESC LIMIT {NEWEST}"  # noqa: S608 - constants only

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Background jobs</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }}
  label {{ display: block; margin: .5rem 0 }}
  input, select {{ font: inherit; padding: .2rem .4rem }}
  iframe {{ width: 100%; height: 60vh; border: 0 }}
  .notice {{ white-space: pre-wrap; font-weight: 600 }}
</style>
<h1>Queue a background job</h1>
<p class="notice" role="status">{notice}</p>
<form method="post" action="/">
  <label>Job <select name="job">{options}</select></label>
  <label>Params as JSON <input name="params" size="60" value='{{"message": "Hello from the web page"}}'></label>
  <label>Priority <input name="priority" type="number" value="0"></label>
  <label>Delay in seconds <input name="delay" type="number" min="0" value="0"></label>
  <button>Queue</button>
</form>
<h2>The newest jobs</h2>
<iframe src="/jobs" title="The newest jobs"></iframe>
"""

JOBS = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="2">
<title>The newest jobs</title>
<style>
  body {{ font: 14px/1.5 system-ui, sans-serif; margin: 0 }}
  th, td {{ text-align: left; padding: .1rem 1rem .1rem 0; white-space: nowrap }}
</style>
<table>
<tr>{head}</tr>
{rows}
</table>
"""


class Page(BaseHTTPRequestHandler):
    """The two pages: the form at /, the list at /jobs."""

    def do_GET(self) -> None:
        """Show the form or the list."""
        match self.path.partition("?")[0]:
            case "/":
                self.answer(form_page("Queued; see below." if self.path == "/?queued" else ""))
            case "/jobs":
                self.answer(jobs_page())
            case _:
                self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Queue the job that the form asks for, then show the form again."""
        if self.path != "/" or not self.is_from_this_page():
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        try:
            queue(self.form())
        except (BgjobError, ValueError) as error:
            self.answer(form_page(f"Not queued: {error}"), HTTPStatus.BAD_REQUEST)
            return
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", "/?queued")
        self.end_headers()

    def is_from_this_page(self) -> bool:
        """Whether the form was sent by our own page: any page in the same browser can post to 127.0.0.1."""
        host = self.headers.get("Host", "")
        local = host.partition(":")[0] in {"127.0.0.1", "localhost"}
        return local and self.headers.get("Origin", f"http://{host}") == f"http://{host}"

    def form(self) -> dict[str, str]:
        """Return the fields of the form that was sent; ValueError if it is none."""
        length = int(self.headers.get("Content-Length", ""))
        if not 0 <= length <= LARGEST_FORM:
            raise ValueError(f"A form has at most {LARGEST_FORM:,} bytes, and this one {length:,}.")
        return {name: values[0] for name, values in parse_qs(self.rfile.read(length).decode()).items()}

    def answer(self, page: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Send a whole page."""
        body = page.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Tell of what changes something; the list asks for itself every two seconds."""
        if self.command == "POST":
            super().log_request(code, size)


def queue(form: dict[str, str]) -> None:
    """Queue the job of a form; ValueError or BgjobError if it can't be one."""
    job_class, _, method = form.get("job", "").rpartition(".")
    params = json.loads(form["params"]) if form.get("params", "").strip() else None
    run_background_job(job_class, method, params, int(form.get("priority", "0")), float(form.get("delay", "0")))


def form_page(notice: str) -> str:
    """Return the form, with every class and method that the config approves."""
    jobs = [f"{name}.{method}" for name, rules in config().classes.items() for method in sorted(rules.methods)]
    return PAGE.format(notice=escape(notice), options="".join(f"<option>{escape(job)}</option>" for job in jobs))


def jobs_page() -> str:
    """Return the list of the newest jobs; every value in it came from somebody, so every value is escaped."""
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    rows = [
        "".join(f"<td>{'' if value is None else escape(str(value))}</td>" for value in job) for job in newest_jobs()
    ]
    return JOBS.format(head=head, rows="\n".join(f"<tr>{row}</tr>" for row in rows))


def newest_jobs() -> list[tuple[object, ...]]:
    """Read the newest jobs, and nothing but read: the table is written by bgjob alone."""
    database = Path(config().database)
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(NEWEST_JOBS).fetchall()


def config() -> Config:
    """Read the config anew for each page, as an edited file is to show at once."""
    return read_config(find_config())


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    port = int(os.environ.get("PORT", "8000"))
    with ThreadingHTTPServer(("127.0.0.1", port), Page) as server:
        print(f"Queue jobs at http://127.0.0.1:{port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
