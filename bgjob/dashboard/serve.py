"""The server behind `bgjob dashboard`: waitress, with bounds on what whoever comes may take of it."""

from __future__ import annotations

import logging
import signal
import urllib.parse

import waitress.server

from bgjob.dashboard.guard import in_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bgjob.dashboard.app import Dashboard

_THREADS = 4
_MOST_CONNECTIONS = 100
_SECONDS_OF_SILENCE = 30
_LARGEST_HEAD = 32 * 1024
_LARGEST_BODY = 1024 * 1024


def serve(dashboard: Dashboard, *, host: str, port: int, prefix: str, tell: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `tell` is told the address. Raises OSError where that can't be listened on."""
    logging.getLogger("waitress").setLevel(logging.ERROR)  # a busy moment is none of a person's business
    server = waitress.server.create_server(
        dashboard,
        host=host,
        port=port,
        threads=_THREADS,
        connection_limit=_MOST_CONNECTIONS,
        channel_timeout=_SECONDS_OF_SILENCE,
        max_request_header_size=_LARGEST_HEAD,
        max_request_body_size=_LARGEST_BODY,
        ident=None,
        url_prefix=prefix,
        clear_untrusted_proxy_headers=True,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tell(f"http://{in_address(host)}:{_port(server)}{urllib.parse.quote(prefix)}/")
    server.run()


def _port(server: Any) -> int:  # noqa: ANN401  # a name with several addresses makes another kind of server
    port: int = server.effective_port if hasattr(server, "effective_port") else server.effective_listen[0][1]
    return port
