"""The jobs: filtered, a page at a time, with boxes to tick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bgjob.dashboard import filters
from bgjob.job import PROCESSING
from bgjob.views.search import MOST_WAITING, NEWEST, OLDEST, SORTS, search

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.dashboard.filters import Filters
    from bgjob.dashboard.response import Response
    from bgjob.dashboard.visit import Visit
    from bgjob.store.reading import JobRow, ProgressRow
    from bgjob.views.masks import Mask
    from bgjob.views.search import Found

Query = Mapping[str, object]

_LONGEST_ABOUT = 300  # characters of error or params


class Row(NamedTuple):
    """A job in the list, and what is told of it beside its fields."""

    job: JobRow
    about: str
    is_error: bool
    progress: ProgressRow | None


def show(visit: Visit) -> Response:
    """Return the page."""
    asked = filters.read(visit.fields, visit.now)
    with visit.store() as store:
        if store is None:
            return visit.page("empty.html", store=None, database=visit.config.database)
        found = search(store, asked.question(), visit.now)
        jobs = found.jobs[: asked.limit]
        has_more = len(found.jobs) > asked.limit
        if asked.after is not None and asked.sort == NEWEST:
            jobs = jobs[::-1]
        progress = {row.id: row.progress for row in store.running()} if _is_any_running(jobs) else {}
        mask = visit.mask
        return visit.page(
            "jobs.html",
            store=store,
            filters=asked,
            rows=[_row(job, progress.get(job.id), mask) for job in jobs],
            found=found,
            newer=_newer(asked, jobs, has_more=has_more),
            older=_older(asked, jobs, has_more=has_more),
            go_on=_go_on(asked, found),
            counts=store.counts(visit.now).by_status,
            classes=list(visit.config.classes),
            sorts=SORTS,
            limits=filters.LIMITS,
            most_waiting=MOST_WAITING,
        )


def _is_any_running(jobs: list[JobRow]) -> bool:
    return any(job.status == PROCESSING for job in jobs)


def _row(job: JobRow, progress: ProgressRow | None, mask: Mask) -> Row:
    masked = mask.applied(job.params)
    error = masked.hide(str(job.error)).strip() if job.error else ""
    about = error.splitlines()[0] if error else masked.line
    if len(about) > _LONGEST_ABOUT:
        about = f"{about[:_LONGEST_ABOUT]}…"
    return Row(job, about, bool(error), masked.hide_in(progress))


def _newer(asked: Filters, jobs: list[JobRow], *, has_more: bool) -> Query | None:
    """Return the query of the page before this one, or None if this is the first."""
    if asked.sort == NEWEST:
        is_first = not has_more if asked.after is not None else asked.before is None
        return None if is_first or not jobs else {**asked.query, "after": jobs[0].id}
    if asked.sort == OLDEST:  # only forwards: back is the start
        return None if asked.after is None else asked.query
    return {**asked.query, "offset": max(asked.offset - asked.limit, 0) or ""} if asked.offset else None


def _older(asked: Filters, jobs: list[JobRow], *, has_more: bool) -> Query | None:
    """Return the query of the page behind this one, or None if this is the last."""
    if not jobs:
        return None
    if asked.sort == NEWEST:
        came_back = asked.after is not None
        return {**asked.query, "before": jobs[-1].id} if has_more or came_back else None
    if not has_more:
        return None
    if asked.sort == OLDEST:
        return {**asked.query, "after": jobs[-1].id}
    return {**asked.query, "offset": asked.offset + asked.limit}


def _go_on(asked: Filters, found: Found) -> Query | None:
    """Return the query with which a search goes on that was given up."""
    if found.looked_to is None or asked.sort not in (NEWEST, OLDEST):
        return None
    upwards = asked.sort == OLDEST or asked.after is not None
    return {**asked.query, "after" if upwards else "before": found.looked_to}
