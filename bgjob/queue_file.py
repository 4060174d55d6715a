"""A runner's hold on the database: one connection at a time, and never to another file than the one it began with.

Someone may delete the database, or put another in its place, while a runner works. What stands at the path then
belongs to the next tick.
"""

from __future__ import annotations

from bgjob import files
from bgjob.errors import StoreError
from bgjob.store.connection import Database
from bgjob.store.jobs import JobStore
from bgjob.store.runners import RunnerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from bgjob.tally import Added


class QueueFile:
    """The database of one runner, opened when it is needed."""

    def __init__(self, path: str) -> None:
        """Open nothing yet; the file that `connected` finds at `path` the first time is ours from then on."""
        self.path = path
        self._identity: tuple[int, int] | None = None
        self._store: JobStore | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the file at the path is not ours any more: deleted, moved away or replaced."""
        # Not asked of the write-ahead log: from Linux 6.13 on a look at its times makes its next sync dearer.
        return self._identity is not None and files.at(self.path) != self._identity

    def connected(self) -> JobStore:
        """Return the store, connecting if need be; raises StoreError if the file is gone."""
        if self._store is None:
            self._store = JobStore(self._opened())
        return self._store

    def disconnect(self) -> None:
        """Close the connection; none may be open while the runner forks."""
        if self._store is not None:
            self._store.database.close()
            self._store = None

    def sync(self, runner: int, now: dt.datetime, added: Sequence[Added], counts: Mapping[str, int]) -> None:
        """Note that the runner lives, and what came of its jobs; sync that, and all that was settled before."""
        database = self._opened(durability="full")
        try:
            RunnerStore(database).seen(runner, now, added, counts)
        finally:
            database.close()

    def _opened(self, *, durability: str = "normal") -> Database:
        if self.is_gone:  # asked before: opening would make a new file
            raise StoreError(f"{self.path} was deleted or replaced")
        database = Database(self.path, durability=durability)
        if self._identity not in (None, database.identity):
            database.close()
            raise StoreError(f"{self.path} was replaced")
        self._identity = database.identity
        return database
