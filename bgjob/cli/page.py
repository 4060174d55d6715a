"""What a command prints: lines that fit the terminal, or one JSON document."""

from __future__ import annotations

import io
import os
import sys

from bgjob import clock
from bgjob.cli import colours
from bgjob.cli.colours import painted
from bgjob.console import ago, cells, cut_left, held_up, shown
from bgjob.job import PROCESSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from bgjob.store.pause import Pause
    from bgjob.store.reading import ProgressRow


def prepare() -> None:
    """Let standard output take every character, whatever the locale says, and be there even if it was closed."""
    if sys.stdout is None or sys.stderr is None:  # as Python leaves them where their descriptors were closed
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for as long as the process lives
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: str = "", *, colour: str | None = None) -> None:
    """Print a line, without what could move a cursor or change a colour but our own."""
    sys.stdout.write(f"{painted(shown(text), colour)}\n")


def sentence(text: str) -> None:
    """Print a sentence, in as many lines as it takes on a terminal."""
    sys.stdout.write(f"{fitted(shown(text))}\n")


def lines(text: str) -> None:
    """Print each line of `text`."""
    for line in text.splitlines():
        say(line)


def remark(text: str) -> None:
    """Print a line about what was printed to standard error, where it is in nobody's way."""
    sys.stdout.flush()
    sys.stderr.write(f"{fitted(shown(text), stream=2)}\n")


def remark_on_pause(pause: Pause | None, now: dt.datetime) -> None:
    """Say on standard error that no job starts, if that is so."""
    if pause is not None:
        sys.stdout.flush()
        sys.stderr.write(f"{painted(fitted(held_up(pause, now), stream=2), colours.YELLOW, stream=2)}\n")


def document(value: object, *, in_a_line: bool = False) -> None:
    """Print `value` as the one JSON document that --json stands for, or as one of many lines."""
    import json

    sys.stdout.write(json.dumps(value, indent=None if in_a_line else 2, default=_odd) + "\n")


def _odd(value: object) -> str:
    return clock.to_text(value).replace(" ", "T") + "Z" if hasattr(value, "isoformat") else repr(value)  # type: ignore[arg-type]


def json_time(text: object) -> object:
    """Return a time of the database as ISO 8601 with its zone; anything else as it is."""
    if isinstance(text, str) and len(text) == _TIME and text[10] == " ":
        return f"{text[:10]}T{text[11:]}Z"
    return text


def how_far(progress: ProgressRow) -> str:
    """Return how far a job is, such as `40 %: importing rows`."""
    share = f"{int(progress.fraction * 100 + 1e-9)} %" if progress.fraction is not None else ""
    return ": ".join(part for part in (share, progress.text) if part) or "unknown"


def progress_document(progress: ProgressRow | None) -> dict[str, object] | None:
    """Return how far a job is as it stands in a document of --json."""
    return {**progress._asdict(), "updated_at": json_time(progress.updated_at)} if progress else None


def pause_document(pause: Pause | None) -> dict[str, object] | None:
    """Return a pause as it stands in a document of --json."""
    return {**pause._asdict(), "since": json_time(pause.since)} if pause else None


_TIME = len("YYYY-MM-DD HH:MM:SS.ffffff")


def width(stream: int = 1) -> int | None:
    """Return how many columns the terminal has; None where there is no terminal, so nothing need be cut."""
    if not os.isatty(stream):
        return None
    import shutil

    return max(shutil.get_terminal_size((80, 24)).columns, _NARROWEST)


_NARROWEST = 60


def told(
    name: str,
    text: str,
    *,
    indent: int = 11,
    colour: str | None = None,
    of: str | None = None,
    name_colour: str = colours.GREY,
) -> None:
    """Print `text` beside its `name`, in as many lines as it takes; in `colour` all or a part `of` it."""
    columns = width()
    for number, line in enumerate(_wrapped(shown(text), columns - indent) if columns else [shown(text)]):
        beside = shown(name) if number == 0 else ""
        gap = " " * (indent - cells(beside)) if line else ""
        within = line.replace(of, painted(of, colour)) if of else painted(line, colour)
        sys.stdout.write(f"{painted(beside, name_colour)}{gap}{within}\n")


def fitted(text: str, *, stream: int = 1) -> str:
    """Return a sentence broken between words, where the terminal would break it within one; elsewhere as it is."""
    columns = width(stream)
    return text if columns is None or text.startswith(" ") else "\n".join(_wrapped(text, columns))


def _wrapped(text: str, room: int) -> list[str]:
    """Return `text` in lines of at most `room` columns, broken between words where that can be."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cells(joined) <= room:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if cells(lines[-1]) + cells(letter) > room:
                lines.append("")
            lines[-1] += letter
    return lines


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    room: int | None,
    below: Sequence[str] = (),
    keeps_end: bool = False,
) -> None:
    """Print rows under their head; the last column gets what is left of the room, and loses its end (or beginning).

    `below` holds a line for each row that is printed under it, if it is not empty. A status has its colour.
    """
    clean = [[shown(cell) for cell in row] for row in rows]
    widths = [max(cells(row[place]) for row in [list(head), *clean]) for place in range(len(head) - 1)]
    left = None if room is None else max(room - sum(widths) - 2 * len(widths), 10)
    for number, row in enumerate([list(head), *clean]):
        padded = [
            painted(cell, colours.OF_STATUS.get(cell)) + " " * (widths[place] - cells(cell))
            for place, cell in enumerate(row[:-1])
        ]
        last = row[-1] if left is None else (cut_left if keeps_end else cut)(row[-1], left)
        line = "  ".join([*padded, last]).rstrip()
        sys.stdout.write(painted(line, None if number else colours.GREY) + "\n")
        if number and below and below[number - 1]:
            line, colour = shown(below[number - 1]), colours.BLUE if PROCESSING in row else colours.RED
            sys.stdout.write("    " + painted(line if room is None else cut(line, room - 4), colour) + "\n")


def cut(text: str, room: int) -> str:
    """Return `text`, its end replaced by … where it would take more than `room` columns."""
    if cells(text) <= room:
        return text
    while text and cells(text) > room - 1:
        text = text[: min(len(text) - 1, room - 1)]
    return f"{text}…"


def time_and_age(text: str | None, now: dt.datetime) -> str:
    """Return a time of the database for people: to the second, in UTC, and how long ago, or in how long."""
    try:
        return f"{str(text)[:19]} UTC, {_distance(text, now)}"
    except (ValueError, TypeError):  # written past the CHECKs
        return repr(text) if text is not None else "-"


def age(text: str | None, now: dt.datetime) -> str:
    """Return how long ago a time of the database is, or in how long."""
    try:
        return _distance(text, now)
    except (ValueError, TypeError):
        return "at an unknown time"


def _distance(text: str | None, now: dt.datetime) -> str:
    seconds = (now - clock.from_text(text or "")).total_seconds()
    return f"{ago(seconds)} ago" if seconds >= 0 else f"in {ago(-seconds)}"
