"""A queue of its own for a test: the project's config, but another database, in this process only."""

from __future__ import annotations

import contextlib
import os
import tempfile

from bgjob import enqueue, in_force, lookup
from bgjob.store.connection import Database
from bgjob.testing.drain import Ran, drain
from bgjob.views.search import OLDEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from bgjob.config import Config
    from bgjob.views.jobs import Job


@contextlib.contextmanager
def isolated(database: str | os.PathLike[str] | None = None) -> Iterator[Queue]:
    """Let all that this process queues, drains and looks up within a `with` block be of a database of its own.

    `database`: where it is made, or found; None: in a folder that goes with the block. Its tables are there from the
    beginning, for jobs in a transaction of yours. The logs stand in a folder `logs` beside it. All else is as the
    config says, but a power cut may take what was queued, and no alarm is raised.
    """
    with contextlib.ExitStack() as stack:
        if database is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bgjob-"))
            database = os.path.join(folder, "jobs.sqlite3")
        before = in_force.configs
        configs = _Isolated(before, os.path.abspath(os.fspath(database)))
        Database(configs.database, durability="normal").close()
        in_force.configs = configs
        try:
            yield Queue(configs)
        finally:
            in_force.configs = before
            enqueue.disconnect()


class _Isolated(in_force.Configs):
    """The config in force, but for the database and what goes with it."""

    def __init__(self, before: in_force.Configs, database: str) -> None:
        super().__init__()
        self._before = before
        self.database = database

    def current(self) -> Config:
        return self._before.current().but(
            database=self.database,
            log_directory=os.path.join(os.path.dirname(self.database), "logs"),
            durability="normal",
            alarm_after=float("inf"),  # no tick comes here, and a test may turn the clock
        )


class Queue:
    """What `isolated` gives: a queue that is this test's alone."""

    def __init__(self, configs: _Isolated) -> None:
        """Stand for the database that `configs` puts in the place of the config's."""
        self._configs = configs

    @property
    def database(self) -> str:
        """The path of its file, for a look with sqlite3."""
        return self._configs.database

    def drain(self, now: dt.datetime | None = None, *, raise_errors: bool = True, most: int = 1_000) -> list[Ran]:
        """Run what is due at `now`, and return what ran: see `bgjob.testing.drain`."""
        __tracebackhide__ = True
        self._check()
        return drain(now, raise_errors=raise_errors, most=most)

    def jobs(self, status: str | None = None) -> list[Job]:
        """Return all jobs (of a status), the first one that was queued first; `bgjob.jobs` can ask for more."""
        self._check()
        return lookup.jobs(status=status, sort=OLDEST, limit=lookup.HIGHEST_ID)

    def _check(self) -> None:
        if in_force.configs is not self._configs:
            raise RuntimeError("this queue is not in force: its `with` block has ended, or another one began within it")
