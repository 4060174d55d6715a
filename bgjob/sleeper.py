"""A runner's sleep, and what ends it: a signal, the end of a worker, what a job prints, a ping."""

from __future__ import annotations

import contextlib
import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from bgjob.output import Capture
    from bgjob.wake import Ear


class Sleeper:
    """Sleeps for one process, whose signals come as bytes on a pipe while it is `listening`."""

    @contextlib.contextmanager
    def listening(self, stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
        """Call `stop` on SIGTERM and SIGINT, and let these and the end of a worker end a sleep."""
        self._signals, writer = os.pipe()
        for end in (self._signals, writer):
            os.set_blocking(end, False)
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)}
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGCHLD, _wake_up)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._signals)
            os.close(writer)

    def sleep(self, seconds: float, *, ear: Ear | None, captures: Iterable[Capture]) -> None:
        """Sleep for so many seconds at most; whatever ends the sleep is taken in."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        if ear and ear.file is not None:
            poll.register(ear.file, select.POLLIN)
        printing = {capture.reader: capture for capture in captures if not capture.has_ended}
        for reader in printing:
            poll.register(reader, select.POLLIN)
        for ready, _ in poll.poll(max(seconds * 1000, 1)):
            if ready == self._signals:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._signals, 4096)
            elif ready in printing:
                printing[ready].pump()
            elif ear:
                ear.drain()


def _wake_up(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: that the signal has a handler is what writes the byte."""
