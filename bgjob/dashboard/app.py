"""The dashboard as a WSGI application (PEP 3333): guard, route, page, and an answer whatever was asked."""

from __future__ import annotations

import logging

from bgjob import clock
from bgjob.config import find_config
from bgjob.dashboard import freshness, guard
from bgjob.dashboard.request import Request
from bgjob.dashboard.response import Refusal, Response
from bgjob.dashboard.routes import route_of
from bgjob.dashboard.visit import Visit
from bgjob.errors import BgjobError
from bgjob.in_force import Configs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self

    from bgjob.dashboard.guard import Authenticator

_log = logging.getLogger("bgjob")

OPEN_TO_ALL = (
    "whoever reaches this dashboard may read all params and run jobs again, so say who lets people in: "
    "host_auth=True where the app around it does, or authenticator=… (bgjob.dashboard.passwords.Passwords is one)"
)


class Dashboard:
    """The dashboard of one queue."""

    def __init__(
        self,
        config: str | None = None,
        *,
        authenticator: Authenticator | None = None,
        host_auth: bool = False,
        read_only: bool = False,
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        """Show the queue of the config at that path, or of the one that queueing would find.

        `authenticator`: called with the WSGI environment of each request; returns who it is, or None for nobody who may
        see this. `host_auth`: the app around it lets people in. `read_only`: nothing can be changed.
        `allowed_hosts`: the names under which it answers, without a port, such as jobs.example.org; empty: any.

        Raises ValueError where neither `authenticator` nor `host_auth` is given, ConfigError where no config is found.
        """
        if authenticator is None and not host_auth:
            raise ValueError(OPEN_TO_ALL)
        self._configs = Configs(find_config(config))
        self._authenticator = authenticator
        self._hosts = frozenset(name.lower() for name in allowed_hosts)
        self._sent = freshness.SentPages()
        self.read_only = read_only

    @classmethod
    def on_loopback(cls, config: str | None = None, *, host: str = "127.0.0.1", read_only: bool = False) -> Self:
        """Return the dashboard for a server at `host`, which only this machine reaches: nobody is asked for a password.

        It answers under the names of this machine, and under that one.
        """
        names = {*guard.LOOPBACK_NAMES, guard.in_address(host)}
        return cls(config, host_auth=True, read_only=read_only, allowed_hosts=names)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer one request."""
        response = self._response(environ)
        start_response(response.line, response.headers)
        return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else response.body]

    def _response(self, environ: dict[str, Any]) -> Response:
        visit = None
        try:
            request = Request(environ)
            visit = Visit(request, self._configs, clock.now(), read_only=self.read_only)
            return self._answer(environ, request, visit)
        except Refusal as refusal:
            return _told(visit, refusal.status, refusal.told, refusal.headers)
        except BgjobError as error:
            return _told(visit, 503, str(error))
        except Exception:  # noqa: BLE001  # the outermost edge: a bug of ours must read as one
            _log.exception("the dashboard could not answer: this is a bug in bgjob, please report it")
            return _told(visit, 500, "This is a bug in bgjob; the log of this server has its traceback.")

    def _answer(self, environ: dict[str, Any], request: Request, visit: Visit) -> Response:
        if self._hosts:
            guard.check_host(request, self._hosts)
        route, handler, parts = route_of(request)
        if not route.is_open:
            request.who = self._who(environ)
        if not request.is_safe:
            if self.read_only:
                raise Refusal(403, "This dashboard only shows; it was started read-only.")
            guard.check_origin(request)
        if not (request.is_safe and route.is_page):
            return handler(visit, *parts)
        return self._sent.answer(request, visit, lambda: handler(visit, *parts))

    def _who(self, environ: dict[str, Any]) -> str:
        if self._authenticator is None:
            return str(environ.get("REMOTE_USER") or "")
        who = self._authenticator(environ)
        if who is None:
            challenge = getattr(self._authenticator, "challenge", None)
            headers = [("WWW-Authenticate", challenge)] if challenge else []
            raise Refusal(401 if challenge else 403, "This dashboard is for those who may see it.", headers)
        return who


def _told(visit: Visit | None, status: int, told: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Return a page that says only this; in plain text where not even the address could be read."""
    text = Response(f"{told}\n", status=status, kind="text/plain; charset=utf-8", headers=headers)
    if visit is None or status in (401, 421):  # whoever asked is told nothing of what the dashboard is
        return text
    try:
        return visit.told(status, told, headers)
    except Exception:  # noqa: BLE001  # as above
        _log.exception("the dashboard could not say what went wrong")
        return text
