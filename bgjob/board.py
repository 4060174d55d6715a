"""How far a job says it is, in memory that its worker shares with the runner: still there after a kill.

Nobody waits for anybody: the runner reads while the job writes, and sees by a checksum that it came in between.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import NamedTuple

LONGEST_TEXT = 200  # characters
_MOST_BYTES = 4 * LONGEST_TEXT
_HEAD = struct.Struct("IH")  # the checksum and the length of the text
_TEXT_AT = 16
SIZE = _TEXT_AT + _HEAD.size + _MOST_BYTES
_LOOKS = 3


class Reached(NamedTuple):
    """How far a job is: a share from 0 to 1, a text, or both."""

    job_id: int
    fraction: float | None
    text: str | None


class Board:
    """The memory for one worker's job: its id (0: it has told nothing), the share (NaN: none), and the text."""

    __slots__ = ("_fraction", "_job_id", "_record", "_text")

    def __init__(self, memory: memoryview | None = None) -> None:
        """Use `memory`, SIZE bytes of zeros that others may see, or some of our own."""
        memory = memoryview(bytearray(SIZE)) if memory is None else memory
        self._job_id = memory[:8].cast("q")
        self._fraction = memory[8:_TEXT_AT].cast("d")
        self._record = memory[_TEXT_AT:SIZE]
        self._text: str | None = None  # as it was told last

    def note(self, job_id: int, fraction: float, text: str | None) -> None:
        """Worker: the job is so far. Called in loops: whatever is the same as before is not written again."""
        self._fraction[0] = fraction
        if text is not self._text:
            self._write(text)
        self._job_id[0] = job_id

    def _write(self, text: str | None) -> None:
        # NUL would end the text for many tools that read the database.
        kept = (text or "")[:LONGEST_TEXT].encode("utf-8", "replace").replace(b"\0", b"?")
        record = _HEAD.pack(zlib.crc32(kept), len(kept)) + kept
        self._record[: len(record)] = record
        self._text = text

    def read(self) -> Reached | None:
        """Return how far the job is; None if it has told nothing, or is just telling."""
        for _ in range(_LOOKS):
            job_id, fraction = self._job_id[0], self._fraction[0]
            if not job_id:
                return None
            checksum, length = _HEAD.unpack_from(self._record)
            text = bytes(self._record[_HEAD.size : _HEAD.size + length])
            if zlib.crc32(text) == checksum and self._job_id[0] == job_id:
                return Reached(job_id, None if math.isnan(fraction) else fraction, text.decode() or None)
        return None

    def take(self) -> Reached | None:
        """Worker, after the job: return how far it came, and forget that."""
        if not self._job_id[0]:
            return None
        reached = self.read()
        self._job_id[0] = 0
        self._write(None)
        return reached

    def close(self) -> None:
        """Let go of the memory."""
        for part in (self._job_id, self._fraction, self._record):
            part.release()
