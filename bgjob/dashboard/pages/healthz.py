"""What a monitor is told: 200 while ticks come and no alarm is raised, else 503; nobody is asked for a password."""

from __future__ import annotations

import json

from bgjob.dashboard.response import Response
from bgjob.views.pulse import DEAD, NONE, pulse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.dashboard.visit import Visit


def show(visit: Visit) -> Response:
    """Return a JSON document with `status`: ok, `cron is dead`, or `alarm`."""
    with visit.store() as store:
        beat = pulse(store) if store else NONE
    status = "cron is dead" if beat.state(visit.now) == DEAD else "alarm" if beat.alarms else "ok"
    seen = round((visit.now - beat.last_tick).total_seconds(), 1) if beat.last_tick else None
    told = {"status": status, "seconds_since_last_tick": seen, "paused": beat.pause is not None}
    return Response(
        json.dumps(told) + "\n", status=200 if status == "ok" else 503, kind="application/json; charset=utf-8"
    )
