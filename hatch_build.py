"""Completion files for three shells and the man page, made of the command line's own parser when the wheel is built."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

# Where the shells and man look, below the environment or /usr/local.
PLACES = {
    "bash": "share/bash-completion/completions/bgjob",
    "zsh": "share/zsh/site-functions/_bgjob",
    "fish": "share/fish/vendor_completions.d/bgjob.fish",
    "man": "share/man/man1/bgjob.1",
}


class ShareHook(BuildHookInterface[Any]):
    """What hatchling calls around the making of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files, and name each with its place; none in an editable install, whose code may change."""
        self.folder = Path(tempfile.mkdtemp())
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        for place, text in made().items():
            file = self.folder / place.replace("/", "-")
            file.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(file)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002  # hatchling's names
        """Remove what was made to be put into the wheel."""
        shutil.rmtree(self.folder)


def made() -> dict[str, str]:
    """Return the text of each file by its place."""
    import shtab  # noqa: PLC0415  # not there while hatchling asks what the build requires

    from bgjob.cli.tree import whole_parser  # noqa: PLC0415  # nor are bgjob's own dependencies
    from bgjob.views.overview import STATUSES  # noqa: PLC0415  # the same

    parser = whole_parser()
    for action in _actions(parser):
        if action.metavar in ("PATH", "FILE"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own mark
        elif action.metavar == "FOLDER":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.dest == "status" and not action.choices:
            action.choices = STATUSES
    texts = {PLACES[shell]: shtab.complete(parser, shell) for shell in ("bash", "zsh", "fish")}
    return {**texts, PLACES["man"]: man_page()}


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001  # argparse tells it in no other way
        yield action
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from _actions(below)


def man_page() -> str:
    """Return the man page of bgjob(1), the same for each build of one version."""
    from argparse_manpage.manpage import Manpage  # noqa: PLC0415  # as above

    from bgjob.cli.tree import whole_parser  # noqa: PLC0415  # as above
    from bgjob.version import __version__  # noqa: PLC0415  # as above

    page: Any = Manpage(whole_parser())
    page.date, page.source, page.manual = "", f"bgjob {__version__}", "Background jobs"
    page.description = "look at a queue of background jobs, and steer it by hand"
    page.add_section("exit status", "=", EXIT_STATUS)
    return str(page)


EXIT_STATUS = """\
.TP
.B 0
done
.TP
.B 1
there is a problem (doctor), no such job, nothing matches, refused, not confirmed
.TP
.B 2
wrong usage
.TP
.B 69
the database can't be used
.TP
.B 70
a bug in bgjob
.TP
.B 78
the config is wrong
.TP
.B 130
stopped by Ctrl\\-C"""
