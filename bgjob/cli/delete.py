"""`bgjob delete`: rows are removed with their attempts, unless they are processing."""

from __future__ import annotations

from bgjob.cli import byhand
from bgjob.job import CANCELLED, COMPLETED, FAILED, PENDING
from bgjob.logs import Logs
from bgjob.store.byhand import ByHand

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.config import Config

# What waits was accepted and would be lost: filters mean it only where --status says so.
DELETE = byhand.Verb(
    name="delete",
    past="deleted",
    doing="deleting",
    leaves=(PENDING, COMPLETED, FAILED, CANCELLED),
    unless_told=(COMPLETED, FAILED, CANCELLED),
    tells_processing=True,
    act=ByHand.delete,
    tell=Logs.delete,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let ids or filters say which jobs are meant."""
    byhand.add_arguments(parser, DELETE)


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Delete the jobs that are meant, and return the exit code."""
    return byhand.run(DELETE, arguments, config)
