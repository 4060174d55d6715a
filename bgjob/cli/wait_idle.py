"""`bgjob wait-idle`: returns once no job is being run; for a deploy, after `bgjob pause`."""

from __future__ import annotations

import os
import sys
import time
from typing import NamedTuple

from bgjob import clock, watch
from bgjob.cli import page
from bgjob.cli.exits import FINE, NO_MATCH
from bgjob.cli.kinds import span
from bgjob.console import ago, counted, is_screen, lasting, shown
from bgjob.store import reading
from bgjob.store.reading import Standing
from bgjob.views import signs
from bgjob.views.overview import instant

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import datetime as dt

    from bgjob.config import Config
    from bgjob.store.reading import ReadStore, RunningRow

_LOOK_EVERY = 0.1
_TELL_EVERY = 1.0
_MOST_TOLD = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take for how long to wait."""
    parser.add_argument(
        "--timeout",
        type=span,
        metavar="SPAN",
        help="give up after so long, and exit with 1: seconds, or 90s, 10m; 0 looks once (default: wait for ever)",
    )


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Wait; return FINE once the queue is idle, NO_MATCH if it was not in time."""
    started = clock.monotonic()
    teller = _Teller()
    try:
        while True:
            seen = _look(config.database, clock.now())
            waited = clock.monotonic() - started
            if seen.is_idle or (arguments.timeout is not None and waited >= arguments.timeout):
                break
            teller.tell(seen, clock.now())
            left = _LOOK_EVERY if arguments.timeout is None else arguments.timeout - waited
            time.sleep(min(_LOOK_EVERY, max(left, 0.0)))
    finally:
        teller.erase()
    if arguments.json:
        page.document(_document(seen, waited))
    elif seen.is_idle:
        page.say(
            "idle: no job is being run" if seen.standing.is_paused else "idle: no job is being run, and none is due"
        )
    if not seen.is_idle:
        page.remark(f"bgjob: not idle after {lasting(waited)}; still waiting for {_waits_for(seen, clock.now())}")
    return FINE if seen.is_idle else NO_MATCH


class _Seen(NamedTuple):
    """The queue at one look."""

    standing: Standing
    running: list[RunningRow]
    gone: list[RunningRow]  # those of them whose runner is dead
    is_deserted: bool  # nobody is at work, and no tick came for so long that none may come

    @property
    def is_idle(self) -> bool:
        """Whether no job is being run. Without a pause none must be due either, for it may start at any moment."""
        return not self.standing.processing and bool(self.standing.is_paused or not self.standing.is_due)


def _look(path: str, now: dt.datetime) -> _Seen:
    """Look anew, over a connection of its own: somebody may make, delete or replace the database meanwhile."""
    if not reading.exists(path):
        return _Seen(Standing(processing=0, is_due=0, is_paused=0), [], [], is_deserted=False)
    with reading.ReadStore(path) as store:
        standing = store.standing(now)
        running = store.running() if standing.processing else []
        living = signs.living(store.path, {row.runner for row in running if isinstance(row.runner, int)})
        gone = [] if living is None else [row for row in running if row.runner not in living]
        return _Seen(standing, running, gone, is_deserted=len(gone) == len(running) and _is_deserted(store, now))


def _is_deserted(store: ReadStore, now: dt.datetime) -> bool:
    return signs.is_at_work(store) is False and watch.is_silent(watch.last_tick(store.path), now)


class _Teller:
    """Tells on a terminal what is still waited for, on one line; and anywhere what only a tick can bring to an end."""

    def __init__(self) -> None:
        self._repaints = is_screen(2)
        self._next = 0.0
        self._is_painted = False
        self._has_remarked = False

    def tell(self, seen: _Seen, now: dt.datetime) -> None:
        if not self._has_remarked and (hint := _hint(seen)):
            self._has_remarked = True
            self.erase()
            page.remark(f"bgjob: {hint}")
        if self._repaints and clock.monotonic() >= self._next:
            self._next = clock.monotonic() + _TELL_EVERY
            room = (os.get_terminal_size(2).columns or 80) - 1
            self._paint(page.cut(shown(f"waiting for {_waits_for(seen, now)}"), room))

    def erase(self) -> None:
        if self._is_painted:
            self._paint("")

    def _paint(self, text: str) -> None:
        self._is_painted = bool(text)
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _waits_for(seen: _Seen, now: dt.datetime) -> str:
    if not seen.running:
        return "a job that is due"
    told = [f"job {row.id} {row.job_class}.{row.method}{_lasting(row, now)}" for row in seen.running[:_MOST_TOLD]]
    if len(seen.running) > _MOST_TOLD:
        told.append(f"{counted(len(seen.running) - _MOST_TOLD, 'more job')}")
    return ", ".join(told)


def _lasting(row: RunningRow, now: dt.datetime) -> str:
    since = instant(row.started_at)
    return f" ({ago((now - since).total_seconds())})" if since else ""


def _hint(seen: _Seen) -> str | None:
    """Return what a person may have to do for the waiting to end."""
    whose = f"the runner of job {seen.gone[0].id} is gone, and the next tick takes the job back" if seen.gone else ""
    silence = "no tick has come for a while: is cron running? By hand: bgjob run" if seen.is_deserted else ""
    return "; ".join(filter(None, (whose, silence))) or None


def _document(seen: _Seen, waited: float) -> dict[str, object]:
    return {
        "command": "wait-idle",
        "is_idle": seen.is_idle,
        "seconds": waited,
        "is_paused": bool(seen.standing.is_paused),
        "is_due": bool(seen.standing.is_due),
        "running": [
            {**row._asdict(), "started_at": page.json_time(row.started_at), "runner_lives": row not in seen.gone}
            for row in seen.running
        ],
    }
