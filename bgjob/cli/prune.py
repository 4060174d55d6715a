"""`bgjob prune`: finished rows that are old enough go at once, instead of within the next hours."""

from __future__ import annotations

import collections
import contextlib

from bgjob import clock, steering, users
from bgjob.cli import journal, page
from bgjob.cli.bar import Bar
from bgjob.cli.consent import MANY, ask
from bgjob.cli.exits import FINE
from bgjob.cli.kinds import span
from bgjob.console import counted
from bgjob.store import reading, upkeep
from bgjob.store.connection import Database

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from bgjob.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take another measure than `keep` of the config, and what all do that remove."""
    parser.add_argument(
        "--older-than",
        type=span,
        metavar="SPAN",
        help="those that ended longer ago than this, such as 12h or 30d (default: `keep` of the config)",
    )
    parser.add_argument("--status", choices=upkeep.FINISHED, help="those of this status alone")
    parser.add_argument("--dry-run", action="store_true", help="say how many jobs it would be; change nothing")
    parser.add_argument("--yes", action="store_true", help=f"don't ask before removing more than {MANY} jobs")


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Remove the finished rows that are old enough; return FINE, also if there were none."""
    statuses = (arguments.status,) if arguments.status else upkeep.FINISHED
    ages = config.keep if arguments.older_than is None else dict.fromkeys(upkeep.FINISHED, arguments.older_than)
    before = upkeep.cutoffs({status: ages[status] for status in statuses}, clock.now())
    counts = _pruned(arguments, config, before) if reading.exists(config.database) else {}
    if arguments.json:
        document = {"command": "prune", "dry_run": arguments.dry_run, "jobs": sum(counts.values())}
        page.document({**document, "by_status": {status: counts.get(status, 0) for status in upkeep.FINISHED}})
    else:
        page.say(f"{'would prune' if arguments.dry_run else 'pruned'} {_told(counts)}")
    return FINE


def _pruned(arguments: argparse.Namespace, config: Config, before: Mapping[str, str]) -> Mapping[str, int]:
    """Return how many jobs of each status were pruned, or would be."""
    database = Database(config.database, read_only=arguments.dry_run)
    counts: collections.Counter[str] = collections.Counter()
    try:
        found = upkeep.count_prunable(database, before)
        if arguments.dry_run or not found:
            return found
        if sum(found.values()) > MANY and not arguments.yes:
            ask(f"prune {_told(found)}")
        try:
            with (
                journal.opened(config) as logs,
                contextlib.closing(steering.prune(database, before, logs, who=users.person())) as steps,
                Bar("pruning", sum(found.values()), wanted=not arguments.json) as bar,
            ):
                for gone in steps:
                    counts.update(gone)
                    bar.advance(sum(gone.values()))
        except KeyboardInterrupt:
            page.remark(f"bgjob: stopped: pruned {_told(counts)}")
            raise
    finally:
        database.close()
    return counts


def _told(counts: Mapping[str, int]) -> str:
    total = counted(sum(counts.values()), "job")
    parts = [f"{count:,} {status}" for status in upkeep.FINISHED if (count := counts.get(status, 0))]
    return f"{total} ({', '.join(parts)})" if parts else total
