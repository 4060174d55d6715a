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
    from bgjob.job_log import logger
    from bgjob.lookup import get_job, jobs
    from bgjob.reporting import CurrentJob, current_job, set_progress
    from bgjob.typed import QueueJob, queue_job
    from bgjob.views.jobs import Attempt, Job, Progress

__all__ = [
    "Attempt",
    "BgjobError",
    "ConfigError",
    "CurrentJob",
    "DatabaseBusyError",
    "ForeignDatabaseError",
    "GiveUp",
    "InvalidJobError",
    "InvalidParamsError",
    "Job",
    "JobTimeout",
    "LockError",
    "NotApprovedError",
    "Progress",
    "QueueJob",
    "RetryLater",
    "StoreError",
    "__version__",
    "current_job",
    "get_job",
    "jobs",
    "logger",
    "queue_job",
    "run_background_job",
    "run_background_jobs",
    "set_progress",
]


def __getattr__(name: str) -> object:
    # Loaded on first use: the idle tick imports this package, too, and needs none of it.
    home: object
    if name in ("run_background_job", "run_background_jobs"):
        from bgjob import enqueue as home
    elif name in ("QueueJob", "queue_job"):
        from bgjob import typed as home
    elif name in ("get_job", "jobs"):
        from bgjob import lookup as home
    elif name in ("CurrentJob", "current_job", "set_progress"):
        from bgjob import reporting as home
    elif name == "logger":
        from bgjob import job_log as home
    elif name in ("Attempt", "Job", "Progress"):
        from bgjob.views import jobs as home
    elif name in __all__:
        from bgjob import errors as home
    else:
        message = f"module 'bgjob' has no attribute {name!r}"
        raise AttributeError(message)
    # Kept, for what is called in a loop must not be looked for each time.
    found = globals()[name] = getattr(home, name)
    return found
