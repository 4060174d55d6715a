"""What a monitor is told: 200 while ticks come and no alarm is raised, else 503; nobody is asked for a password."""

from __future__ import annotations

import json

from bgjob.dashboard.response import Response
from bgjob.errors import BgjobError
from bgjob.views.pulse import DEAD, NONE, pulse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgjob.dashboard.visit import Visit


def show(visit: Visit) -> Response:
    """Return a JSON document with `status`: ok, `cron is dead`, `alarm`, or `unreadable`."""
    try:
        with visit.store() as store:
            beat = pulse(store) if store else NONE
    except BgjobError:  # whoever asks may be anybody, and is not told which file it is
        return _told({"status": "unreadable"}, status=503)
    status = "cron is dead" if beat.state(visit.now) == DEAD else "alarm" if beat.alarms else "ok"
    seen = round((visit.now - beat.last_tick).total_seconds(), 1) if beat.last_tick else None
    told = {"status": status, "seconds_since_last_tick": seen, "paused": beat.pause is not None}
    return _told(told, status=200 if status == "ok" else 503)


def _told(document: Mapping[str, object], *, status: int) -> Response:
    return Response(json.dumps(document) + "\n", status=status, kind="application/json; charset=utf-8")
