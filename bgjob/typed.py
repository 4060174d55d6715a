"""The typed door for apps: `queue_job(ReportJob.build, month="2026-11")`, which type checkers hold to the method."""

from __future__ import annotations

import datetime as dt
import sys
import types

from bgjob import clock, enqueue, in_force, signature
from bgjob.config_texts import parse_duration
from bgjob.errors import InvalidJobError, InvalidParamsError, NotApprovedError
from bgjob.views.jobs import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Concatenate, ParamSpec, overload

    from bgjob.store.intake import NewJob

    P = ParamSpec("P")
else:

    def overload(function):  # noqa: ANN001, ANN201, D103  # typing would cost each fresh process that queues 8 ms
        return function


class QueueJob:
    """What `bgjob.queue_job` is: call it with a method and its params to queue a job."""

    __slots__ = ("_at", "_connection", "_delay", "_priority")

    def __init__(
        self,
        priority: int = 0,
        delay: float | dt.timedelta = 0,
        at: dt.datetime | None = None,
        connection: object = None,
    ) -> None:
        """Take the options as they were checked; `with_options` is for users."""
        self._priority = priority
        self._delay = delay
        self._at = at
        self._connection = connection

    # In this order pyright's message of a wrong call speaks of the method as it is called, without self.
    @overload
    def __call__(self, method: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> Job: ...  # noqa: D102

    @overload
    def __call__(  # noqa: D102, F811
        self, method: Callable[Concatenate[Any, P], object], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job: ...

    def __call__(self, method: Callable[..., object], /, *args: Any, **kwargs: Any) -> Job:  # noqa: ANN401, F811
        """Queue a job that calls `method` with these params, and return it: its row is then committed.

        `method` is a method of an approved class, as it is written in code: `ReportJob.build` (plain, static or class
        method), or `ReportJob().build`, of which only the class counts; `Child().build` for a method that Child
        inherits. The params are JSON values. Priority, delay and time are given by `with_options`.

        Raises InvalidJobError for what is no method of a class that a runner could find, and otherwise what
        `run_background_job` raises; all are BgjobError, and then no row was written.
        """
        job_class, name, member = named(method)
        params = _params(member, args, kwargs)
        settings = in_force.configs.current()
        now = clock.now()
        delay = self._delay if self._at is None else max((self._at - now).total_seconds(), 0)
        try:
            job = enqueue.checked(settings, now, job_class, name, params, self._priority, delay)
        except NotApprovedError as error:
            if type(method) is types.FunctionType:
                error.args = (f"{error}. {_INHERITED.format(name)}",)
            raise
        job_id = enqueue.queue_checked(settings, [job], now, lent=self._connection)
        return _queued(job, job_id or 0, now, settings.database)  # one that comes alone has an id

    def __repr__(self) -> str:
        when = f"delay={self._delay!r}" if self._at is None else f"at={self._at!r}"
        return f"queue_job.with_options(priority={self._priority}, {when})"

    def with_options(
        self,
        *,
        priority: int | None = None,
        delay: float | dt.timedelta | str | None = None,
        at: dt.datetime | None = None,
        connection: object = None,
    ) -> QueueJob:
        """Return another `queue_job` that queues with these options; it may be kept and called many times.

        `priority`: a whole number of 64 bits with sign, higher runs first. `delay`: seconds, a timedelta, or a duration
        such as "90s", "5m" or "2h". `at`: an aware datetime before which the job is not due; one that is past means at
        once. `delay` and `at` take each other's place. `connection`: your own, as `run_background_job` takes it. An
        option that is left out stays as it is.

        They stand apart from the call, so that a job's own params may have any name.

        Raises InvalidJobError for what none of them can be.
        """
        if delay is not None and at is not None:
            raise InvalidJobError("delay and at contradict each other; leave one of them out")
        if isinstance(at, dt.datetime):
            if at.utcoffset() is None:
                raise InvalidJobError(
                    f"at has no time zone, so it could be any of many instants: {at.isoformat()[:40]}; make it aware, "
                    "such as at.astimezone() for local time, or datetime(…, tzinfo=timezone.utc)"
                )
        elif at is not None:
            raise InvalidJobError(f"at must be an aware datetime, not {type(at).__name__}")
        if delay is None and at is None:
            delay, at = self._delay, self._at
        wait = 0 if delay is None else seconds(delay) if isinstance(delay, str) else delay
        priority = self._priority if priority is None else priority
        enqueue.check_options(priority, wait)
        return QueueJob(priority, wait, at, self._connection if connection is None else connection)


def _queued(job: NewJob, job_id: int, now: dt.datetime, database: str) -> Job:
    due = job["available_at"]
    return Job(
        id=job_id,
        job_class=job["job_class"],
        method=job["method"],
        params_json=job["params"],
        status="pending",
        priority=job["priority"],
        retry_count=0,
        crash_count=0,
        available_at=clock.from_text(due) if due else None,
        created_at=now,
        updated_at=now,
        started_at=None,
        finished_at=None,
        error=None,
        database=database,
    )


_INHERITED = "A method that a class inherits is named by an instance of that class: queue_job(ReportJob().{}, …)"


def seconds(text: str) -> float:
    """Return the seconds of a delay that is given as a duration; raises InvalidJobError for what is none."""
    try:
        return parse_duration(text)
    except ValueError:
        raise InvalidJobError(
            f"delay {text[:40]!a} is no duration; write seconds, or a number with ms, s, m, h or d, such as 5m"
        ) from None


def named(method: object) -> tuple[type, str, object]:
    """Return the class, the name and what stands there, of which the method that was handed over is one form."""
    function = method.__func__ if type(method) is types.MethodType else method
    if type(function) is not types.FunctionType:
        raise InvalidJobError(
            f"queue_job takes a method of a class, such as ReportJob.build, not {type(method).__name__}"
        )
    if type(method) is types.MethodType:
        owner = method.__self__
        job_class: type = owner if issubclass(type(owner), type) else type(owner)  # type: ignore[assignment]  # as seen
    else:
        job_class = _class_of(function)
    name = function.__name__
    member = signature.member_of(job_class, name)
    if (member.__func__ if type(member) in (staticmethod, classmethod) else member) is not function:
        raise InvalidJobError(
            f"{_shown(function)} is not what its class has under that name, so a runner would call another function; "
            "a decorator keeps names by functools.wraps"
        )
    return job_class, name, member


def _class_of(function: types.FunctionType) -> type:
    """Return the class in whose body the function was defined."""
    owner = function.__qualname__.rpartition(".")[0]
    found: Any = getattr(sys.modules.get(function.__module__), "__dict__", {}).get(owner)
    if issubclass(type(found), type):
        return found  # type: ignore[no-any-return]  # a class, as just seen
    if "<locals>" in owner:
        what = "was made inside a function (a decorator without functools.wraps does so, too)"
    elif not owner:
        what = "is no method of a class"
    elif "." in owner:
        what = "stands in a class within a class"
    else:
        what = f"belongs to no class {owner} of the module {function.__module__} as it is loaded"
    raise InvalidJobError(
        f"{_shown(function)} {what}; a job is a method of an approved class that stands at the top of a module"
    )


def _shown(function: types.FunctionType) -> str:
    return f"{function.__module__}.{function.__qualname__}"[:200]


def _params(member: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401  # JSON values
    """Return the params of a job: by place, by name, or those by place under their names, where there are both."""
    if not (args and kwargs):
        return kwargs or args or None
    is_static = type(member) is staticmethod
    code = (member.__func__ if is_static or type(member) is classmethod else member).__code__
    names = code.co_varnames[not is_static : code.co_argcount]
    if len(args) > len(names) or code.co_posonlyargcount > (not is_static):
        raise InvalidParamsError(
            "params are kept all by place or all by name, and these can't be; hand them over in one of the two ways"
        )
    named = dict(zip(names, args, strict=False))
    doubled = named.keys() & kwargs.keys()
    if doubled:
        raise InvalidParamsError(f"params name {', '.join(sorted(doubled))}, given by place already")
    return named | kwargs


queue_job = QueueJob()
