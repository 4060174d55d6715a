"""Whether background work is alive: what every page says on top, and what a monitor is told."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from bgjob import watch
from bgjob.views import signs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.store.alarms import OpenAlarm
    from bgjob.store.pause import Pause
    from bgjob.store.reading import ReadStore

FINE, LATE, DEAD = "fine", "late", "dead"
_LATE_AFTER = dt.timedelta(seconds=90)  # cron's minute, and half of one more


class Pulse(NamedTuple):
    """The signs of life of one queue."""

    alarms: list[OpenAlarm]
    pause: Pause | None
    last_tick: dt.datetime | None
    is_at_work: bool  # a runner lives

    def state(self, now: dt.datetime) -> str:
        """Return `fine`, `late`, or `dead` where no tick has come for so long that cron must have stopped."""
        if self.is_at_work:
            return FINE
        if watch.is_silent(self.last_tick, now):
            return DEAD
        return LATE if self.last_tick is None or now - self.last_tick > _LATE_AFTER else FINE


def pulse(store: ReadStore) -> Pulse:
    """Return the signs of life of the queue that is read."""
    return Pulse(store.alarms(), store.pause(), watch.last_tick(store.path), bool(signs.is_at_work(store)))


NONE = Pulse([], None, None, is_at_work=False)  # of a queue that has no database yet
