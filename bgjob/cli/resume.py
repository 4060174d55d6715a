"""`bgjob resume`: jobs are claimed again, at once where a runner lingers."""

from __future__ import annotations

from bgjob import clock, steering, users
from bgjob.cli import journal, page
from bgjob.cli.exits import FINE
from bgjob.console import paused
from bgjob.store import reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments but those of all commands."""


def run(arguments: argparse.Namespace, config: Config) -> int:
    """End the pause and wake the runner; return FINE, also if there was none to end."""
    before = None
    if reading.exists(config.database):
        with journal.opened(config) as logs:
            before = steering.resume(config, logs, who=users.person())
    if arguments.json:
        page.document(
            {"command": "resume", "was_paused": before is not None, "paused_before": page.pause_document(before)}
        )
    elif before is None:
        page.say("the queue was not paused")
    else:
        page.sentence(f"resumed; it was {paused(*before, now=clock.now())}")
    return FINE
