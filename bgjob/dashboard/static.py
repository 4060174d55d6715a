"""The files that pages load: style, script, picture. Their addresses name their content, so browsers keep them."""

from __future__ import annotations

import functools
import hashlib
import os

from bgjob.dashboard.response import Refusal, Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.dashboard.visit import Visit

_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "static")
_KINDS = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@functools.cache
def content(name: str) -> bytes:
    """Return the content of one of the files."""
    with open(os.path.join(_FOLDER, name), "rb") as file:
        return file.read()


@functools.cache
def address(name: str) -> str:
    """Return the address of one of the files, below the place where the dashboard is mounted."""
    return f"/static/{hashlib.blake2b(content(name), digest_size=6).hexdigest()}/{name}"


def show(visit: Visit, name: str) -> Response:
    """Return the file that was asked for; raises Refusal."""
    if name not in _KINDS:
        raise Refusal(404, "There is no such page.")
    # Of an older address the content is another by now, and not to be kept under it.
    kept = "private, max-age=31536000, immutable" if visit.request.path == address(name) else "no-store"
    return Response(content(name), kind=_KINDS[name], headers=[("Cache-Control", kept)])
