"""`bgjob requeue` (also `bgjob retry`): failed or cancelled jobs become pending again, due at once."""

from __future__ import annotations

from bgjob import clock, steering
from bgjob.cli import byhand, page
from bgjob.store import reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let ids or filters say which jobs are meant."""
    byhand.add_arguments(parser, steering.REQUEUE)


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Requeue the jobs that are meant, wake the runner, and return the exit code."""
    code = byhand.run(steering.REQUEUE, arguments, config)
    page.remark_on_pause(reading.pause_of(config.database), clock.now())
    return code
