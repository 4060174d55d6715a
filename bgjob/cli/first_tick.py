"""The proof that cron works: wait until the first tick has come, and say where to look when none does."""

from __future__ import annotations

import datetime as dt
import os
import shlex
import sys
import time

from bgjob import clock, watch
from bgjob.console import is_screen
from bgjob.views import signs

LONGEST = 75.0  # a full minute, and what a busy machine needs
NO_CRON = "no process called cron or crond is running; start it (systemctl start cron, or crond), also at boot"
_LOOK_EVERY = 0.1


def wait_for_first_tick(database: str, installed: dt.datetime) -> float | None:
    """Return how many seconds after `installed` a tick came that cron may have started; None if none did.

    Cron starts at full minutes only: a tick before the next one is somebody else's.
    """
    database = os.path.realpath(database)
    minute = installed.replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
    earliest = minute - dt.timedelta(seconds=1)
    before = watch.last_tick(database)
    until = clock.monotonic() + LONGEST
    countdown = _Countdown()
    try:
        while (left := until - clock.monotonic()) > 0:
            tick = watch.last_tick(database)
            if tick is not None and tick != before and tick >= earliest:
                return (tick - installed).total_seconds()
            countdown.show((minute - clock.now()).total_seconds(), left)
            time.sleep(min(_LOOK_EVERY, left))
    finally:
        countdown.wipe()
    return None


class _Countdown:
    """A line on the terminal that is written anew each second; one line at all elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = is_screen(2)
        self._shown = ""

    def show(self, until_minute: float, left: float) -> None:
        if not self._is_terminal:
            text = f"waiting for the first tick, {left:.0f} s at most"
            if not self._shown:
                self._write(f"{text}\n")
        elif until_minute > 0:
            text = f"waiting for the first tick: cron's next minute begins in {int(until_minute) + 1} s"
        else:
            text = f"waiting for the first tick: cron's minute has begun; {int(left) + 1} s left"
        if self._is_terminal and text != self._shown:
            self._write(f"\r{text}\x1b[K")
        self._shown = text

    def wipe(self) -> None:
        if self._is_terminal and self._shown:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def what_to_look_at(shell_text: str, user: str) -> list[str]:
    """Return what to look at when no tick came, the likeliest first."""
    running = signs.is_cron_running()
    found = []
    if running is False:
        found.append(NO_CRON)
    elif running is None:
        found.append("is cron running? (systemctl status cron, or crond)")
    # The environment that cron gives, so that what fails there fails here.
    home = shlex.quote(os.path.expanduser("~"))
    by_hand = f"env -i HOME={home} LOGNAME={shlex.quote(user)} PATH=/usr/bin:/bin /bin/sh -c {shlex.quote(shell_text)}"
    return [
        *found,
        f"the line by hand, as cron starts it: {by_hand}",
        "bgjob doctor, which looks at all else that ticks need",
        f"cron's mail to {user}, and its log: journalctl -u cron, or grep CRON /var/log/syslog",
    ]
