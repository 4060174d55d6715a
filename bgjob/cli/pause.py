"""`bgjob pause`: no job is claimed any more, until `bgjob resume`; what is being run goes on."""

from __future__ import annotations

from bgjob import clock, users, wake
from bgjob.cli import journal, page
from bgjob.cli.exits import FINE
from bgjob.console import paused
from bgjob.store.connection import Database
from bgjob.store.jobs import JobStore
from bgjob.store.pause import PauseStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.config import Config

_LONGEST_REASON = 200  # characters: it stands in one line with much else


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the reason, which may be several words."""
    parser.add_argument("reason", nargs="*", metavar="REASON", help="why; it is told wherever the pause is")


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Pause the queue, making the database if need be; return FINE, also if it was paused already."""
    who, reason = users.person(), _bounded(" ".join(arguments.reason))
    # Synced: after a power cut in the middle of a deploy the queue is still paused.
    database = Database(config.database, durability="full")
    try:
        store = PauseStore(database)
        with store.transaction():
            now = clock.now()  # once the write lock is ours, so that every job that runs has started before
            before = store.current()
            is_changed = store.pause(now, who=who, reason=reason)
            after = store.current()
        wake.ping(database.path)  # so that a runner that lingers ends its idle workers, which hold the present code
        running = JobStore(database).look(config.workers, now).processing
    finally:
        database.close()
    if is_changed:
        with journal.opened(config) as logs:
            logs.pause(now, who=who, reason=reason, running=running)
    if arguments.json:
        page.document(
            {
                "command": "pause",
                "was_paused": before is not None,
                "paused": page.pause_document(after),
                "processing": running,
            }
        )
        return FINE
    told = f"already {paused(*before, now=now)}" if before else "paused"
    new_reason = f"; the reason is now: {reason}" if before and is_changed else ""
    page.say(f"{told}{new_reason}; {_left_running(running)}")
    return FINE


def _bounded(reason: str) -> str | None:
    """Return the reason as one line that the database can hold; None for an empty one."""
    line = " ".join(reason.encode("utf-8", "backslashreplace").decode().split())
    return (line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 1]}…") or None


def _left_running(count: int) -> str:
    if not count:
        return "no job is being run"
    return f"{page.counted(count, 'job')} {'runs' if count == 1 else 'run'} on: bgjob wait-idle waits for the end"
