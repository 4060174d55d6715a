"""`bgjob report`: the overview as one HTML file, for hosts on which nothing may listen."""

from __future__ import annotations

import os

from bgjob import clock, files
from bgjob.cli import page
from bgjob.cli.dashboard import extra
from bgjob.cli.exits import FINE, WrongUsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the file."""
    parser.add_argument("path", metavar="PATH", help="the file, which is replaced whole; its folder must be there")


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Write the page; return FINE. Raises OSError where it can't be written."""
    with extra():
        from bgjob.dashboard.report import report

    path = arguments.path
    if not path.endswith((".html", ".htm")):
        raise WrongUsageError(f"{path} does not end in .html, so no browser would show it as a page")
    made = report(config, clock.now())
    files.replace(os.path.abspath(path), made)
    if arguments.json:
        page.document({"command": "report", "path": os.path.abspath(path), "bytes": len(made)})
    else:
        page.say(f"wrote {path}")
    return FINE
