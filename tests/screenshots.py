"""Take the pictures of the dashboard that the documentation shows: `make screenshots`.

They are of a made-up queue at a fixed instant, so they change only where the pages do (or the browser and its fonts).
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.browser import HOW_TO_INSTALL, Server, chromium, path_of_chromium
from tests.conftest import CODE
from tests.plausible import shop
from tests.png import smaller

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FOLDER = CODE / "docs" / "screenshots"
NOW = dt.datetime(2026, 11, 24, 14, 37, 21, tzinfo=dt.UTC)
PICTURES = {
    "overview": ("/", 1440, 900),
    "jobs": ("/jobs", 1440, 900),
    "job": ("/jobs/{failed}", 1440, 900),
    "ticks": ("/ticks", 1440, 900),
    "health": ("/health", 1440, 900),
    "overview-phone": ("/", 360, 740),
}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

# What the doctor finds is of the machine on which it looks.
DOCTOR = """
from bgjob.dashboard.pages import health
from bgjob.views.doctor.examination import Told
from bgjob.views.doctor.finding import NOTE, WARNING, Finding
health.examine = lambda config, now: [
    Told("disk", Finding(WARNING, "the disk of /srv/shop has 412 MB left", "make room, or `keep` jobs less long")),
    Told("sides", Finding(
        WARNING,
        "the app runs with umask 022: files that it makes can't be written by the other side",
        "run both as one user; or set umask 002 on both sides (docs/deploying.md, Users)",
    )),
    Told("sides", Finding(NOTE, "jobs are queued with SQLite 3.46.1, and run with SQLite 3.40.1", "none is needed")),
]
"""


def take(folder: Path, browser: Browser) -> list[str]:
    """Put all pictures into the folder; return their names."""
    with tempfile.TemporaryDirectory() as scratch, shop(Path(scratch) / "shop", NOW) as failed:
        server = Server(Path(scratch) / "shop", at=NOW, first=DOCTOR)
        try:
            return [
                _one(browser, server.url + path.format(failed=failed), folder / f"{name}-{scheme}.png", scheme, size)
                for name, (path, *size) in PICTURES.items()
                for scheme in SCHEMES
            ]
        finally:
            server.stop()


def _one(browser: Browser, url: str, file: Path, scheme: Literal["light", "dark"], size: list[int]) -> str:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    page.clock.set_fixed_time(NOW)  # the ages are counted on by the browser
    page.goto(url)
    if url.endswith("/health"):
        page.get_by_text("checks, made").wait_for()
    file.write_bytes(smaller(page.screenshot()))
    context.close()
    return file.name


def main() -> None:
    if path_of_chromium() is None:
        sys.exit(HOW_TO_INSTALL)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for name in take(folder, browser):
            sys.stdout.write(f"{folder / name}\n")


if __name__ == "__main__":
    main()
