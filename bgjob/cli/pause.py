"""`bgjob pause`: no job is claimed any more, until `bgjob resume`; what is being run goes on."""

from __future__ import annotations

from bgjob import clock, steering, users
from bgjob.cli import journal, page
from bgjob.cli.exits import FINE
from bgjob.console import counted, paused

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the reason, which may be several words."""
    parser.add_argument("reason", nargs="*", metavar="REASON", help="why; it is told wherever the pause is")


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Pause the queue, making the database if need be; return FINE, also if it was paused already."""
    with journal.opened(config) as logs:
        done = steering.pause(config, logs, who=users.person(), reason=" ".join(arguments.reason))
    before, after = done.before, done.after
    if arguments.json:
        page.document(
            {
                "command": "pause",
                "was_paused": before is not None,
                "paused": page.pause_document(after),
                "processing": done.processing,
            }
        )
        return FINE
    told = f"already {paused(*before, now=clock.now())}" if before else "paused"
    new_reason = f"; the reason is now: {after.reason}" if before and after and done.is_changed else ""
    page.sentence(f"{told}{new_reason}; {_left_running(done.processing)}")
    return FINE


def _left_running(count: int) -> str:
    if not count:
        return "no job is being run"
    return f"{counted(count, 'job')} {'runs' if count == 1 else 'run'} on: bgjob wait-idle waits for the end"
