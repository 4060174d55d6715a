"""The queue lock (`<db>.lock`): it belongs to one runner at a time."""

from __future__ import annotations

from filelock import FileLock, Timeout

from bgjob.life import unusable


class QueueLock:
    """The lock that makes one runner at a time; kept in a variable for as long as it shall be held."""

    def __init__(self, path: str) -> None:
        """Prepare the lock at `path`; nothing is opened yet."""
        self.path = path
        # Never unlinked: two runners would lock two files of one name. Never a soft lock: it outlives its holder.
        self._lock = FileLock(path, thread_local=False, fallback_to_soft=False, preserve_lock_file=True)

    def take(self) -> bool:
        """Take the lock if it is free; return whether we hold it. Raises LockError if the file can't be used."""
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        except (OSError, RuntimeError, NotImplementedError) as error:
            raise unusable(self.path, error) from error
        return True

    def give_back(self) -> None:
        """Let another runner have the queue; the file stays."""
        self._lock.release()
