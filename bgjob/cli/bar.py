"""A bar on standard error while a command does something to many: items, rate, time left.

    with Bar("requeueing", count, wanted=not arguments.json) as bar:
        for batch in batches:
            ...
            bar.advance(len(batch))

It is there only on a terminal, and only once the work has lasted for a moment; when the `with` block ends, by Ctrl-C or
otherwise, its line is empty again. With rich (the extra `[cli]`) it is rich's bar, else a plain line.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from typing import Protocol, TypeVar

from bgjob import clock
from bgjob.console import is_screen
from bgjob.pace import Pace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

Item = TypeVar("Item")
_PATIENCE = 0.3  # what is over by then needs no bar, and does not pay 100 ms for rich
_REPAINT_EVERY = 0.1


class Bar:
    """How far one piece of work is, for as long as a `with` block lasts."""

    def __init__(self, what: str, total: int | None, *, unit: str = "jobs", wanted: bool = True) -> None:
        """Tell `what` is being done to a `total` (None: nobody knows); not at all unless `wanted`, as with --json."""
        now = clock.monotonic()
        self._what = what
        self._pace = Pace(total, now, unit=unit)
        self._done = 0
        self._next = now + _PATIENCE if wanted and is_screen(2) else math.inf
        self._painter: _Painter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._painter:
            with contextlib.suppress(OSError):
                self._painter.erase()

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        now = clock.monotonic()
        if now < self._next:
            return
        self._next = now + _REPAINT_EVERY
        self._pace.move(self._done, now)
        try:
            if self._painter is None:
                self._painter = _painter(self._what)
            self._painter.paint(self._pace, now)
        except OSError:  # the terminal was closed, which is no reason to stop the work
            self._next = math.inf


class Counted(list[Item]):
    """A list that moves a bar while somebody walks over it."""

    def __init__(self, items: list[Item], bar: Bar) -> None:
        """Hold the `items`."""
        super().__init__(items)
        self._bar = bar

    def __iter__(self) -> Iterator[Item]:
        for item in super().__iter__():
            yield item
            self._bar.advance()


class _Painter(Protocol):
    """What shows it: rich, or a plain line."""

    def paint(self, pace: Pace, now: float) -> None: ...

    def erase(self) -> None: ...


def _painter(what: str) -> _Painter:
    try:
        return _RichBar(what)
    except ImportError:
        return _PlainLine(what)


class _PlainLine:
    """A line that is written over and over, in the place of the one before."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._colours = not os.environ.get("NO_COLOR")

    def paint(self, pace: Pace, now: float) -> None:
        columns = os.get_terminal_size(2).columns or 80
        sys.stderr.write(f"\r\x1b[K{pace.line(self._what, now, columns=columns, colours=self._colours)}")
        sys.stderr.flush()

    def erase(self) -> None:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


class _RichBar:
    """The same by rich. Its own thread stays off, for whoever paints may fork; so does its hiding of the cursor."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Live
        from rich.table import Column

        class CursorStays(Console):
            # Whoever is killed in the middle could not give it back.
            def show_cursor(self, show: bool = True) -> bool:  # noqa: FBT001, FBT002  # rich's own signature
                return not show

        told = TextColumn("{task.fields[told]}", markup=False, table_column=Column(no_wrap=True))
        self._live = Live(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            told,
            console=CursorStays(stderr=True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._live.add_task(what, total=None, told="")
        self._live.start()

    def paint(self, pace: Pace, now: float) -> None:
        self._live.update(self._task, completed=pace.done, total=pace.total, told=pace.told(now), refresh=True)

    def erase(self) -> None:
        self._live.stop()
