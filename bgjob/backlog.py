"""The bar of a long drain: how many of the due jobs are done, at which rate, and the time left.

Only for a person at a terminal. While it is there the workers tell of failures alone, for thousands of lines about jobs
that succeeded would hide them.
"""

from __future__ import annotations

from bgjob import clock
from bgjob.pace import Pace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.console import Console
    from bgjob.queue_file import QueueFile
    from bgjob.tally import Tally

MANY = 100
_MOMENT = 1.0


class Backlog:
    """What is due, as its runner works it off."""

    def __init__(self, queue: QueueFile, console: Console, *, wanted: bool) -> None:
        """Watch the `queue`, and show it on the `console` if it is a terminal and a bar is `wanted`."""
        self._queue = queue
        self._console = console
        self._wanted = wanted and console.can_show_bar
        self._pace: Pace | None = None
        self._done_before = 0

    def look(self, tally: Tally) -> None:
        """Show how far it is, once many jobs are due and until none is; the `tally` has what this runner settled."""
        if not self._wanted:
            return
        settled = sum(tally.counts().values())
        due, processing = self._queue.connected().count_due(clock.now())
        now = clock.monotonic()
        if self._pace is None and due >= MANY:
            self._pace, self._done_before = Pace(due, now), settled
        if self._pace is None:
            return
        done = settled - self._done_before
        self._pace.total = done + due + processing
        self._pace.move(done, now)
        left = self._pace.seconds_left(now)
        # Where jobs come one by one and are done at once, there is always one due.
        if not due or (due < MANY and left is not None and left < _MOMENT):
            self.end()
        else:
            self._show(self._pace, now)

    def end(self, *, hands_over: bool = False) -> None:
        """Show it no more; a runner that hands the queue over leaves the last line to the next one's bar."""
        self._pace = None
        self._console.take_bar_away(for_another=hands_over)

    def _show(self, pace: Pace, now: float) -> None:
        self._console.show_bar(lambda columns, colours: pace.line("  draining", now, columns=columns, colours=colours))
