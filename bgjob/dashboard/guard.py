"""Who may ask, and from where: decided before anything else is looked at."""

from __future__ import annotations

import base64
import binascii
import ipaddress

from bgjob.dashboard.response import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from bgjob.dashboard.request import Request

    Authenticator = Callable[[dict[str, Any]], str | None]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
LONGEST_CREDENTIALS = 4_096


def check_host(request: Request, allowed: Collection[str]) -> None:
    """Refuse a name that is not ours: a site elsewhere can let its own name lead to this machine (DNS rebinding)."""
    if _without_port(request.host) not in allowed:
        names = ", ".join(sorted(allowed))
        raise Refusal(421, f"This dashboard answers under these names only: {names}.")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host


def check_origin(request: Request) -> None:
    """Refuse what another site may have made the browser send; asked of each request that changes something.

    Browsers tell by Sec-Fetch-Site (https and localhost only), and by Origin elsewhere. Who sends neither is no browser
    of today's, and may say so by the header Origin.
    """
    site, origin = request.header("Sec-Fetch-Site"), request.header("Origin")
    if site is not None:
        if site.strip().lower() not in ("same-origin", "none"):
            raise Refusal(403, "Another site asked for this, so nothing was done.")
        return
    if origin is None:
        raise Refusal(403, "The browser did not tell from where this comes (no Origin), so nothing was done.")
    scheme, _, host = origin.lower().partition("://")
    # Behind a proxy the pages are https and we are not; what came here by https was on no page without it.
    if not request.host or host != request.host or scheme not in {request.scheme, "https"}:
        raise Refusal(403, "Another site asked for this, so nothing was done.")


def credentials(environ: dict[str, Any]) -> tuple[str, str] | None:
    """Return the name and password that were sent (RFC 7617), or None."""
    scheme, _, encoded = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    if scheme.lower() != "basic" or len(encoded) > LONGEST_CREDENTIALS:
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeError, ValueError):
        return None
    return (name, password) if colon else None


def in_address(host: str) -> str:
    """Return an IP address or name as it stands in a web address: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches what listens there."""
    if address.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False
