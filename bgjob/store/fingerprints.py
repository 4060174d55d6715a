"""The table of fingerprints: who uses this queue, a row for each kind of process on each side."""

from __future__ import annotations

import datetime as dt
import sqlite3

from bgjob import clock, sql

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.fingerprint import Fingerprint
    from bgjob.store.connection import Database

_FRESH = dt.timedelta(hours=1)
_MOST = 50  # of each side


def leave(database: Database, side: str, fingerprint: Fingerprint, now: dt.datetime) -> bool:
    """Note who is here, unless this very fingerprint was left within the hour; return whether it stands there now.

    It is a courtesy, so it tries once: it waits for no other writer, and what fails is left for the next time.
    """
    values = {"side": side, "digest": fingerprint.digest}
    try:
        rows = database.connection.execute(sql.FINGERPRINT_SEEN, values).fetchall()
        if rows and clock.to_text(now - _FRESH) < rows[0][0] <= clock.to_text(now):
            return True
        import json  # noqa: PLC0415  # 3 ms that a fresh process for each job need not pay, since it mostly ends above

        facts = json.dumps(fingerprint.facts)
        database.connection.execute(sql.LEAVE_FINGERPRINT, {**values, "now": clock.to_text(now), "facts": facts})
        if not rows:
            database.connection.execute(sql.FORGET_FINGERPRINTS, {"side": side, "most": _MOST})
    except sqlite3.Error:
        return False
    return True
