"""A fake in the place of the database: jobs are checked as ever and then only recorded, for the test to look at."""

from __future__ import annotations

import datetime as dt
import functools
import threading

from bgjob import approval, enqueue, in_force, typed
from bgjob.testing.recorded import Expected, Recorded, recorded, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import EllipsisType, TracebackType
    from typing import Any, Self, TypeVar

    from bgjob.store.intake import NewJob

    Function = TypeVar("Function", bound=Callable[..., Any])

_in_force: list[Fake] = []  # the innermost one last; it alone records
_lock = threading.RLock()


def fake() -> Fake:
    """Return a fake: a context manager, which gives itself, and a decorator of functions, also async ones.

    While it is in force nothing is written: whatever the process queues, in any thread and through any door, is checked
    as ever (approval, params, priority, delay), gets an id counted from 1, and is recorded. Of fakes within fakes the
    innermost records alone. With `connection=` a job is recorded at once, whatever becomes of the transaction.
    """
    return Fake()


class Fake:
    """What was queued while it was in force; it can be asked afterwards, too."""

    def __init__(self) -> None:
        """Have recorded nothing yet."""
        self.jobs: list[Recorded] = []

    def __enter__(self) -> Self:
        """Take what is queued from now on; what an earlier use has recorded is forgotten."""
        with _lock:
            if self in _in_force:
                raise RuntimeError("this fake is in force already; make another one with bgjob.testing.fake()")
            self.jobs = []
            _in_force.append(self)
            enqueue.recorder = self._record
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        """Let jobs go where they went before."""
        with _lock:
            _in_force.remove(self)
            enqueue.recorder = _in_force[-1]._record if _in_force else None  # noqa: SLF001  # another of our own kind

    def __call__(self, function: Function) -> Function:
        """Return `function` so that each call of it has a fake of its own, for the assertions of this module."""
        if isinstance(function, type):
            raise TypeError(
                f"a fake decorates functions, not the class {function.__name__}; in a unittest.TestCase, "
                "let setUp say self.enterContext(bgjob.testing.fake())"
            )
        import inspect  # noqa: PLC0415  # 10 ms; a context manager needs none

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"a fake decorates functions, not the generator {function.__name__}, whose body runs after the call; "
                "let it say `with bgjob.testing.fake():`"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapped(*args: object, **kwargs: object) -> object:
                with fake():
                    return await function(*args, **kwargs)
        else:

            @functools.wraps(function)
            def wrapped(*args: object, **kwargs: object) -> object:
                with fake():
                    return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]  # of the same signature

    def _record(self, jobs: list[NewJob]) -> int:
        with _lock:
            self.jobs += map(recorded, jobs)
            return len(self.jobs)

    def assert_queued(
        self,
        job: type | str | Callable[..., object],
        method: str | None = None,
        params: object | EllipsisType | Callable[[Any], object] = ...,
        *,
        priority: int | None = None,
        delay: float | dt.timedelta | str | None = None,
        times: int | None = None,
    ) -> list[Recorded]:
        """Return the jobs that match what is asked for, at least one, or exactly so many `times`; else AssertionError.

        `job`: an approved class, its dotted name, or a method of it, such as ReportJob.build. What is left out may be
        anything. `params`: all of them, exactly, as a dict, a list or None for none; or a function that is given
        those of a job and tells whether they are right. `delay`: seconds, a timedelta, or a duration such as "5m".

        Raises NotApprovedError for a class or method that could not be queued, so that a slip in its name shows.
        """
        __tracebackhide__ = True
        expected = _expected(job, method, params, priority, delay)
        found = self._matching(expected)
        if times is None and not found:
            raise AssertionError(f"This was not queued:\n  {expected}\n{told(self.jobs, expected)}")
        if times is not None and len(found) != times:
            raise AssertionError(
                f"This was queued {_times(len(found))}, not {_times(times)}:\n  {expected}\n"
                f"{told(self.jobs, None if found else expected)}"
            )
        return found

    def assert_not_queued(
        self,
        job: type | str | Callable[..., object],
        method: str | None = None,
        params: object | EllipsisType | Callable[[Any], object] = ...,
        *,
        priority: int | None = None,
        delay: float | dt.timedelta | str | None = None,
    ) -> None:
        """Raise AssertionError if a job matches what is asked for, as `assert_queued` understands it."""
        __tracebackhide__ = True
        expected = _expected(job, method, params, priority, delay)
        found = self._matching(expected)
        if found:
            raise AssertionError(f"This was queued, {_times(len(found))}:\n  {expected}\n{told(self.jobs)}")

    def assert_nothing_queued(self) -> None:
        """Raise AssertionError if any job was queued."""
        __tracebackhide__ = True
        if self.jobs:
            raise AssertionError(f"Nothing was to be queued.\n{told(self.jobs)}")

    def _matching(self, expected: Expected) -> list[Recorded]:
        return [job for job in list(self.jobs) if not expected.differences(job)]


def _expected(job: object, method: object, params: object, priority: int | None, delay: object) -> Expected:
    settings = in_force.configs.current()
    job_class = job
    if callable(job) and not issubclass(type(job), type):
        if method is not None:
            raise TypeError(f"the job names a method already: leave out {method!a:.40}")
        job_class, method, _ = typed.named(job)
    if method is None:
        name = approval.approved_name(settings, job_class)
        if name not in settings.classes:
            approval.approve(settings, name, method)  # says what was probably meant
    else:
        name, method = approval.approved(settings, job_class, method)
    if isinstance(delay, str):
        delay = typed.seconds(delay)
    if delay is not None and not isinstance(delay, dt.timedelta):
        delay = dt.timedelta(seconds=delay)  # type: ignore[arg-type]  # a number, or TypeError says so
    return Expected(name, method, params, priority, delay)


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _innermost() -> Fake:
    if not _in_force:
        raise RuntimeError("no fake is in force; use `with bgjob.testing.fake():` or decorate the test with it")
    return _in_force[-1]


def assert_queued(
    job: type | str | Callable[..., object],
    method: str | None = None,
    params: object | EllipsisType | Callable[[Any], object] = ...,
    *,
    priority: int | None = None,
    delay: float | dt.timedelta | str | None = None,
    times: int | None = None,
) -> list[Recorded]:
    """Do what `Fake.assert_queued` does, with the fake that is in force."""
    __tracebackhide__ = True
    return _innermost().assert_queued(job, method, params, priority=priority, delay=delay, times=times)


def assert_not_queued(
    job: type | str | Callable[..., object],
    method: str | None = None,
    params: object | EllipsisType | Callable[[Any], object] = ...,
    *,
    priority: int | None = None,
    delay: float | dt.timedelta | str | None = None,
) -> None:
    """Do what `Fake.assert_not_queued` does, with the fake that is in force."""
    __tracebackhide__ = True
    _innermost().assert_not_queued(job, method, params, priority=priority, delay=delay)


def assert_nothing_queued() -> None:
    """Do what `Fake.assert_nothing_queued` does, with the fake that is in force."""
    __tracebackhide__ = True
    _innermost().assert_nothing_queued()
