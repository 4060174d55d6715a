"""The two log files, and every sentence that bgjob writes to them.

One event is one line: time, level, verb, then key=value. Whatever came from outside is escaped, so that no message can
forge a line; the lines of a traceback begin with a tab and go out in the same write. Every process appends, and opens
the file anew when it has been moved; only the runner rotates.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import time

from bgjob import clock, files, seal
from bgjob.job import Raised

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt

    from bgjob.config import Config
    from bgjob.job import ClaimedJob, Failure, Postponed, Seen

MAIN = "background_jobs.log"
ERRORS = "background_jobs_errors.log"
_LONGEST_VALUE = 1_000
_LOOK_EVERY = 0.001  # seconds; a line that follows sooner goes where the one before it went
_NAPS = (0.001, 0.01, 0.05)  # a line that is as short after these is not just being written by another process


class LogFile:
    """One log file, appended to by any number of processes."""

    def __init__(self, path: str, *, max_size: int, files: int) -> None:
        """Write to `path`; past `max_size` bytes it is rotated, and `files` files are kept, this one included."""
        self.path = path
        self._max_size = max_size
        self._files = files
        self._file: int | None = None
        self._identity = (0, 0)
        self._seal: int | tuple[int, int] | None = None
        self._next_look = 0.0  # when we look again whether the file was moved
        # After our last line: where the file still ends there, nobody has written since. Between two looks we take that
        # for its size, and see what others wrote at the next one.
        self._end: int | None = None
        self.trouble: str | None = None

    def write(self, text: str) -> None:
        """Append `text` in one write. Trouble is remembered in `trouble`, never raised: a log must not stop a job."""
        try:
            now = clock.monotonic()
            file, size = self._file, self._end
            if now >= self._next_look or file is None or size is None or seal.of(file) != self._seal:
                file, size = self._open_if_moved()
                self._next_look = now + _LOOK_EVERY
            line = text.encode("utf-8", "backslashreplace")
            if size != self._end and self._is_cut_short(file, size):
                line = b"\n" + line
            self._end = None
            rest = line
            while rest:  # a short write happens only on a disk that is full
                rest = rest[os.write(file, rest) :]
            self._end = size + len(line)
        except OSError as error:
            self.trouble = f"{self.path} can't be written ({error.strerror or error}); jobs go on without it"

    def _is_cut_short(self, file: int, size: int) -> bool:
        """Return whether the last line lacks its end: a full disk let only a part of it through."""
        if size == 0 or self._byte_at(size - 1) in b"\n":  # also true of b"", where nothing could be read
            return False
        for nap in _NAPS:
            time.sleep(nap)
            if os.fstat(file).st_size != size:
                return False
        return True

    def _byte_at(self, place: int) -> bytes:
        """Return one byte of the file, or nothing if it can't be read or has been moved."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return b""
        try:
            return os.pread(file, 1, place) if files.behind(file) == self._identity else b""
        except OSError:
            return b""
        finally:
            os.close(file)

    def _open_if_moved(self) -> tuple[int, int]:
        """Make sure that the file is open, and is still the one at its path; return its descriptor and its size."""
        try:
            stat = os.stat(self.path)
        except FileNotFoundError:
            stat = None
        if (
            self._file is not None
            and stat is not None
            and (stat.st_dev, stat.st_ino) == self._identity
            and seal.of(self._file) == self._seal
        ):
            return self._file, stat.st_size
        self.close()
        with contextlib.suppress(FileExistsError):
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
        # O_NONBLOCK: a named pipe in its place must not hang us.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._file = os.open(self.path, flags, 0o666)
        stat = os.fstat(self._file)
        self._identity = stat.st_dev, stat.st_ino
        self._seal = seal.put_on(self._file)
        return self._file, stat.st_size

    def rotate_if_large(self) -> None:
        """Runner: move the file aside once it is past its size, and the older ones on by one."""
        try:
            self._open_if_moved()  # so that a log which can't be written shows here, where someone can say so
            if os.stat(self.path).st_size < self._max_size:
                return
            self._next_look = 0.0
            for number in range(self._files - 1, 1, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{self.path}.{number - 1}", f"{self.path}.{number}")
            if self._files > 1:
                os.replace(self.path, f"{self.path}.1")
            else:
                os.truncate(self.path, 0)
        except FileNotFoundError:
            return
        except OSError as error:
            self.trouble = f"{self.path} can't be used ({error.strerror or error}); jobs go on without it"

    def forget(self) -> None:
        """Forget the descriptor, which is closed already; the next write opens the file again."""
        self._file = None
        self._end = None

    def close(self) -> None:
        """Close the file, unless a job did and the number is another file's by now; the next write opens it again."""
        file, self._file, self._end = self._file, None, None
        if file is not None and seal.of(file) == self._seal:
            os.close(file)


class Logs:
    """Both logs; one method for each thing that is told."""

    def __init__(self, directory: str, *, max_size: int, files: int) -> None:
        """Write to the two files in `directory`, which is made when the first line is written."""
        self.main = LogFile(os.path.join(directory, MAIN), max_size=max_size, files=files)
        self.errors = LogFile(os.path.join(directory, ERRORS), max_size=max_size, files=files)

    @classmethod
    def of(cls, config: Config) -> Logs:
        """Return the logs of a `config`."""
        return cls(config.log_directory, max_size=config.log_max_size, files=config.log_files)

    def complete(self, job: ClaimedJob, now: dt.datetime, *, duration: float) -> None:
        """A job is completed."""
        self.main.write(
            f"{clock.to_text(now)} INFO complete {_named(job)} attempt={job.attempt} status=completed "
            f"duration={duration:.6f}s\n"
        )

    def retry(
        self, job: ClaimedJob, failure: Failure, now: dt.datetime, *, available_at: dt.datetime, duration: float
    ) -> None:
        """An attempt failed and another one will follow."""
        self._failure(job, failure, now, level="WARNING", duration=duration)
        self.main.write(
            f"{clock.to_text(now)} WARNING retry {_named(job)} attempt={job.attempt} status=pending "
            f"outcome={_value(failure.kind)} available_at={_value(clock.to_text(available_at))} "
            f"duration={duration:.6f}s error={_value(failure.error)}\n"
        )

    def fail(self, job: ClaimedJob, failure: Failure, now: dt.datetime, *, duration: float) -> None:
        """A job has failed for good."""
        self._failure(job, failure, now, level="ERROR", duration=duration)
        self.errors.write(
            f"{clock.to_text(now)} ERROR fail {_named(job)} attempt={job.attempt} status=failed "
            f"outcome={_value(failure.kind)}{_verdict(failure)} duration={duration:.6f}s "
            f"error={_value(failure.error)}\n"
        )

    def _failure(self, job: ClaimedJob, failure: Failure, now: dt.datetime, *, level: str, duration: float) -> None:
        if not failure.traceback and level == "ERROR":
            return  # the line of `fail` says it all
        self.errors.write(
            f"{clock.to_text(now)} {level} {failure.kind.replace(' ', '-')} {_named(job)} attempt={job.attempt} "
            f"duration={duration:.6f}s error={_value(failure.error)}\n{_indented(failure.traceback)}"
        )

    def postpone(
        self, job: ClaimedJob, outcome: Postponed, now: dt.datetime, *, available_at: dt.datetime, duration: float
    ) -> None:
        """A job asked to be run later, and will be."""
        self.main.write(
            f"{clock.to_text(now)} INFO postpone {_named(job)} attempt={job.attempt} status=pending "
            f"available_at={_value(clock.to_text(available_at))} duration={duration:.6f}s "
            f"reason={_value(outcome.error)}\n"
        )

    def release(self, job: ClaimedJob, now: dt.datetime, *, reason: str) -> None:
        """A job was handed back uncounted: its runner was told to stop, or its worker died before it was started."""
        self.main.write(
            f"{clock.to_text(now)} INFO release {_named(job)} attempt={job.attempt} status=pending reason={reason}\n"
        )

    def requeue(self, job: Seen, now: dt.datetime) -> None:
        """A person made a failed or cancelled job pending again."""
        self.main.write(f"{clock.to_text(now)} INFO requeue {_named(job)} status=pending before={job.status}\n")

    def cancel(self, job: Seen, now: dt.datetime) -> None:
        """A person took a pending job back."""
        self.main.write(f"{clock.to_text(now)} INFO cancel {_named(job)} status=cancelled before={job.status}\n")

    def delete(self, job: Seen, now: dt.datetime) -> None:
        """A person removed a job."""
        self.main.write(f"{clock.to_text(now)} INFO delete {_named(job)} before={job.status}\n")

    def pause(self, now: dt.datetime, *, who: str, reason: str | None, running: int) -> None:
        """A person paused the queue, or gave another reason for it."""
        self.main.write(
            f"{clock.to_text(now)} INFO pause who={_value(who)} reason={_value(reason or '-')} processing={running}\n"
        )

    def resume(self, now: dt.datetime, *, who: str, before: str) -> None:
        """A person ended the pause."""
        self.main.write(f"{clock.to_text(now)} INFO resume who={_value(who)} before={_value(before)}\n")

    def prune(self, now: dt.datetime, *, who: str, counts: dict[str, int]) -> None:
        """A person pruned finished rows; the hourly pruning is silent."""
        told = " ".join(f"{status}={count}" for status, count in counts.items())
        self.main.write(f"{clock.to_text(now)} INFO prune who={_value(who)} {told}\n")

    def tick(self, now: dt.datetime, *, runner: int, counts: dict[str, int], duration: float) -> None:
        """A tick ended that did something."""
        told = " ".join(f"{name}={count}" for name, count in counts.items())
        self.main.write(f"{clock.to_text(now)} INFO tick runner={runner} {told} duration={duration:.3f}s\n")

    def alarm(self, now: dt.datetime, *, alarm: int, kind: str, told: str) -> None:
        """An outage was noticed."""
        self.errors.write(f"{clock.to_text(now)} ERROR alarm alarm={alarm} kind={_value(kind)} what={_value(told)}\n")

    def end_alarm(self, now: dt.datetime, *, alarm: int, kind: str, lasted: dt.timedelta) -> None:
        """An outage is over; told where it was told that it began."""
        seconds = lasted.total_seconds()
        self.errors.write(
            f"{clock.to_text(now)} INFO end-alarm alarm={alarm} kind={_value(kind)} lasted={seconds:.0f}s\n"
        )

    def trouble(self, now: dt.datetime, *, what: str, traceback: str = "") -> None:
        """Something of the runner's own went wrong."""
        self.errors.write(f"{clock.to_text(now)} ERROR trouble what={_value(what)}\n{_indented(traceback)}")

    def rotate_if_large(self) -> None:
        """Runner: rotate what has grown past its size."""
        self.main.rotate_if_large()
        self.errors.rotate_if_large()

    def take_trouble(self) -> str | None:
        """Return what went wrong with a file since the last time, or None."""
        for file in (self.main, self.errors):
            if file.trouble is not None:
                trouble, file.trouble = file.trouble, None
                return trouble
        return None

    def forget(self) -> None:
        """In a forked child, which has closed all files that it inherited: open them anew when needed."""
        self.main.forget()
        self.errors.forget()

    def close(self) -> None:
        """Close both files."""
        self.main.close()
        self.errors.close()


def _named(job: ClaimedJob | Seen) -> str:
    return f"job={job.id} class={_value(job.job_class)} method={_value(job.method)}"


def _verdict(failure: Failure) -> str:
    return f" verdict={_value(failure.verdict)}" if isinstance(failure, Raised) and failure.verdict else ""


_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+", re.ASCII)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@functools.lru_cache(maxsize=128)  # of most lines the class and the method are the same ones again
def _value(text: str) -> str:
    """Return `text` as a value of a log line: bare where it is plain, else quoted with every odd character escaped."""
    try:
        if _PLAIN.fullmatch(text):
            return text
    except TypeError:  # bytes, which another program wrote past the CHECKs
        return _value(str(text))
    if len(text) > _LONGEST_VALUE:
        text = text[:_LONGEST_VALUE] + "…"
    return '"' + "".join(_ESCAPES.get(c) or _escaped(c) for c in text) + '"'


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004  # the end of the basic plane


def _indented(traceback: str) -> str:
    """Return the lines of a traceback, each behind a tab, with what could end a line or move a cursor escaped."""
    lines = traceback.rstrip("\n").split("\n") if traceback else []
    return "".join("\t" + "".join(map(_escaped, line)) + "\n" for line in lines)
