"""`bgjob queue`: queue a job by hand, or many of them from JSON lines, through the function that apps call."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys

from bgjob import clock, run_background_job
from bgjob.cli import page
from bgjob.cli.bar import Bar, Counted
from bgjob.cli.exits import FINE, NoMatchError, WrongUsageError
from bgjob.cli.kinds import priority, span
from bgjob.config import VARIABLE
from bgjob.console import shown
from bgjob.enqueue import queue_all
from bgjob.errors import BgjobError, InvalidJobError
from bgjob.store import reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import datetime as dt
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO

    from bgjob.config import Config
    from bgjob.store.intake import NewJob

_STANDARD_INPUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take one job as words and options, or a file of them."""
    parser.add_argument("job_class", nargs="?", metavar="CLASS", help="an approved class, by its dotted name")
    parser.add_argument("method", nargs="?", metavar="METHOD", help="an approved method of it (default: execute)")
    parser.add_argument(
        "params",
        nargs="?",
        metavar="PARAMS-JSON",
        help="a JSON object (keyword arguments) or array (positional ones); METHOD may be left out before it",
    )
    parser.add_argument("--priority", type=priority, metavar="N", help="a whole number; higher runs first (default: 0)")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--delay", type=span, metavar="SPAN", help="due after so long: seconds, or 90s, 2h")
    when.add_argument("--at", metavar="TIME", help="due at this time (ISO 8601, local time unless it names a zone)")
    parser.add_argument(
        "--file",
        metavar="PATH",
        help="queue many, all or none: a JSON object a line with job_class and any of method, params, priority, delay "
        "(in seconds) and at; - reads standard input",
    )


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Queue what is asked for; return the exit code.

    Raises what `run_background_job` raises, WrongUsageError where words and --file contradict or JSON can't be read,
    and NoMatchError for a file without any job.
    """
    os.environ[VARIABLE] = config.path  # so the function finds the config that --config named
    queued = _queue_many(arguments) if arguments.file is not None else _queue_one(arguments)
    if arguments.json:
        sys.stdout.write(json.dumps({"command": "queue", "jobs": queued}, indent=2) + "\n")
    elif arguments.file is None:
        sys.stdout.write(f"queued {shown(arguments.job_class)}\n")
    else:
        sys.stdout.write(f"queued {queued:,} {'job' if queued == 1 else 'jobs'}\n")
    page.remark_on_pause(reading.pause_of(config.database), clock.now())
    return FINE


def _queue_one(arguments: argparse.Namespace) -> int:
    if arguments.job_class is None:
        raise WrongUsageError("which job? Name its class, or a file of jobs with --file: bgjob queue --help")
    method, params = arguments.method, arguments.params
    if params is None and method is not None and method.lstrip()[:1] in ("{", "["):
        method, params = None, method
    run_background_job(
        arguments.job_class,
        method if method is not None else "execute",
        _parsed(params, "PARAMS-JSON") if params is not None else None,
        priority=arguments.priority or 0,
        delay=_delay_until(arguments.at, clock.now()) if arguments.at is not None else arguments.delay or 0,
    )
    return 1


def _queue_many(arguments: argparse.Namespace) -> int:
    words = (arguments.job_class, arguments.priority, arguments.delay, arguments.at)
    if any(word is not None for word in words):
        raise WrongUsageError("with --file each line says all of its job: leave CLASS, --priority, --delay, --at out")
    if arguments.file == _STANDARD_INPUT:
        lines = _Lines(sys.stdin.buffer.fileno(), "standard input", shows=not arguments.json)
    else:
        lines = _Lines(arguments.file, arguments.file, shows=not arguments.json)
    with contextlib.ExitStack() as bars:

        def written(jobs: list[NewJob]) -> list[NewJob]:
            return Counted(jobs, bars.enter_context(Bar("queueing", len(jobs), wanted=not arguments.json)))

        return _queue_lines(lines, written)


def _queue_lines(lines: _Lines, written: Callable[[list[NewJob]], list[NewJob]]) -> int:
    try:
        queue_all(lines, written=written)
    except BgjobError as error:
        if lines.number and not lines.is_at_end:
            # The function counts jobs; a person looks for a line.
            told = str(error).removeprefix(f"jobs[{lines.jobs - 1}]: ")
            error.args = (f"{lines.place()}: {told}; nothing was queued", *error.args[1:])
        raise
    if not lines.jobs:
        raise NoMatchError(f"there is no job in {lines.name}")
    return lines.jobs


class _Lines:
    """The jobs of a file of JSON lines, one after another, and how far it has been read."""

    def __init__(self, source: str | int, name: str, *, shows: bool) -> None:
        self.name = name
        self.number = 0  # of the line, from 1
        self.jobs = 0
        self.is_at_end = False
        self._source = source
        self._shows = shows
        self._now = clock.now()  # before the function looks at the clock: what is due at a time, is not due before

    def place(self) -> str:
        return f"{self.name}, line {self.number}"

    def __iter__(self) -> Iterator[dict[str, Any] | list[Any] | str]:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(self._opened())
            size = _size(file)
            bar = stack.enter_context(Bar("reading", size, unit="lines" if size is None else "", wanted=self._shows))
            for self.number, line in enumerate(file, 1):
                text = self._text(line).rstrip()
                if text:
                    self.jobs += 1
                    yield _job(text, self._now)
                bar.advance(1 if size is None else len(line))
        self.is_at_end = True

    def _opened(self) -> BinaryIO:
        try:
            return open(self._source, "rb", closefd=isinstance(self._source, str))
        except OSError as error:
            raise WrongUsageError(f"{self.name} can't be read: {error.strerror or error}") from None

    def _text(self, line: bytes) -> str:
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidJobError(f"byte {error.start + 1} is no UTF-8") from None


def _size(file: BinaryIO) -> int | None:
    """Return how many bytes there are to be read; None for a pipe or the like."""
    seen = os.fstat(file.fileno())
    return seen.st_size if stat.S_ISREG(seen.st_mode) else None


def _job(line: str, now: dt.datetime) -> dict[str, Any] | list[Any] | str:
    job = _parsed(line, "")
    if not isinstance(job, (dict, list, str)):
        raise InvalidJobError("a line must be a JSON object with job_class, an array, or the class alone as text")
    if isinstance(job, dict) and "at" in job:
        if "delay" in job:
            raise InvalidJobError("delay and at contradict each other; leave one of them out")
        at = job.pop("at")
        if not isinstance(at, str):
            raise InvalidJobError(f'at must be a time as text, such as "2026-12-31T08:00+01:00", not {at!r:.40}')
        job["delay"] = _delay_until(at, now)
    return job


def _delay_until(text: str, now: dt.datetime) -> float:
    from bgjob.moments import read_time

    instant = read_time(text, now)
    if instant < now:
        message = f"{shown(text)} is past ({clock.to_text(instant)[:19]} UTC); to run it at once, name no time"
        raise WrongUsageError(message)
    return (instant - now).total_seconds()


def _parsed(text: str, name: str) -> Any:  # noqa: ANN401  # whatever JSON holds; queueing checks it
    """Return what the JSON text says; WrongUsageError with line and column where it says nothing."""
    before = f"{name}: " if name else ""
    try:
        return json.loads(text, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if name else f"column {error.colno}"
        raise WrongUsageError(f"{before}{where}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise WrongUsageError(f"{before}{error}") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {double!r:.60} stands twice")
    return found
