"""The table of runners: it numbers them, and the newest number alone may claim."""

from __future__ import annotations

import os
from typing import NamedTuple

from bgjob import clock, sql, version
from bgjob.tally import VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    import sqlite3
    from collections.abc import Mapping, Sequence

    from bgjob.store.connection import Database
    from bgjob.tally import Added

# How much of a time's text names its minute, and its hour. The third span of the tallies is all the time.
MINUTE, HOUR = len("YYYY-MM-DD HH:MM"), len("YYYY-MM-DD HH")
TOTAL = "total"
NOTHING = dict.fromkeys(VERBS, 0)  # came of a runner's jobs yet


class RunnerStore:
    """What a runner writes about itself."""

    def __init__(self, database: Database) -> None:
        """Work through `database`."""
        self._database = database

    def start(self, now: dt.datetime, *, process: str, lingers: bool) -> int:
        """Enter a new runner with the identity of its `process`; return its number, higher than all before."""
        with self._database.transaction() as connection:
            connection.execute(sql.FORGET_RUNNERS)
            cursor = connection.execute(
                sql.START_RUNNER,
                {
                    "pid": os.getpid(),
                    "process": process,
                    "version": version.__version__,
                    "lingers": lingers,
                    "now": clock.to_text(now),
                },
            )
        number = cursor.lastrowid
        assert number is not None  # noqa: S101  # for the type checker alone: the INSERT succeeded
        return number

    def process_of(self, number: int) -> str:
        """Return the identity of a runner's process, or an empty text for a number that no runner has."""
        rows = self._database.fetch(sql.PROCESS_OF_RUNNER, {"id": number})
        return str(rows[0][0]) if rows else ""

    def seen(
        self, number: int, now: dt.datetime, added: Sequence[Added] = (), counts: Mapping[str, int] = NOTHING
    ) -> None:
        """Note that the runner still lives, what was `added` to its tally, and all `counts` by verb."""
        with self._database.transaction() as connection:
            _see(connection, number, now, added, counts)

    def end(
        self, number: int, now: dt.datetime, added: Sequence[Added] = (), counts: Mapping[str, int] = NOTHING
    ) -> None:
        """Note that the runner has ended, as `seen` does, and bring the write-ahead log back to nothing."""
        with self._database.transaction() as connection:
            _see(connection, number, now, added, counts)
            connection.execute(sql.END_RUNNER, {"id": number, "now": clock.to_text(now)})
        # Whoever still reads may keep it from shrinking; the next tick tries again.
        self._database.fetch(sql.CHECKPOINT)

    def newest(self) -> RunnerRow | None:
        """Return the newest runner, or None if there never was one."""
        rows = self._database.fetch(sql.NEWEST_RUNNER)
        return RunnerRow(*rows[0]) if rows else None


def _see(
    connection: sqlite3.Connection, number: int, now: dt.datetime, added: Sequence[Added], counts: Mapping[str, int]
) -> None:
    """Note what a runner's jobs came to; what was added goes to the tallies of this minute, hour and all the time."""
    text = clock.to_text(now)
    connection.execute(sql.SEE_RUNNER, {"id": number, "now": text, **counts})
    spans = (text[:MINUTE], text[:HOUR], TOTAL)
    connection.executemany(sql.ADD_TO_TALLIES, [{"span": span, **row._asdict()} for row in added for span in spans])


class RunnerRow(NamedTuple):
    """A runner as it entered itself."""

    id: int
    pid: int
    lingers: int
    started: str
    ended: str | None
