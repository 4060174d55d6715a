"""One response, and what stands in the head of each: a page may load its own files only, and nobody may frame it."""

from __future__ import annotations

import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HTML = "text/html; charset=utf-8"

# https://www.w3.org/TR/CSP3/: nothing from elsewhere, and neither script nor style within a page.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY = (
    ("Content-Security-Policy", CONTENT_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),  # with none at all, forms would be sent with an Origin that tells nothing
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


class Refusal(Exception):  # noqa: N818  # no error of ours: an answer
    """The request is answered by this status, and by a page with this sentence."""

    def __init__(self, status: int, told: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Refuse with an HTTP status, and why."""
        super().__init__(told)
        self.status = status
        self.told = told
        self.headers = tuple(headers)


class Response:
    """Status, headers and body."""

    def __init__(
        self,
        body: bytes | str = b"",
        *,
        status: int = 200,
        kind: str = HTML,
        headers: Iterable[tuple[str, str]] = (),
        etag: str | None = None,
    ) -> None:
        """Answer with `body`; with an `etag` whoever has it already need not be sent it again."""
        self.body = body.encode("utf-8", "backslashreplace") if isinstance(body, str) else body
        self.status = status
        self.kind = kind
        self.etag = etag
        self.is_moving = False  # whether it may say another thing though nothing was written
        self._headers = tuple(headers)

    @classmethod
    def redirect(cls, place: str) -> Response:
        """Send the browser to another page, to be asked for by GET."""
        return cls(status=303, kind="text/plain; charset=utf-8", headers=[("Location", place)])

    @property
    def line(self) -> str:
        """The status line."""
        return f"{self.status} {http.HTTPStatus(self.status).phrase}"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """All headers."""
        own = list(self._headers)
        names = {name.lower() for name, _ in own}
        if "cache-control" not in names:
            own.append(("Cache-Control", "private, no-cache" if self.etag else "no-store"))
        if self.etag:
            own.append(("ETag", self.etag))
        if self.status != http.HTTPStatus.NOT_MODIFIED:
            own += [("Content-Type", self.kind), ("Content-Length", str(len(self.body)))]
        return [*own, *SECURITY]
