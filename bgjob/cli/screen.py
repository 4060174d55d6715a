"""`--watch`: look after look, on one screen of a terminal or as lines, until Ctrl-C.

The screen is the terminal's other one, as that of `top`, so that what stood there comes back. Each look opens the
database anew: it may appear, go or be replaced meanwhile, and between two looks nothing of it is held open.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import shutil
import signal
import sys

from bgjob import clock
from bgjob.cli import colours
from bgjob.cli.exits import FINE
from bgjob.console import counted, lasting
from bgjob.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable
    from types import FrameType
    from typing import Self

# The other screen, no cursor, and lines that are too long are cut; then all of it back (xterm's ctlseqs).
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(
    look: Callable[[dt.datetime], None], complain: Callable[[str], None], *, every: float, on_screen: bool
) -> int:
    """Print what `look` prints, every so many seconds; return FINE after Ctrl-C.

    A database that can't be used ends it at the first look only; later it is told by `complain`, and looked at again.
    """
    told = _told(look, None)
    try:
        with Bell() as bell, Screen() if on_screen else Lines() as output:
            while True:
                output.show(told, every)
                bell.wait(every)
                told = _told(look, complain)
    except KeyboardInterrupt:
        pass
    if on_screen:
        sys.stdout.write(told)  # what was seen last stays in sight
    return FINE


def _told(look: Callable[[dt.datetime], None], complain: Callable[[str], None] | None) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            look(clock.now())
        except StoreError as error:
            if complain is None:
                raise
            complain(str(error))
    return text.getvalue()


class Bell:
    """Waits, but not longer than until the next signal, such as that of a window of another size."""

    def __enter__(self) -> Self:
        self._ear, self._mouth = os.pipe()
        os.set_blocking(self._mouth, False)
        self._before = signal.set_wakeup_fd(self._mouth, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._before)
        os.close(self._ear)
        os.close(self._mouth)

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or a signal; raises KeyboardInterrupt at Ctrl-C."""
        if select.select([self._ear], [], [], seconds)[0]:
            os.read(self._ear, 4096)


class Lines:
    """Not a terminal: each look below the last."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, text: str, _every: float) -> None:
        """Write all of `text` at once, for whoever reads along."""
        sys.stdout.write(text)
        sys.stdout.flush()


class Screen:
    """The terminal's other screen, which is left in order however the process ends, short of a kill -9."""

    def __enter__(self) -> Self:
        self._handlers = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGWINCH, lambda *_: None),  # wakes whoever waits
                (signal.SIGTERM, _end),
                (signal.SIGHUP, _end),
                (signal.SIGTSTP, self._stop),
            )
        }
        _write(_ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone
            _write(_LEAVE)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def show(self, text: str, every: float) -> None:
        """Paint `text` over what stands there, cut to the height of the window."""
        head = f"{clock.to_text(clock.now())[:19]} UTC, every {lasting(every)}; Ctrl-C ends"
        lines = [colours.painted(head, colours.GREY), "", *text.splitlines()]
        rows = shutil.get_terminal_size((80, 24)).lines
        if len(lines) > rows:
            lines[max(rows - 1, 0) :] = [f"… {counted(len(lines) - rows + 1, 'line')} more"]
        # Cleared first: a cursor that stands on the last column would take its letter along.
        painted = "\r\n".join(f"{_CLEAR_LINE}{line}" for line in lines)
        _write(f"{_HOME}{painted}" + (f"\r\n{_CLEAR_BELOW}" if len(lines) < rows else ""))

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Give the screen back while the process is stopped by Ctrl-Z."""
        _write(_LEAVE)
        ours = signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, ours)
        _write(_ENTER)


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
