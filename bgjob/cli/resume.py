"""`bgjob resume`: jobs are claimed again, at once where a runner lingers."""

from __future__ import annotations

from bgjob import clock, users, wake
from bgjob.cli import journal, page
from bgjob.cli.exits import FINE
from bgjob.console import paused
from bgjob.store import reading
from bgjob.store.connection import Database
from bgjob.store.pause import PauseStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import datetime as dt

    from bgjob.config import Config
    from bgjob.store.pause import Pause


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments but those of all commands."""


def run(arguments: argparse.Namespace, config: Config) -> int:
    """End the pause and wake the runner; return FINE, also if there was none to end."""
    now, before = _resumed(config) if reading.exists(config.database) else (clock.now(), None)
    if before is not None:
        with journal.opened(config) as logs:
            logs.resume(now, who=users.person(), before=paused(*before, now=now))
    if arguments.json:
        page.document(
            {"command": "resume", "was_paused": before is not None, "paused_before": page.pause_document(before)}
        )
    elif before is None:
        page.say("the queue was not paused")
    else:
        page.say(f"resumed; it was {paused(*before, now=now)}")
    return FINE


def _resumed(config: Config) -> tuple[dt.datetime, Pause | None]:
    database = Database(config.database, durability="full")
    try:
        store = PauseStore(database)
        with store.transaction():
            now = clock.now()
            before = store.current()
            store.resume(now)
        wake.ping(database.path)
    finally:
        database.close()
    return now, before
