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
        self.mount = _path(environ.get("SCRIPT_NAME", "")).rstrip("/")
        self.path = _path(environ.get("PATH_INFO", "")) or "/"
        self.query = _fields(environ.get("QUERY_STRING", ""), longest=LONGEST_QUERY)
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
        raw = self._environ["wsgi.input"].read(length) if length else b""
        return _fields(raw.decode("latin-1"), longest=LARGEST_FORM)


def _path(text: object) -> str:
    """Return a path of the environment as text (PEP 3333 hands bytes over as if they were Latin-1)."""
    try:
        path = str(text).encode("latin-1").decode()
    except UnicodeError:
        raise Refusal(400, "The address is no UTF-8.") from None
    if "\0" in path:
        raise Refusal(400, "The address holds a NUL.")
    return path


def _fields(text: str, *, longest: int) -> list[tuple[str, str]]:
    if len(text) > longest:
        raise Refusal(414, "The address is too long.")
    try:
        fields = urllib.parse.parse_qsl(
            text, keep_blank_values=True, max_num_fields=MOST_FIELDS, encoding="utf-8", errors="strict"
        )
    except UnicodeError:
        raise Refusal(400, "A field is no UTF-8.") from None
    except ValueError:
        raise Refusal(413, f"There are more than {MOST_FIELDS:,} fields.") from None
    if any("\0" in name or "\0" in value for name, value in fields):
        raise Refusal(400, "A field holds a NUL.")
    return fields
