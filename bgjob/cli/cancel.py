"""`bgjob cancel`: pending jobs are taken back, so that they do not run."""

from __future__ import annotations

from bgjob import steering
from bgjob.cli import byhand

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let ids or filters say which jobs are meant."""
    byhand.add_arguments(parser, steering.CANCEL)


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Cancel the jobs that are meant, and return the exit code."""
    return byhand.run(steering.CANCEL, arguments, config)
