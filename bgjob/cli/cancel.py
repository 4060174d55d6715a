"""`bgjob cancel`: pending jobs are taken back, and do not run."""

from __future__ import annotations

from bgjob.cli import byhand
from bgjob.job import PENDING
from bgjob.logs import Logs
from bgjob.store.byhand import ByHand

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.config import Config

CANCEL = byhand.Verb(
    name="cancel",
    past="cancelled",
    doing="cancelling",
    leaves=(PENDING,),
    unless_told=(PENDING,),
    tells_processing=True,
    act=ByHand.cancel,
    tell=Logs.cancel,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let ids or filters say which jobs are meant."""
    byhand.add_arguments(parser, CANCEL)


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Cancel the jobs that are meant, and return the exit code."""
    return byhand.run(CANCEL, arguments, config)
