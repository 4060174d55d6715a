"""`--loop`: cron in the foreground, for honcho, foreman or a terminal.

Each minute a fresh tick is started as a child, so it always runs the code that is on disk; signals are passed on.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys

from bgjob import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from bgjob.cli.run import Options

_MINUTE = 60
_SIGNALS = 128  # a tick that was forced exits with this plus the number of the signal


class _Loop:
    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._ticks: list[subprocess.Popen[bytes]] = []
        self._stopped_by: list[int] = []
        self._wake, writer = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> int:
        self._start_tick()
        next_minute = _next_minute()
        while not self._stopped_by:
            self._sleep(min(next_minute - clock.now().timestamp(), 1.0))
            self._ticks = [tick for tick in self._ticks if tick.poll() is None]
            now = clock.now().timestamp()
            # A clock that was set back by more than a minute must not make us wait for its old time.
            if now >= next_minute or next_minute - now > _MINUTE:
                self._start_tick()
                next_minute = _next_minute()
        for tick in self._ticks:
            tick.wait()
        forced = [tick.returncode for tick in self._ticks if tick.returncode > _SIGNALS]
        # A first signal forces nothing: a tick that it met in its first moments had not begun anything.
        return forced[-1] if forced and len(self._stopped_by) > 1 else 0

    def _start_tick(self) -> None:
        # A group of its own: Ctrl-C on a terminal reaches us alone, and we pass it on once.
        self._ticks.append(subprocess.Popen(self._command, process_group=0))  # noqa: S603  # our own script

    def _sleep(self, seconds: float) -> None:
        if select.select([self._wake], [], [], max(seconds, 0.0))[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopped_by.append(number)
        for tick in self._ticks:
            tick.send_signal(number)


def _next_minute() -> float:
    now = clock.now().timestamp()
    return now - now % _MINUTE + _MINUTE


def loop(script: str, options: Options) -> int:
    """Start a tick at once and at each full minute until SIGTERM or SIGINT; return 0, or a forced tick's exit code.

    A tick is a start of `script`, or of `bgjob run` if that is empty.
    """
    tick = [os.path.abspath(script)] if script else ["-m", "bgjob", "run"]
    return _Loop([sys.executable, *tick, *_passed_on(options)]).run()


# Longer than a minute, so that each tick finds its predecessor still there and takes the queue over without a gap.
_LINGER = 75.0


def _passed_on(options: Options) -> list[str]:
    arguments = ["--linger", str(_LINGER if options.linger is None else options.linger)]
    # Whoever starts a loop wants to hear of the jobs, also through a pipe.
    arguments.append("-q" if options.quiet else "-v" if options.verbose else "--tell")
    if options.config:
        arguments += ["--config", options.config]
    if options.workers:
        arguments += ["--workers", str(options.workers)]
    return arguments
