"""What a person at a terminal sees of a tick; under cron, where every byte becomes a mail, only what needs one."""

from __future__ import annotations

import contextlib
import mmap
import os

from bgjob import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable

    from bgjob.job import ClaimedJob

_COLOURS = {"DONE": "32", "RETRY": "33", "LATER": "33", "FAIL": "31", "BACK": "33"}
_NARROWEST = 60
_ERASE = "\r\x1b[K"  # the line in which the cursor stands
# Of the bar in the last line: it stands there, was taken away for that of the next runner, or for good.
_STANDS, _HANDED_OVER, _GONE = 1, 2, 3


class Console:
    """The runner's standard output and error, still at hand after a worker's own were turned into a pipe."""

    def __init__(self, *, quiet: bool = False, tell: bool = False) -> None:
        """Speak on a terminal or when `tell`; say nothing but what a person must know otherwise."""
        self._out = _copy_of(1)
        self._err = _copy_of(2)
        terminal = os.isatty(self._out)
        self.speaks = (terminal or tell) and not quiet
        self._colours = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._width = max(_columns() if terminal else 100, _NARROWEST)
        self.can_show_bar = self.speaks and is_screen(self._out)
        # Shared with the workers, whose lines go above the bar: how it is with it (0: there was none), and its text.
        self._bar = mmap.mmap(-1, mmap.PAGESIZE) if self.can_show_bar else bytearray(2)

    @property
    def files(self) -> set[int]:
        """The descriptors that must stay open for the console to speak."""
        return {self._out, self._err}

    def close(self) -> None:
        """Speak no more: a process that a job forks must not hold the pipe on whose end cron waits."""
        for stream in self.files:
            with contextlib.suppress(OSError):
                os.close(stream)
        self._out = self._err = -1

    def job(self, job: ClaimedJob, now: dt.datetime, *, word: str, duration: float) -> None:
        """Tell how an attempt ended: time, class.method, a dotted leader, its duration, DONE, RETRY, LATER or FAIL.

        Below a bar only what failed is told.
        """
        if not self.speaks or (word == "DONE" and self._bar[0] in (_STANDS, _HANDED_OVER)):
            return
        time = f"{now.astimezone():%H:%M:%S}"
        name = shown(f"{job.job_class}.{job.method}")
        end = f"{_spoken(duration)} "
        room = self._width - len(time) - len(end) - len(word) - 6
        name = cut_left(name, room)
        dots = "." * max(self._width - len(time) - cells(name) - len(end) - len(word) - 5, 1)
        self.say(f"  {self._dim(time)} {name} {self._dim(dots)} {end}{self._coloured(word, _COLOURS[word])}")

    def summary(self, counts: dict[str, int], *, duration: float) -> None:
        """Tell in one line what the tick did."""
        if self.speaks:
            told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
            self.say(f"  {told} in {_spoken(duration)}" if told else "  nothing was due")

    def say(self, text: str) -> None:
        """Write a line to standard output, if we speak at all."""
        if self.speaks:
            self._write_above_bar(self._out, text)

    def warn(self, text: str) -> None:
        """Write a line that a person must see to standard error."""
        lines = "\n".join(f"bgjob: {shown(line)}" for line in text.splitlines())
        self._write_above_bar(self._err, lines)

    def show_bar(self, line: Callable[[int, bool], str]) -> None:
        """Show in the last line what `line` makes of the terminal's columns and colours, until another one comes."""
        text = line(_columns(self._width), self._colours)
        kept = text.encode()[: len(self._bar) - 2] + b"\0"
        self._bar[1 : 1 + len(kept)] = kept
        self._bar[0] = _STANDS
        _write(self._out, _ERASE + text)

    def take_bar_away(self, *, for_another: bool = False) -> None:
        """Leave the last line empty, if a bar stands there; `for_another` runner that is about to show its own."""
        if self._bar[0] in (_STANDS, _HANDED_OVER):
            self._bar[0] = _HANDED_OVER if for_another else _GONE
            _write(self._out, _ERASE)

    def _write_above_bar(self, stream: int, text: str) -> None:
        if not (self._bar[0] and os.isatty(stream)):
            write_line(stream, text)
            return
        # With the bar, or many lines would hide it. Erased also when it is gone, for just then a worker may have been
        # about to write above it.
        bar = bytes(self._bar[1:]).partition(b"\0")[0].decode(errors="replace") if self._bar[0] == _STANDS else ""
        _write(stream, f"{_ERASE}{text}\n{bar}")

    def _dim(self, text: str) -> str:
        return self._coloured(text, "90")

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text


def is_screen(stream: int) -> bool:
    """Return whether a stream is a terminal whose cursor can be moved."""
    return os.isatty(stream) and os.environ.get("TERM", "dumb") not in ("dumb", "")


def _columns(otherwise: int = 100) -> int:
    import shutil  # noqa: PLC0415  # 2 ms, which no command and no silent tick need pay

    return shutil.get_terminal_size((otherwise, 24)).columns


def shown(text: str) -> str:
    """Return `text` with everything escaped that could move a cursor or change a colour."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cut_left(text: str, room: int) -> str:
    """Return `text`, its beginning replaced by … where it would take more than `room` columns."""
    if cells(text) <= room:
        return text
    text = text[-room:]
    while cells(text) > room - 1:
        text = text[1:]
    return f"…{text}"


def cells(text: str) -> int:
    """Return how many columns of a terminal `text` takes: Chinese and the like take two, accents none."""
    if text.isascii():
        return len(text)
    import unicodedata  # noqa: PLC0415  # a file to load, for names that hardly any job has

    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def ago(seconds: float) -> str:
    """Return a span in words short enough for a line, such as `4 min 10 s`."""
    whole = max(int(seconds), 0)
    for size, name, smaller, less in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {less}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def lasting(seconds: float) -> str:
    """Return a duration in words, with fractions where it is short."""
    if seconds < 0.9995:  # noqa: PLR2004  # what is not rounded up to 1000 ms
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.1f} s" if seconds < 59.95 else ago(round(seconds))  # noqa: PLR2004  # nor to 60.0 s


def counted(count: int, noun: str) -> str:
    """Return `1 job`, `2 jobs`, `1,234 jobs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def since(then: str | None, now: dt.datetime) -> str:
    """Return how long ago the database's instant `then` was, in words."""
    if not then:
        return "a while"
    return ago((now - clock.from_text(then)).total_seconds())


def paused(then: object, who: object, reason: object, *, now: dt.datetime) -> str:
    """Return a pause in words, such as `paused by ann@web1 for 5 min: deploy`."""
    try:
        lasting = ago((now - clock.from_text(str(then))).total_seconds())
    except ValueError:  # written by hand
        lasting = "a while"
    return f"paused{f' by {who}' if who else ''} for {lasting}{f': {reason}' if reason else ''}"


def held_up(pause: Iterable[object], now: dt.datetime) -> str:
    """Return what a person must know who waits for jobs of a paused queue, and how to go on."""
    then, who, reason = pause
    return shown(f"{paused(then, who, reason, now=now)}; no job starts until: bgjob resume")


def _spoken(duration: float) -> str:
    if duration < 1:
        return f"{duration * 1000:.2f}ms"
    return f"{duration:.2f}s" if duration < 60 else ago(duration)  # noqa: PLR2004  # a minute


def _copy_of(stream: int) -> int:
    copy = os.dup(stream)
    os.set_inheritable(copy, False)  # noqa: FBT003  # the name says it
    return copy


def write_line(stream: int, text: str) -> None:
    """Write a line to a descriptor, whatever its encoding and whether or not somebody still reads there."""
    _write(stream, text + "\n")


def _write(stream: int, text: str) -> None:
    # A closed pipe or a full disk behind standard output must not stop the queue.
    with contextlib.suppress(OSError):
        os.write(stream, text.encode("utf-8", "backslashreplace"))
