"""What was not changed is not sent again, and mostly not even made again.

The ETag of a page is a digest of what it says, without the ages of things, which the browser counts on by itself. Which
digest a page had is remembered with the times of the files behind it; while these stand still nothing is read.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading

from bgjob.dashboard.response import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bgjob.dashboard.request import Request
    from bgjob.dashboard.visit import Visit

# The text of each, and all of the one that tells when the page was made.
_AGES = re.compile(rb'(<time [^>]*data-age[^>]*>)[^<]*|<time datetime="[^"]*">[^<]*')
_MOST_PAGES = 256
_LOOK_AGAIN_AFTER = 10  # seconds: jobs fall due, and lights turn red, though nobody writes
# A file that was written so lately may be written again without another time: the file system's clock goes in steps,
# and a commit that is being synced has written already, but is not to be seen yet.
_SETTLED_AFTER_NS = 2_000_000_000


class SentPages:
    """The pages that were sent lately."""

    def __init__(self) -> None:
        """Remember none."""
        self._pages: dict[str, tuple[tuple[object, ...], str]] = {}
        self._lock = threading.Lock()

    def answer(self, request: Request, visit: Visit, make: Callable[[], Response]) -> Response:
        """Return the page that `make` makes, or that the browser has it already."""
        known = request.header("If-None-Match")
        before, is_settled = _signature(visit)
        if known and self._pages.get(request.asked) == (before, known):
            return Response(status=304, etag=known)
        response = make()
        if response.status != 200:  # noqa: PLR2004  # a page
            return response
        response.etag = etag = _etag(response.body)
        with self._lock:
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            if is_settled and not response.is_moving:
                self._pages[request.asked] = before, etag
        return Response(status=304, etag=etag) if known == etag else response


def _etag(body: bytes) -> str:
    without_ages = _AGES.sub(rb"\1", body)
    return f'"{hashlib.blake2b(without_ages, digest_size=16).hexdigest()}"'


def _signature(visit: Visit) -> tuple[tuple[object, ...], bool]:
    """Return what is another value once anything is written, and every few seconds in any case; and whether it is sure.

    What was written a moment ago makes it unsure.
    """
    database = visit.config.database
    stamps = [_stamp(path) for path in (database, f"{database}-wal", f"{database}.tick", visit.config.path)]
    written = max((stamp[0] for stamp in stamps if stamp), default=0)
    now = visit.now.timestamp()
    is_settled = written < now * 1_000_000_000 - _SETTLED_AFTER_NS
    return (int(now) // _LOOK_AGAIN_AFTER, visit.read_only, *stamps), is_settled


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
