"""The pause: one row, and while it is there no job is claimed. The claim itself looks, whoever makes it."""

from __future__ import annotations

from typing import NamedTuple

from bgjob import clock, sql

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt

    from bgjob.store.connection import Database, Transaction


class Pause(NamedTuple):
    """Since when no job is claimed, who wanted that, and why."""

    since: str
    who: str | None
    reason: str | None


class PauseStore:
    """What a person does to the queue as a whole: let no job begin, and let them begin again."""

    def __init__(self, database: Database) -> None:
        """Work through `database`."""
        self._database = database

    def transaction(self) -> Transaction:
        """Look and act as one: from its beginning until its end nobody claims."""
        return self._database.transaction()

    def current(self) -> Pause | None:
        """Return the pause, or None if jobs may be claimed."""
        rows = self._database.fetch(sql.PAUSED)
        return Pause(*rows[0]) if rows else None

    def pause(self, now: dt.datetime, *, who: str, reason: str | None) -> bool:
        """Let no job be claimed from the commit on; inside a transaction. Return whether that changed anything.

        A queue that is paused already stays so since then; a new reason takes the place of the old one, with `who`.
        """
        values = {"now": clock.to_text(now), "who": who, "reason": reason}
        return self._database.connection.execute(sql.PAUSE, values).rowcount == 1

    def resume(self, now: dt.datetime) -> None:
        """Let jobs be claimed again, and note when that was; inside a transaction. Nothing if there is no pause."""
        if self._database.connection.execute(sql.RESUME).rowcount:
            self._database.connection.execute(sql.NOTE_RESUME, {"now": clock.to_text(now)})
