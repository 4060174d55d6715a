"""The ticks that did something, the newest first."""

from __future__ import annotations

import re

from bgjob.views import signs
from bgjob.views.overview import instant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.dashboard.response import Response
    from bgjob.dashboard.visit import Visit
    from bgjob.store.reading import RunnerRow

_MOST = 50
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


def show(visit: Visit) -> Response:
    """Return the page."""
    asked = visit.fields.get("before", "")
    before = int(asked) if _NUMBER.fullmatch(asked) else 2**63 - 1
    with visit.store() as store:
        if store is None:
            return visit.page("empty.html", store=None, database=visit.config.database)
        runners = store.runners(before=before, most=_MOST + 1)
        unended = {runner.id for runner in runners if not runner.ended}
        living = signs.living(store.path, unended)
        rows = [(runner, _state(runner, living), _seconds(runner)) for runner in runners[:_MOST]]
        return visit.page(
            "ticks.html",
            store=store,
            rows=rows,
            is_first=before == 2**63 - 1,
            older=runners[_MOST - 1].id if len(runners) > _MOST else None,
        )


def _state(runner: RunnerRow, living: set[int] | None) -> str:
    if runner.ended:
        return "ended"
    if living is None:
        return "unknown"
    return "at work" if runner.id in living else "died"


def _seconds(runner: RunnerRow) -> float | None:
    began, ended = instant(runner.started), instant(runner.ended or runner.last_seen)
    return max((ended - began).total_seconds(), 0.0) if began and ended else None
