"""How a command of `bgjob` ends: its exit codes, and which error leads to which."""

from __future__ import annotations

from bgjob.errors import BgjobError, ConfigError, LockError, StoreError
from bgjob.moments import WrongTimeError

FINE = 0
NO_MATCH = 1
WRONG_USAGE = 2
STORE_UNUSABLE = 69
OUR_BUG = 70
CONFIG_WRONG = 78
INTERRUPTED = 130


class WrongUsageError(BgjobError):
    """What was typed can't be meant so, though each option is known: the command ends with 2."""


class NoMatchError(BgjobError):
    """There is no such job, or nothing matches: the command ends with 1."""


def exit_code(error: BgjobError) -> int:
    """Return the exit code of a command that ended with `error`."""
    match error:
        case ConfigError():
            return CONFIG_WRONG
        case StoreError() | LockError():
            return STORE_UNUSABLE
        case WrongUsageError() | WrongTimeError():
            return WRONG_USAGE
        case _:
            return NO_MATCH
