"""The overview: is background work alive, what waits, what runs, what failed, and how long it takes."""

from __future__ import annotations

from bgjob.views.history import history
from bgjob.views.overview import overview

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.dashboard.response import Response
    from bgjob.dashboard.visit import Visit
    from bgjob.store.reading import ReadStore, RunningRow

_NEXT = 6  # of the jobs that wait
_MOST_REASONS, _MOST_PACES, _MOST_RUNNING = 8, 12, 12


def show(visit: Visit) -> Response:
    """Return the page."""
    with visit.store() as store:
        if store is None:
            return visit.page("empty.html", store=None, database=visit.config.database)
        return visit.page("overview.html", store=store, **gathered(visit, store))


def gathered(visit: Visit, store: ReadStore) -> dict[str, object]:
    """Return what the overview tells."""
    seen = overview(store, visit.now, workers=visit.config.workers)
    past = history(store, visit.now)
    return {
        "seen": seen,
        "running": [_without_secrets(visit, store, row) for row in seen.running[:_MOST_RUNNING]],
        "hours": past.hours,
        "completed": sum(hour.completed for hour in past.hours),
        "failed": sum(hour.failed for hour in past.hours),
        "paces": past.paces[:_MOST_PACES],
        "more_paces": max(len(past.paces) - _MOST_PACES, 0),
        "reasons": past.reasons[:_MOST_REASONS],
        "most_attempts": max((reason.attempts for reason in past.reasons), default=1),
        "upcoming": store.upcoming(_NEXT),
    }


def _without_secrets(visit: Visit, store: ReadStore, row: RunningRow) -> RunningRow:
    job = store.job(row.id) if row.progress else None
    if job is None:  # gone since it was seen: nothing tells what is secret
        return row._replace(progress=None)
    return row._replace(progress=visit.mask.applied(job.params).hide_in(row.progress))
