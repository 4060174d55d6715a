"""Debian's chromium, driven by Playwright, and the dashboard as a process: what the tests of the pages share.

Playwright would fetch a browser of its own; this never lets it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from tests.conftest import CODE

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page, Request

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
QUIETLY = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
HOW_TO_INSTALL = "no chromium here: install it (Debian and Ubuntu: apt install chromium fonts-dejavu-core)"

# The clock stands still at the instant that the first argument tells; the second is run before the command.
FROZEN = """
import datetime, sys
from bgjob import clock
instant = datetime.datetime.fromisoformat(sys.argv.pop(1))
clock.now = lambda: instant
exec(sys.argv.pop(1))
from bgjob.cli.main import main
sys.exit(main())
"""


def path_of_chromium() -> str | None:
    """Return where the system's browser is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Have the browser in a `with` block."""
    options = [*QUIETLY, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path_of_chromium(), args=options)
        try:
            yield browser
        finally:
            browser.close()


class Server:
    """`bgjob dashboard` as a process of its own."""

    def __init__(
        self, folder: Path, *arguments: str, at: dt.datetime | None = None, first: str = "", port: int = 0
    ) -> None:
        """Start it on the folder's queue; with `at`, the time stands still for it, and it runs `first` before."""
        start = ["-c", FROZEN, at.isoformat(), first] if at else ["-m", "bgjob"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BGJOB_")}
        self.process = subprocess.Popen(
            [sys.executable, *start, "dashboard", "--port", str(port), *arguments],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(CODE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        told = self.process.stdout.readline()
        found = re.search(r"http://\S+(?=/ )", told)
        assert found, told + self.process.stdout.read()
        self.url = found[0]
        self.port = urllib.parse.urlsplit(self.url).port or 0

    def stop(self) -> str:
        """End it as Ctrl-C does, unless it has ended; return what it said since it told its address."""
        if self.process.returncode is not None:
            return ""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=30)
        return said


class Visitor:
    """A page in a context of its own, and all that went wrong on it."""

    def __init__(self, browser: Browser, url: str, **context: Any) -> None:
        """Open an empty page; what is asked for without a host is asked of `url`."""
        self.context: BrowserContext = browser.new_context(base_url=url, **context)
        self.context.set_default_timeout(15_000)
        self.wrong: list[str] = []
        self.requests: list[str] = []
        self._url = url
        self.context.on("console", lambda message: self.wrong.append(f"console: {message.text}"))
        self.context.on("weberror", lambda error: self.wrong.append(f"error: {error.error}"))
        self.context.on("request", self._requested)
        self.page: Page = self.context.new_page()

    def _requested(self, request: Request) -> None:
        self.requests.append(request.url)
        if not request.url.startswith(f"{self._url}/"):
            self.wrong.append(f"a request to another place: {request.url}")
