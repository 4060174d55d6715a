"""Which address leads where."""

from __future__ import annotations

import re
from typing import NamedTuple

from bgjob.dashboard import deeds, static
from bgjob.dashboard.pages import health, healthz, job, jobs, matching, overview, ticks
from bgjob.dashboard.response import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bgjob.dashboard.request import Request
    from bgjob.dashboard.response import Response

    Handler = Callable[..., Response]


class Route(NamedTuple):
    """An address: what answers there, by method."""

    path: str  # a pattern of the whole path
    handlers: dict[str, Handler]
    is_open: bool = False  # to everybody, without a password
    is_page: bool = True  # which need not be sent again where nothing has changed


_ROUTES = (
    Route(r"/", {"GET": overview.show}),
    Route(r"/jobs", {"GET": jobs.show, "POST": deeds.on_ticked}),
    Route(r"/jobs/matching", {"GET": matching.ask, "POST": deeds.on_matching}),
    Route(r"/jobs/([1-9][0-9]{0,18})", {"GET": job.show}),
    Route(r"/ticks", {"GET": ticks.show}),
    Route(r"/health", {"GET": health.show, "POST": health.look_again}),
    Route(r"/healthz", {"GET": healthz.show}, is_open=True, is_page=False),
    Route(r"/static/[0-9a-f]{1,20}/([a-z.]{1,20})", {"GET": static.show}, is_page=False),
    Route(r"/pause", {"POST": deeds.pause}),
    Route(r"/resume", {"POST": deeds.resume}),
    Route(r"/prune", {"POST": deeds.prune}),
)


def route_of(request: Request) -> tuple[Route, Handler, tuple[str, ...]]:
    """Return the route of a request, what answers it, and the parts of the path that this is told; raises Refusal."""
    route, parts = _at(request.path)
    method = "GET" if request.method == "HEAD" else request.method
    if method not in route.handlers:
        allowed = ", ".join(sorted({*route.handlers, "HEAD"} if "GET" in route.handlers else route.handlers))
        raise Refusal(405, f"This address takes {allowed} only.", [("Allow", allowed)])
    return route, route.handlers[method], parts


def _at(path: str) -> tuple[Route, tuple[str, ...]]:
    for route in _ROUTES:
        found = re.fullmatch(route.path, path)
        if found:
            return route, found.groups()
    raise Refusal(404, "There is no such page.")
