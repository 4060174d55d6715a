"""One request, read from a WSGI environment that may hold anything: what can't be read is a 400, never an exception."""

from __future__ import annotations

import urllib.parse

from bgjob.dashboard.response import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LARGEST_FORM = 256 * 1024  # bytes: a page of ticked boxes takes some thousand
MOST_FIELDS = 2_000
LONGEST_QUERY = 8 * 1024


class Request:
    """What was asked for: the path below the place where the dashboard is mounted, the query, the form."""

    def __init__(self, environ: dict[str, Any]) -> None:
        """Read all but the form; raises Refusal."""
        self._environ = environ
        self.method: str = environ.get("REQUEST_METHOD", "GET").upper()
        mount = _text(environ.get("SCRIPT_NAME") or "").strip("/")
        self.mount = f"/{urllib.parse.quote(mount)}" if mount else ""  # as addresses have it
        self.path = _text(environ.get("PATH_INFO") or "") or "/"
        self.query = _fields(environ.get("QUERY_STRING") or "", longest=LONGEST_QUERY)
        self.who = ""  # set once it is known

    @property
    def is_safe(self) -> bool:
        """Whether it only asks."""
        return self.method in ("GET", "HEAD")

    def header(self, name: str) -> str | None:
        """Return a header, or None if it was not sent."""
        value = self._environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return value if isinstance(value, str) else None

    @property
    def scheme(self) -> str:
        """How it came to this server: `http` or `https`."""
        return str(self._environ.get("wsgi.url_scheme", "http"))

    @property
    def host(self) -> str:
        """The host, and perhaps the port, that the browser thinks it talks to."""
        return (self.header("Host") or "").lower()

    @property
    def asked(self) -> str:
        """Path and query, as a key."""
        return f"{self.mount}{self.path}?{urllib.parse.urlencode(self.query)}"

    def form(self) -> list[tuple[str, str]]:
        """Read and return the fields of the form that was sent; raises Refusal for what is none or too large."""
        kind = (self._environ.get("CONTENT_TYPE") or "").partition(";")[0].strip().lower()
        if kind not in ("application/x-www-form-urlencoded", ""):
            raise Refusal(415, "This takes forms only.")
        try:
            length = int(self._environ.get("CONTENT_LENGTH") or 0)
        except ValueError:
            raise Refusal(400, "The length of the form is no number.") from None
        if not 0 <= length <= LARGEST_FORM:
            raise Refusal(413, "The form is too large. Filters and “all that match” reach more jobs than ticks can.")
        return _fields(self._sent(length).decode("latin-1"), longest=LARGEST_FORM)

    def _sent(self, length: int) -> bytes:
        """Return the whole body; half a form could name other jobs than the whole one."""
        try:
            raw = self._environ["wsgi.input"].read(length) if length else b""
        except OSError:  # the connection has gone
            raw = b""
        if len(raw) != length:
            raise Refusal(400, "The form was cut off on its way, so nothing was done.")
        return bytes(raw)


def _text(raw: object) -> str:
    """Return a part of the environment as text (PEP 3333 hands bytes over as if they were Latin-1)."""
    try:
        text = str(raw).encode("latin-1").decode()
    except UnicodeError:
        raise Refusal(400, "The address is no UTF-8.") from None
    if "\0" in text:
        raise Refusal(400, "The address holds a NUL.")
    return text


def _fields(raw: str, *, longest: int) -> list[tuple[str, str]]:
    if len(raw) > longest:
        raise Refusal(414, "The address is too long.")
    try:
        fields = urllib.parse.parse_qsl(
            _text(raw), keep_blank_values=True, max_num_fields=MOST_FIELDS, encoding="utf-8", errors="strict"
        )
    except UnicodeError:
        raise Refusal(400, "A field is no UTF-8.") from None
    except ValueError:
        raise Refusal(413, f"There are more than {MOST_FIELDS:,} fields.") from None
    if any("\0" in name or "\0" in value for name, value in fields):
        raise Refusal(400, "A field holds a NUL.")
    return fields
