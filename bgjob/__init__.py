"""bgjob: background jobs for Python apps on one machine, with SQLite and one crontab line."""

from __future__ import annotations

from bgjob.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.enqueue import run_background_job, run_background_jobs
    from bgjob.errors import (
        BgjobError,
        ConfigError,
        DatabaseBusyError,
        ForeignDatabaseError,
        GiveUp,
        InvalidJobError,
        InvalidParamsError,
        JobTimeout,
        LockError,
        NotApprovedError,
        RetryLater,
        StoreError,
    )

__all__ = [
    "BgjobError",
    "ConfigError",
    "DatabaseBusyError",
    "ForeignDatabaseError",
    "GiveUp",
    "InvalidJobError",
    "InvalidParamsError",
    "JobTimeout",
    "LockError",
    "NotApprovedError",
    "RetryLater",
    "StoreError",
    "__version__",
    "run_background_job",
    "run_background_jobs",
]


def __getattr__(name: str) -> object:
    # Loaded on first use: the idle tick imports this package, too, and needs none of it.
    if name in ("run_background_job", "run_background_jobs"):
        from bgjob import enqueue

        return getattr(enqueue, name)
    if name in __all__:
        from bgjob import errors

        return getattr(errors, name)
    message = f"module 'bgjob' has no attribute {name!r}"
    raise AttributeError(message)
