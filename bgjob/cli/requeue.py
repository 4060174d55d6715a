"""`bgjob requeue` (also `bgjob retry`): failed or cancelled jobs become pending again, due at once."""

from __future__ import annotations

from bgjob import clock, wake
from bgjob.cli import byhand, page
from bgjob.job import CANCELLED, FAILED
from bgjob.logs import Logs
from bgjob.store import reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import datetime as dt
    from collections.abc import Sequence

    from bgjob.config import Config
    from bgjob.job import Seen
    from bgjob.store.byhand import ByHand


def _requeue(store: ByHand, jobs: Sequence[Seen], now: dt.datetime) -> list[Seen]:
    done = store.requeue(jobs, now)
    if done:
        wake.ping(store.database.path)
    return done


# What was cancelled, was so on purpose: filters mean it only where --status says so.
REQUEUE = byhand.Verb(
    name="requeue",
    past="requeued",
    doing="requeueing",
    leaves=(FAILED, CANCELLED),
    unless_told=(FAILED,),
    tells_processing=False,
    act=_requeue,
    tell=Logs.requeue,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let ids or filters say which jobs are meant."""
    byhand.add_arguments(parser, REQUEUE)


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Requeue the jobs that are meant, wake the runner, and return the exit code."""
    code = byhand.run(REQUEUE, arguments, config)
    page.remark_on_pause(reading.pause_of(config.database), clock.now())
    return code
