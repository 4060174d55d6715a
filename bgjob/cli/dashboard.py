"""`bgjob dashboard`: the queue as web pages, for this machine alone unless a password is asked for."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys

from bgjob.cli import page
from bgjob.cli.exits import FINE, WrongUsageError
from bgjob.errors import BgjobError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from bgjob.config import Config
    from bgjob.dashboard.app import Dashboard
    from bgjob.dashboard.passwords import Passwords

PORT = 8765
VARIABLE = "BGJOB_DASHBOARD_PASSWORD_HASH"
_SHORTEST_PASSWORD = 8


class NotInstalledError(BgjobError):
    """The extra is missing that the pages are made with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take where to listen, and who is let in."""
    parser.add_argument(
        "--port", type=int, default=PORT, metavar="N", help=f"the port (default: {PORT}; 0: a free one)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the address (default: 127.0.0.1); others take a password",
    )
    parser.add_argument(
        "--user", metavar="NAME", help=f"ask for this name, and for the password of ${VARIABLE} or the config"
    )
    parser.add_argument("--prefix", default="", metavar="PATH", help="the path before all addresses, behind a proxy")
    parser.add_argument("--read-only", action="store_true", help="only show; nothing can be changed")
    parser.add_argument(
        "--hash-password", action="store_true", help="ask for a password, print what stands for it, and end"
    )


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Serve the pages until Ctrl-C or SIGTERM; return FINE.

    Raises WrongUsageError where others than this machine could come without a password, NotInstalledError where the
    extra is missing, BgjobError where the address can't be listened on.
    """
    if arguments.hash_password:
        made = _hash()
        if arguments.json:
            page.document({"command": "dashboard", "dashboard_password_hash": made})
        else:
            page.say(made)
        return FINE
    with extra():
        from bgjob.dashboard.serve import serve  # and with its package all that the pages need

    dashboard = _dashboard(arguments, config)
    prefix = arguments.prefix.strip("/")
    try:
        serve(
            dashboard,
            host=arguments.host,
            port=arguments.port,
            prefix=f"/{prefix}" if prefix else "",
            tell=_tell_in_json if arguments.json else _tell,
        )
    except OSError as error:
        what = error.strerror or error
        raise BgjobError(
            f"{arguments.host} port {arguments.port} can't be listened on: {what}; try --port 0"
        ) from error
    except KeyboardInterrupt:
        pass
    return FINE


def _dashboard(arguments: argparse.Namespace, config: Config) -> Dashboard:
    """Return what is to be served; raises WrongUsageError."""
    from bgjob.dashboard.app import Dashboard

    password_hash = os.environ.get(VARIABLE) or config.dashboard_password_hash
    _check(arguments, has_password=bool(password_hash))
    if not password_hash:
        return Dashboard.on_loopback(config.path, host=arguments.host, read_only=arguments.read_only)
    passwords = _passwords(arguments.user or "admin", password_hash)
    return Dashboard(config.path, authenticator=passwords, read_only=arguments.read_only)


def _check(arguments: argparse.Namespace, *, has_password: bool) -> None:
    from bgjob.dashboard.guard import is_loopback

    if not has_password and arguments.user is not None:
        raise WrongUsageError(f"--user asks for a password, and there is none: {_HOW}")
    if not has_password and not is_loopback(arguments.host):
        raise WrongUsageError(
            f"--host {arguments.host} can be reached from elsewhere, and who sees the pages may read all params and "
            f"run jobs again, so a password is needed: {_HOW}"
        )
    if ":" in (arguments.user or ""):
        raise WrongUsageError("--user can't have a colon, for browsers send one between name and password")
    if not 0 <= arguments.port < 65_536:  # noqa: PLR2004  # as many ports as there are
        raise WrongUsageError(f"--port {arguments.port} is no port; those are 0 to 65535")


_HOW = f"`bgjob dashboard --hash-password` makes one for ${VARIABLE}, or for dashboard_password_hash in the config"


@contextlib.contextmanager
def extra() -> Iterator[None]:
    """Tell which extra is missing where an import of a `with` block finds none of what the pages are made with."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("jinja2", "markupsafe", "waitress"):
            raise
        raise NotInstalledError(
            f"{error.name} is not installed, with which the pages are made: pip install 'bgjob[dashboard]'"
        ) from None


def _passwords(user: str, password_hash: str) -> Passwords:
    from bgjob.dashboard.passwords import Passwords

    try:
        return Passwords(user, password_hash)
    except ValueError as error:
        raise WrongUsageError(f"the password's hash can't be used: {error}") from None


def _hash() -> str:
    with extra():
        from bgjob.dashboard.passwords import hashed

    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            raise WrongUsageError("the two are not the same; nothing was made")
    else:
        password = sys.stdin.readline().rstrip("\n")
    if len(password) < _SHORTEST_PASSWORD:
        raise WrongUsageError(f"a password has {_SHORTEST_PASSWORD} characters at least")
    return hashed(password)


def _tell_in_json(address: str) -> None:
    page.document({"command": "dashboard", "url": address}, in_a_line=True)
    sys.stdout.flush()


def _tell(address: str) -> None:
    page.say(f"the dashboard is at {address} (Ctrl-C ends it)")
    sys.stdout.flush()
