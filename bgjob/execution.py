"""User code runs here and nowhere else: from an approved row to the outcome of the attempt."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
import types

from bgjob import deadline, reporting, retry, signature
from bgjob import params as params_json
from bgjob.approval import approve
from bgjob.errors import GiveUp, JobTimeout, NotApprovedError, RetryLater, seconds_of
from bgjob.job import GAVE_UP, Postponed, Raised, Succeeded, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from bgjob.config import ClassRules, Config
    from bgjob.job import ClaimedJob

LONGEST_ERROR = 1_000
LONGEST_TRACEBACK = 16_000
_LONGEST_FRAMES = 60
_SUCCEEDED = Succeeded()
_NO_SPAN: contextlib.AbstractContextManager[object] = contextlib.nullcontext()


class NotRunnableError(Exception):
    """The approved name leads to something that can't be run as a job."""


def execute(
    config: Config, job: ClaimedJob, *, caught: list[BaseException] | None = None
) -> Succeeded | Postponed | Raised | TimedOut:
    """Run `job` if class and method are approved, and return what came of it; nothing the job raises gets out.

    A test's process has other uses for SIGALRM and wants the exception itself: with `caught` it is put there, and no
    time-out is armed.
    """
    try:
        rules = approve(config, job.job_class, job.method)
        args, kwargs = params_json.decode(job.params)
    except (NotApprovedError, params_json.UnreadableParamsError) as error:
        if caught is not None:
            caught.append(error)
        return Raised(error=str(error), traceback="", final=True)
    reporting.running = job, rules
    job_class, span = None, _NO_SPAN
    if job.context is not None or "opentelemetry.trace" in sys.modules:
        from bgjob import tracing  # noqa: PLC0415  # only where a job or the app brings OpenTelemetry

        span = tracing.running(job)
    try:
        if caught is None:
            deadline.start(rules.timeout)
        try:
            with span:
                job_class = find_class(job.job_class)
                _run(bound_method(job_class, job.method), args, kwargs)
        finally:
            if caught is None:
                deadline.stop()
    except BaseException as error:  # noqa: BLE001  # the edge of user code: SystemExit and KeyboardInterrupt are the job's, too
        if caught is not None:
            caught.append(error)
        return _outcome_of(error, rules, job_class)
    finally:
        reporting.running = None
    return _SUCCEEDED


def find_class(name: str) -> type:
    """Import the class with an approved dotted name; raises what its module raises, or NotRunnableError.

    The name is split at its last dot only: a module and a class in it, never a path through attributes.
    """
    module_name, _, class_name = name.rpartition(".")
    # As the import system does it, which takes longer to find what is there.
    module = sys.modules.get(module_name)
    if module is None or getattr(getattr(module, "__spec__", None), "_initializing", False):
        module = importlib.import_module(module_name)
    try:
        job_class: type = getattr(module, class_name)
    except AttributeError:
        message = f"module {module_name} has no class {class_name}"
        raise NotRunnableError(message) from None
    if not issubclass(type(job_class), type):  # isinstance would ask the object itself
        message = f"{name} is not a class but {type(job_class).__name__}"
        raise NotRunnableError(message)
    return job_class


def bound_method(job_class: type, method: str) -> Callable[..., Any]:
    """Return the approved method, bound to a new instance; static and class methods need none."""
    found = check_method(job_class, method)
    instance = None if isinstance(found, (staticmethod, classmethod)) else job_class()
    # Bound by hand: what an instance or a metaclass puts in the place of the method is not the approved method.
    return found.__get__(instance, job_class)


def check_method(
    job_class: type, method: str
) -> types.FunctionType | staticmethod[..., Any] | classmethod[Any, ..., Any]:
    """Return the plain public function of the class, its own or inherited, or raise NotRunnableError.

    Looked up without running any code of the class: a property or a descriptor of the user's is not asked.
    """
    if method.startswith("_"):
        message = f"{retry.name_of(job_class)}.{method} is private"
        raise NotRunnableError(message)
    found = signature.member_of(job_class, method, _NOTHING)
    if found is _NOTHING:
        message = f"{retry.name_of(job_class)} has no method {method}"
        raise NotRunnableError(message)
    function = found.__func__ if type(found) in (staticmethod, classmethod) else found
    if type(function) is not types.FunctionType:
        message = f"{retry.name_of(job_class)}.{method} is not a plain method but {type(found).__name__}"
        raise NotRunnableError(message)
    return found  # type: ignore[no-any-return]  # one of the three kinds, as just checked


_NOTHING = object()


def _run(method: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> None:
    result = method(*args, **kwargs)
    kind = type(result)
    if hasattr(kind, "__await__"):
        import asyncio  # noqa: PLC0415  # 40 ms that only async jobs pay

        kind = type(asyncio.run(_waited_for(result)))
    if kind in (types.GeneratorType, types.AsyncGeneratorType):
        message = "the method is a generator: calling it ran none of its code. Use a plain or an async method"
        raise NotRunnableError(message)


async def _waited_for(result: Awaitable[object]) -> object:
    return await result


def _outcome_of(error: BaseException, rules: ClassRules, job_class: type | None) -> Postponed | Raised | TimedOut:
    """Return what an exception of the job's means; its type is asked, for the object may answer anything."""
    failure, kind = described(error), type(error)
    if issubclass(kind, JobTimeout) and deadline.has_fired():
        return TimedOut(failure.error, failure.traceback)
    try:
        if issubclass(kind, (GiveUp, RetryLater)):
            return _wish(error, failure)
        return _ruled(failure, kind, rules, job_class)
    except BaseException:  # noqa: BLE001  # a subclass or a module of the user's may have made anything of these
        return failure


def _ruled(failure: Raised, kind: type, rules: ClassRules, job_class: type | None) -> Raised:
    """Return the failure with what the rules of the config and of the class say of exceptions of that kind."""
    own: dict[str, list[type]] = {}
    told = failure.traceback
    for name in ("retry_on", "fail_on"):
        exceptions = _exceptions_in(() if job_class is None else signature.member_of(job_class, name, ()))
        if exceptions is None:
            told += f"bgjob: {name} of the class is ignored: it must be a tuple of exception classes\n"
        own[name] = exceptions or []
    verdict = retry.ruling(kind, rules, **own)
    return failure._replace(traceback=told, final=verdict is not None, verdict=verdict)


def _exceptions_in(value: object) -> list[type] | None:
    """Return the exception classes in an attribute of a class, or None if it holds anything else."""
    kinds: list[Any] = list(value) if isinstance(value, (tuple, list, set, frozenset)) else [value]
    if all(issubclass(type(kind), type) and BaseException in type.__dict__["__mro__"].__get__(kind) for kind in kinds):
        return kinds
    return None


def _wish(error: BaseException, failure: Raised) -> Postponed | Raised:
    """Return what a job asked for, by GiveUp or RetryLater."""
    if isinstance(error, RetryLater):
        reason = _cut(_clean(str(error.reason)), LONGEST_ERROR)
        seconds = seconds_of(error.delay)
        return Postponed(seconds, f"postponed for {seconds:g} s" + (f": {reason}" if reason else ""))
    reason = _cut(_clean(str(error).strip()), LONGEST_ERROR)
    told = failure.traceback if error.__cause__ is not None else ""
    return Raised(reason or "the job gave up", told, final=True, verdict=GAVE_UP)


def described(error: BaseException) -> Raised:
    """Return the texts of an exception, cut to a bearable length, whatever its own code does."""
    if type(error) is NotRunnableError:
        return Raised(error=str(error), traceback=_traceback(error))
    try:
        return Raised(error=_cut(_one_line(error), LONGEST_ERROR), traceback=_cut(_traceback(error), LONGEST_TRACEBACK))
    except BaseException:  # noqa: BLE001  # __str__ and the like of the user's exception are user code
        name = _clean(type.__dict__["__name__"].__get__(type(error)))
        # The frames at least: asked of BaseException itself, past all that the class has put in the way.
        frames = traceback.format_tb(BaseException.__dict__["__traceback__"].__get__(error), -_LONGEST_FRAMES)
        told = _cut(_clean("".join(frames)), LONGEST_TRACEBACK)
        return Raised(error=f"{name} (its text can't be read)", traceback=told)


def _one_line(error: BaseException) -> str:
    return _clean("".join(traceback.format_exception_only(error)).strip())


def _traceback(error: BaseException) -> str:
    frames = error.__traceback__
    # Our own frames tell the user nothing.
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in (__name__, "importlib"):
        frames = frames.tb_next
    report = traceback.TracebackException(type(error), error, frames, limit=-_LONGEST_FRAMES, compact=True)
    return _clean("".join(report.format()))


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"


def _clean(text: str) -> str:
    """Return `text` as the database can hold it: no lone surrogate, no NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def find_exception(name: str) -> None:
    """Import the exception with a dotted name that the config lists; raises NotRunnableError if there is none.

    For a check alone: a job's exception is known by its name, and nothing is imported for it.
    """
    import pkgutil  # noqa: PLC0415  # only a check needs it

    try:
        found = pkgutil.resolve_name(name)  # it may stand in a class, as Django's DoesNotExist does
    except AttributeError as error:
        raise NotRunnableError(str(error)) from None
    if _exceptions_in((found,)) is None:
        message = f"it is no exception but {type(found).__name__}"
        raise NotRunnableError(message)


def import_boot(config: Config) -> None:
    """Import the module named by `boot`, which sets the app up for its jobs."""
    if config.boot is not None:
        importlib.import_module(config.boot)


def open_the_way(root: str) -> None:
    """Put the folder above `config/` first on the path from which jobs are imported."""
    if sys.path[:1] != [root]:
        sys.path.insert(0, root)
