"""`bgjob delete`: rows are removed with their attempts, unless they are processing."""

from __future__ import annotations

from bgjob import steering
from bgjob.cli import byhand

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let ids or filters say which jobs are meant."""
    byhand.add_arguments(parser, steering.DELETE)


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Delete the jobs that are meant, and return the exit code."""
    return byhand.run(steering.DELETE, arguments, config)
