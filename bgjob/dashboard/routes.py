"""Which address leads where."""

from __future__ import annotations

import re

from bgjob.dashboard import deeds, static
from bgjob.dashboard.pages import health, healthz, job, jobs, matching, overview, ticks
from bgjob.dashboard.response import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bgjob.dashboard.request import Request
    from bgjob.dashboard.response import Response

    Handler = Callable[..., Response]

_ROUTES: tuple[tuple[re.Pattern[str], dict[str, Handler]], ...] = (
    (re.compile(r"/"), {"GET": overview.show}),
    (re.compile(r"/jobs"), {"GET": jobs.show, "POST": deeds.on_ticked}),
    (re.compile(r"/jobs/matching"), {"GET": matching.ask, "POST": deeds.on_matching}),
    (re.compile(r"/jobs/([1-9][0-9]{0,18})"), {"GET": job.show}),
    (re.compile(r"/ticks"), {"GET": ticks.show}),
    (re.compile(r"/health"), {"GET": health.show, "POST": health.look_again}),
    (re.compile(r"/healthz"), {"GET": healthz.show}),
    (re.compile(r"/static/[0-9a-f]{1,20}/([a-z.]{1,20})"), {"GET": static.show}),
    (re.compile(r"/pause"), {"POST": deeds.pause}),
    (re.compile(r"/resume"), {"POST": deeds.resume}),
    (re.compile(r"/prune"), {"POST": deeds.prune}),
)


def handler_of(request: Request) -> tuple[Handler, tuple[str, ...]]:
    """Return what answers the request, and with which parts of its address; raises Refusal."""
    found, handlers = _at(request.path)
    method = "GET" if request.method == "HEAD" else request.method
    if method not in handlers:
        allowed = ", ".join(sorted({*handlers, "HEAD"} if "GET" in handlers else handlers))
        raise Refusal(405, f"This address takes {allowed} only.", [("Allow", allowed)])
    return handlers[method], found.groups()


def _at(path: str) -> tuple[re.Match[str], dict[str, Handler]]:
    for pattern, handlers in _ROUTES:
        found = pattern.fullmatch(path)
        if found:
            return found, handlers
    raise Refusal(404, "There is no such page.")
