"""Every error that bgjob raises: each says what happened, what was expected and how to mend it."""

from __future__ import annotations


class BgjobError(Exception):
    """The root of all errors of bgjob: catch this one to catch them all."""


class ConfigError(BgjobError):
    """The config file is missing or wrong; `problems` holds one line for each thing to mend."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems, one text each, in the order of the file."""
        super().__init__("\n".join(problems))
        self.problems = problems


class NotApprovedError(BgjobError):
    """The class or the method does not stand on the approved lists."""


class InvalidJobError(BgjobError, ValueError):
    """What was to be queued can't be a job: its class, method, priority or delay is of the wrong kind or size."""


class InvalidParamsError(InvalidJobError):
    """The params can't be kept as JSON and come back exactly as they went in, or they are too large."""


class StoreError(BgjobError):
    """The database can't be used."""


class DatabaseBusyError(StoreError):
    """Another process or an open transaction kept the database locked for longer than we wait."""


class ForeignDatabaseError(StoreError):
    """The file is no SQLite database, belongs to another program, or is newer than this code."""


class LockError(BgjobError):
    """The lock file or the life file can't be used."""


class JobTimeout(BaseException):  # the name users catch, as fixed in the design
    """Raised inside a job that has run longer than its `timeout`.

    No Exception, so that a job's own `except Exception` does not swallow it; its `finally` blocks run.
    """
