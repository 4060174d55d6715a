"""What a job prints: kept up to a cap, however much it is, without slowing a job that prints nothing.

A worker's standard output and error are one pipe. The runner empties it into memory that both share, so the text is
still there when the worker crashes, and a pipe that fills up never stops a job. A worker that finds both the pipe and
the memory empty knows in a microsecond that its job printed nothing.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import termios
import time

from bgjob import clock, seal

HALF = 32 * 1024  # the first and the last so many bytes of a job's output are kept
_TOTAL = struct.Struct("q")
_BUSY_AT = 8
_KEPT_AT = 16
_NO_BYTES = bytes(4)
_CHUNK = 65_536
_CHUNKS_A_TURN = 32
_COLLECT_SECONDS = 2.0


class Capture:
    """The pipe and the shared memory for the output of one worker."""

    def __init__(self) -> None:
        """Make the pipe and map the memory; before the fork."""
        self.reader, self.writer = os.pipe()
        self.has_ended = False
        os.set_blocking(self.reader, False)
        self._memory = mmap.mmap(-1, _KEPT_AT + 2 * HALF)
        self._waiting = bytearray(_NO_BYTES)  # a C int: how many bytes stand in the pipe

    def runner_side(self) -> None:
        """Runner, after the fork: let go of the worker's end, so that the pipe ends with the worker."""
        os.close(self.writer)

    def pump(self) -> None:
        """Runner: move what stands in the pipe to the memory; a bounded part of it, so that nobody else waits."""
        for _ in range(_CHUNKS_A_TURN):
            self._memory[_BUSY_AT] = 1  # before the read: a worker that sees an empty pipe also sees this
            try:
                chunk = os.read(self.reader, _CHUNK)
                self.has_ended = not chunk  # the job closed every end of it; there will be no more
            except OSError:
                chunk = b""
            self._keep(chunk)
            self._memory[_BUSY_AT] = 0
            if not chunk:
                return

    def _keep(self, chunk: bytes) -> None:
        total = self._total
        head = chunk[: max(HALF - total, 0)]
        if head:
            self._memory[_KEPT_AT + total : _KEPT_AT + total + len(head)] = head
        tail = chunk[len(head) :][-HALF:]
        if tail:
            # The tail is a ring: byte number n of the output stands at n modulo HALF.
            at = (total + len(chunk) - len(tail)) % HALF
            first = tail[: HALF - at]
            ring = _KEPT_AT + HALF
            self._memory[ring + at : ring + at + len(first)] = first
            self._memory[ring : ring + len(tail) - len(first)] = tail[len(first) :]
        _TOTAL.pack_into(self._memory, 0, total + len(chunk))

    @property
    def _total(self) -> int:
        total: int = _TOTAL.unpack_from(self._memory, 0)[0]
        return total

    def kept(self) -> str:
        """Return what is kept as text, with a note where something was left out."""
        total = self._total
        head = self._memory[_KEPT_AT : _KEPT_AT + min(total, HALF)]
        length = min(max(total - HALF, 0), HALF)
        ring = self._memory[_KEPT_AT + HALF : _KEPT_AT + 2 * HALF]
        end = total % HALF
        tail = (ring[end:] + ring[:end] if length == HALF else ring[:length]) if length else b""
        left_out = total - len(head) - len(tail)
        note = f"\n[… {left_out:,} bytes left out …]\n".encode() if left_out else b""
        # NUL would end the text for many tools that read the database.
        return (head + note + tail).decode("utf-8", "replace").replace("\0", "\N{SYMBOL FOR NULL}")

    def empty(self) -> None:
        """Worker, between two jobs: forget what was kept."""
        if self._total:
            _TOTAL.pack_into(self._memory, 0, 0)

    def worker_side(self) -> None:
        """Worker, after the fork: make the pipe its standard output and error, and nothing its standard input."""
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(self.writer, 1)
        os.dup2(self.writer, 2)
        os.close(nothing)
        seal.put_on(0)
        seal.put_on(1, seal.PLAIN)

    def collect(self) -> str:
        """Worker, after a job: return its output, waiting briefly until the runner has moved the last of it."""
        deadline = None
        while self._waiting_in_pipe() or self._memory[_BUSY_AT]:
            deadline = deadline or clock.monotonic() + _COLLECT_SECONDS
            if clock.monotonic() > deadline:
                break
            time.sleep(0.0002)
        return self.kept() if self._total else ""

    def _waiting_in_pipe(self) -> bool:
        try:
            fcntl.ioctl(self.writer, termios.FIONREAD, self._waiting)
        except OSError:  # the job closed it
            return False
        return self._waiting != _NO_BYTES

    def close(self) -> None:
        """Runner: let go of everything."""
        os.close(self.reader)
        self._memory.close()
