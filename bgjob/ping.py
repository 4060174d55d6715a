"""Pings: each tick tells a service such as healthchecks.io that it came, and how it went; silence is then the alarm.

A child of the tick asks for the addresses, one after the other, so that no job ever waits for the network. It is told
what to ask for by bytes on a pipe. If the pipe ends without a last word, the tick was killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from bgjob import clock, version
from bgjob.child import close_all_but
from bgjob.logs import Logs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

    from bgjob.config import Config

SECONDS_TO_ANSWER = 5.0
_SECONDS_WHEN_STOPPED = 1.0  # whoever stops a tick does not wait for long
_COMPLAIN_EVERY = 3600.0

_BEGIN, _WELL, _BADLY = b"s", b"w", b"f"
_PATHS = {_BEGIN: "/start", _WELL: "", _BADLY: "/fail"}


class Pings:
    """What one tick tells. To be made before anything is opened that a child must not have, above all the lock."""

    def __init__(self, config: Config) -> None:
        """Start the child; where that can't be, the tick goes on, and the service misses it."""
        self._config = config
        self._verdict = _BADLY
        self._patience = SECONDS_TO_ANSWER + 0.5
        self._child = 0
        ear, self._line = os.pipe()
        with contextlib.suppress(OSError):
            self._child = os.fork()
            if self._child == 0:
                _become_messenger(config, ear)
        os.close(ear)

    def begin(self) -> None:
        """A runner begins its work."""
        self._say(_BEGIN)

    def well(self) -> None:
        """The tick has nothing bad to tell; without this it went badly."""
        self._verdict = _WELL

    def hurry(self) -> None:
        """The tick was told to stop."""
        self._patience = _SECONDS_WHEN_STOPPED

    def end(self) -> None:
        """Tell how it went, and wait for the child for some seconds; nothing is held any more that others want."""
        self._say(self._verdict)
        os.close(self._line)
        if not self._child:
            return
        until = clock.monotonic() + self._patience
        try:
            while not self._is_gone():
                if clock.monotonic() >= until:
                    self._give_up()
                    return
                time.sleep(0.005)
        except KeyboardInterrupt:
            self._give_up()

    def _is_gone(self, options: int = os.WNOHANG) -> bool:
        try:
            return bool(os.waitpid(self._child, options)[0])
        except ChildProcessError:  # whoever started us ignores SIGCHLD, so the system has reaped it
            return True

    def _give_up(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)
        self._is_gone(0)
        _complain(self._config, "no answer in time")

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._line, word)


def _become_messenger(config: Config, ear: int) -> NoReturn:
    """In the child: ask for what is said, until the last word; it prints nothing, and no signal for the tick is its."""
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, _too_late)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        close_all_but({ear})
        _carry_messages(config, ear)
    finally:
        os._exit(0)


def _carry_messages(config: Config, ear: int) -> None:
    has_begun = False
    while (word := os.read(ear, 1)) == _BEGIN:
        has_begun = True
        _ask(config, word)
    if word or has_begun:
        _ask(config, word or _BADLY)


def _too_late(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError("no answer in time")


def _ask(config: Config, word: bytes) -> None:
    import urllib.request  # noqa: PLC0415  # 40 ms, and only this child needs it

    request = urllib.request.Request(  # noqa: S310  # http or https, as the config was checked for
        _address(config.ping_url or "", _PATHS[word]), headers={"User-Agent": f"bgjob/{version.__version__}"}
    )
    try:
        # The time-out of a socket begins anew with each byte that comes; the timer's does not.
        signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_ANSWER)
        urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER).close()  # noqa: S310  # as just said
    except Exception as error:  # noqa: BLE001  # whatever it is, it must not disturb the queue
        _complain(config, str(error) or type(error).__name__)
    else:
        with contextlib.suppress(OSError):
            os.unlink(_sign(config))  # the next trouble is told at once
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _address(url: str, path: str) -> str:
    """Return `url` with `path` behind its own path, and before what it asks."""
    place, question, query = url.partition("?")
    return f"{place.rstrip('/') if path else place}{path}{question}{query}"


def _complain(config: Config, what: str) -> None:
    """Log that pings don't get through, once in an hour; without the path, in which a secret may stand."""
    try:
        age = clock.now().timestamp() - os.stat(_sign(config)).st_mtime
    except OSError:
        age = _COMPLAIN_EVERY
    if 0 <= age < _COMPLAIN_EVERY:
        return
    with contextlib.suppress(OSError):
        os.close(os.open(_sign(config), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666))
        os.utime(_sign(config))
    scheme, _, rest = (config.ping_url or "").partition("://")
    host = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
    logs = Logs.of(config)
    logs.trouble(
        clock.now(), what=f"ping_url: {scheme}://{host} can't be told of this tick: {what}; told once in an hour"
    )
    logs.close()


def _sign(config: Config) -> str:
    return f"{os.path.realpath(config.database)}.ping"
