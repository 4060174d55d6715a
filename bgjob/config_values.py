"""What a config says, as fixed values: the config, the rules of an approved class, and the delays between retries."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Self


class Value:
    """Named parts that never change; two values of the same parts are equal.

    Stands in for a frozen dataclass, whose import would cost every queueing process 13 ms.
    """

    __slots__: tuple[str, ...] = ()

    def __init__(self, **parts: object) -> None:
        """Take every part by its name; raises TypeError when one is missing or unknown."""
        if parts.keys() != set(self.__slots__):
            names = ", ".join(sorted(parts.keys() ^ set(self.__slots__)))
            raise TypeError(f"{type(self).__name__}: missing or unknown: {names}")
        for name, part in parts.items():
            object.__setattr__(self, name, part)

    def but(self, **parts: object) -> Self:
        """Return a copy in which some parts are others."""
        return type(self)(**({name: getattr(self, name) for name in self.__slots__} | parts))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} never changes; make a new one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} never changes; make a new one")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.__slots__)))

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({parts})"

    def __reduce__(self) -> tuple[object, ...]:
        # Copied and pickled whole: what usually does it would set part after part.
        return _made, (type(self), {name: getattr(self, name) for name in self.__slots__})


def _made(kind: type[Value], parts: dict[str, object]) -> Value:
    return kind(**parts)


class RetryDelay(Value):
    """How long a failed job waits before it is tried again: a list of delays, or delays that grow."""

    __slots__ = ("delays", "factor", "first", "maximum")
    delays: tuple[float, ...] | None  # seconds, at least one; None: they grow
    first: float  # seconds
    factor: float  # 1 to 100: each delay is so many times the one before
    maximum: float  # seconds

    def seconds(self, retry: int) -> float:
        """Return the delay in seconds before a retry, counted from 1, without jitter; finite for every integer."""
        before = max(retry, 1) - 1
        if self.delays is not None:
            return self.delays[min(before, len(self.delays) - 1)]
        if self.first == 0 or self.factor == 1:
            return min(self.first, self.maximum)
        try:
            return min(self.first * self.factor**before, self.maximum)
        except OverflowError:
            return self.maximum


class ClassRules(Value):
    """What holds for the jobs of one approved class."""

    __slots__ = (
        "fail_on",
        "fresh",
        "max_crashes",
        "max_memory",
        "max_postponements",
        "max_retries",
        "methods",
        "retry_delay",
        "retry_on",
        "timeout",
    )
    methods: frozenset[str]  # the approved ones, as written
    max_retries: int  # retries after the first attempt, whatever the reason
    retry_delay: RetryDelay
    retry_on: frozenset[str]  # exceptions, by dotted names; if there are any, no other one is tried again
    fail_on: frozenset[str]  # exceptions after which a job is not tried again
    max_crashes: int  # crashes before a job ends failed
    max_postponements: int  # by RetryLater, in a row, before one counts as a failed attempt
    timeout: float  # seconds until JobTimeout
    max_memory: int | None  # bytes of address space of the worker while such a job runs
    fresh: bool  # a fresh process for each job


class Config(Value):
    """All that one config file says, its paths absolute and its defaults filled in."""

    __slots__ = (
        "alarm_after",
        "boot",
        "classes",
        "content",
        "dashboard_password_hash",
        "database",
        "durability",
        "keep",
        "linger",
        "log_directory",
        "log_files",
        "log_max_size",
        "mask",
        "max_params_size",
        "methods",
        "metrics_file",
        "on_alarm",
        "on_failure",
        "path",
        "ping_url",
        "report_file",
        "root",
        "shutdown_grace",
        "timeout_grace",
        "warnings",
        "workers",
    )
    path: str  # of the file, absolute
    content: bytes  # of the file, exactly
    root: str  # the folder above the folder of the file, where relative paths start
    warnings: tuple[str, ...]  # what is allowed but unwise, one line each
    classes: dict[str, ClassRules]  # approved class as written -> its rules, in the order of the file
    timeout_grace: float  # seconds from JobTimeout to SIGKILL
    shutdown_grace: float  # seconds that running jobs may go on after SIGTERM
    workers: int  # jobs running at once, over all runners of the database
    linger: float  # seconds that a runner stays after the drain
    keep: dict[str, float]  # finished status -> seconds until its rows are pruned
    methods: frozenset[str]  # approved for every class that brings no list of its own
    boot: str | None  # module that each fresh worker imports before its first job
    database: str  # absolute; may lead through symbolic links
    durability: str  # "full" or "normal"
    max_params_size: int  # bytes of one job's JSON
    log_directory: str  # absolute
    log_max_size: int  # bytes of one file
    log_files: int  # files of one log, the current one among them
    alarm_after: float  # seconds that due jobs may wait, or no tick may come
    on_alarm: str | None  # approved class, a job of which is queued with each alarm
    on_failure: str | None  # approved class, a job of which is queued when another job has failed for good
    metrics_file: str | None  # absolute; where figures for Prometheus are kept
    ping_url: str | None  # told by each tick how it went
    mask: tuple[str, ...]  # patterns of names of params whose values no page shows
    report_file: str | None  # absolute; a page that each tick writes
    dashboard_password_hash: str | None  # as `bgjob dashboard --hash-password` prints it
