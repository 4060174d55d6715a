"""`bgjob uninstall-cron`: take the project's block out of the crontab, also when its config is wrong or gone."""

from __future__ import annotations

import os

from bgjob import users
from bgjob.cli import crontab, page
from bgjob.cli.exits import FINE
from bgjob.cli.tick_command import place_of, project_name
from bgjob.config import find_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take --dry-run."""
    parser.add_argument("--dry-run", action="store_true", help="print the lines, and change nothing")


def run(arguments: argparse.Namespace) -> int:
    """Remove the block if it is there; return FINE either way."""
    name = project_name(*place_of(find_config(arguments.config)))
    with crontab.alone():
        content = crontab.read()
        lines = crontab.block_in(content, name)
        changed = bool(lines) and not arguments.dry_run
        if changed:
            crontab.write(crontab.without_block(content, name))
    if arguments.json:
        told = {"lines": os.fsdecode(lines).splitlines(), "changed": changed}
        page.document({"command": "uninstall-cron", **told})
        return FINE
    where = f"the crontab of {users.name_of(os.getuid())}"
    if not lines:
        page.say(f"nothing of {name} stands in {where}")
        return FINE
    page.say(f"{'removed' if changed else 'would be removed'} from {where}:")
    page.lines(os.fsdecode(lines))
    return FINE
