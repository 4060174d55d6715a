"""The few bytes of memory that a worker shares with its runner: which job it is on, since when, and what came of it.

No job data travels here; the database is the queue.
"""

from __future__ import annotations

import mmap
import struct

from bgjob import board, tally
from bgjob.board import Board
from bgjob.tally import Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

STARTING, BUSY, IDLE, SETTLING = range(4)

# Why a worker ended by itself. Said here, for jobs can end their process with any exit code.
ENDED, BOOT_FAILED, STORE_FAILED, FILES_CLOSED = range(4)

_JOB = struct.Struct("qdd")
_STATE_AT = _JOB.size
_STOP_AT = _STATE_AT + 1
_MUTE_AT = _STATE_AT + 2
_ENDING_AT = _STATE_AT + 3
_BOARD_AT = _STATE_AT + 8
_TALLY_AT = _BOARD_AT + -(-board.SIZE // 8) * 8


class Slot:
    """Shared memory of one worker and its runner, made before the fork."""

    def __init__(self, classes: Collection[str] = ()) -> None:
        """Map the memory; all fields are zero, so the state is STARTING. `classes`: those that are tallied apart."""
        size = tally.size(len(classes)) * 8
        self._memory = mmap.mmap(-1, _TALLY_AT + size)
        self._numbers = memoryview(self._memory)[_TALLY_AT:].cast("d")
        self.board = Board(memoryview(self._memory)[_BOARD_AT:_TALLY_AT])
        self.tally = Tally(classes, self._numbers)

    def begin(self, job_id: int, since: float, kill_at: float) -> None:
        """Worker: note the job it starts, the monotonic instant, and the one after which the runner shall kill it."""
        self._memory[_STATE_AT] = BUSY
        _JOB.pack_into(self._memory, 0, job_id, since, kill_at)

    def note(self, job_id: int, since: float, kill_at: float) -> None:
        """Worker: note these without being on a job (0) yet: `boot` must not take for ever either."""
        _JOB.pack_into(self._memory, 0, job_id, since, kill_at)

    def settle(self, job_id: int, since: float, kill_at: float) -> None:
        """Worker: note that the job's own code has ended, and that its end is being written."""
        _JOB.pack_into(self._memory, 0, job_id, since, kill_at)
        self._memory[_STATE_AT] = SETTLING

    def finish(self) -> None:
        """Worker: note that it is on no job any more."""
        _JOB.pack_into(self._memory, 0, 0, 0.0, 0.0)

    def current(self) -> tuple[int, float, float]:
        """Return the job's id (0: none), and the monotonic instants of its start and of its kill (0: never)."""
        job_id, since, kill_at = _JOB.unpack_from(self._memory)
        return job_id, since, kill_at

    @property
    def is_in_boot(self) -> bool:
        """Whether the worker is still importing `boot`: it has a time to be killed at, and no job yet."""
        job_id, _, kill_at = self.current()
        return not job_id and kill_at > 0

    @property
    def state(self) -> int:
        """STARTING until the worker claims, then BUSY, then SETTLING; IDLE while a lingering one waits to be woken."""
        return self._memory[_STATE_AT]

    @state.setter
    def state(self, state: int) -> None:
        self._memory[_STATE_AT] = state

    def ask_to_stop(self) -> None:
        """Runner: ask the worker to finish its job and claim no more."""
        self._memory[_STOP_AT] = 1

    @property
    def must_stop(self) -> bool:
        """Whether the runner asked the worker to stop."""
        return self._memory[_STOP_AT] != 0

    @property
    def ending(self) -> int:
        """Why the worker ended by itself: BOOT_FAILED, STORE_FAILED or FILES_CLOSED; else ENDED."""
        return self._memory[_ENDING_AT]

    @ending.setter
    def ending(self, ending: int) -> None:
        self._memory[_ENDING_AT] = ending

    def note_mute_logs(self) -> None:
        """Worker: note that a line could not be logged."""
        self._memory[_MUTE_AT] = 1

    @property
    def has_mute_logs(self) -> bool:
        """Runner: whether the worker could not log a line."""
        return self._memory[_MUTE_AT] != 0

    def close(self) -> None:
        """Unmap the memory."""
        self._numbers.release()
        self.board.close()
        self._memory.close()
