"""What `bgjob doctor` says. Its checks take seconds, so they are made beside the pages, one examination at a time."""

from __future__ import annotations

import datetime as dt
import logging
import threading

from bgjob import clock
from bgjob.dashboard.response import Response
from bgjob.views.doctor.examination import CHECKS, examine
from bgjob.views.doctor.finding import NOTE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.config import Config
    from bgjob.dashboard.visit import Visit
    from bgjob.views.doctor.examination import Told

_AGAIN_AFTER = dt.timedelta(minutes=10)


class Examination:
    """The last examination of one queue, and the one that is being made."""

    def __init__(self) -> None:
        """Have made none."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.found: list[Told] | None = None
        self.made_at: dt.datetime | None = None

    @property
    def is_being_made(self) -> bool:
        """Whether one is being made now."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, config: Config) -> None:
        """Begin one, unless one is being made."""
        with self._lock:
            if not self.is_being_made:
                self._thread = threading.Thread(target=self._make, args=(config,), daemon=True)
                self._thread.start()

    def _make(self, config: Config) -> None:
        try:
            self.found = examine(config, clock.now())
            self.made_at = clock.now()
        except Exception:
            logging.getLogger("bgjob").exception("the doctor could not look")


_examinations: dict[str, Examination] = {}


def _of(config: Config) -> Examination:
    return _examinations.setdefault(config.path, Examination())


def show(visit: Visit) -> Response:
    """Return the page; an old examination is made again meanwhile."""
    config, examination = visit.config, _of(visit.config)
    if examination.made_at is None or visit.now - examination.made_at > _AGAIN_AFTER:
        examination.begin(config)
    found = examination.found
    with visit.store() as store:
        page = visit.page(
            "health.html",
            store=store,
            findings=[told.finding for told in found or [] if told.finding.severity != NOTE],
            notes=[told.finding for told in found or [] if told.finding.severity == NOTE],
            made_at=examination.made_at,
            is_being_made=examination.is_being_made,
            checks=len(CHECKS),
        )
    page.is_moving = True
    return page


def look_again(visit: Visit) -> Response:
    """Begin a new examination."""
    _of(visit.config).begin(visit.config)
    return Response.redirect(visit.link("/health"))
