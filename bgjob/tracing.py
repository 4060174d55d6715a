"""Spans of OpenTelemetry around queueing and running, tied together by a context that the row carries.

Names and attributes follow https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/, the context is the
`traceparent` of https://www.w3.org/TR/trace-context/. Whoever calls here has looked that the app uses OpenTelemetry, or
that the row has a context. Nothing that OpenTelemetry or an exporter of the app's raises reaches a job or its queueing.
"""

from __future__ import annotations

import contextlib
import sys

from bgjob import deadline, version
from bgjob.errors import JobTimeout, RetryLater

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any, Self

    from bgjob.job import ClaimedJob

USED = "opentelemetry.trace"  # in sys.modules where the app uses it
SECONDS_TO_FLUSH = 2.0

_TRACEPARENT = "traceparent"
_SEVERAL = "jobs"

_is_missing = False
_has_new_spans = False


def queue(jobs: Sequence[Any], write: Callable[[], int | None]) -> int | None:
    """Call `write`, which writes the rows of `jobs`; within a span if the caller is in one, and with its context."""
    from opentelemetry import trace  # noqa: PLC0415  # loaded by the app

    if not trace.get_current_span().get_span_context().is_valid:
        return write()
    names = {f"{job['job_class']}.{job['method']}" for job in jobs}
    attributes: dict[str, str | int] = {"messaging.batch.message_count": len(jobs)} if len(jobs) > 1 else {}
    with _Span("queue", names.pop() if len(names) == 1 else _SEVERAL, kind="PRODUCER", attributes=attributes) as span:
        context = span.context()
        if context is not None:
            for job in jobs:
                job["context"] = context
        job_id = write()
        if job_id is not None:
            span.note("messaging.message.id", str(job_id))
    return job_id


def running(job: ClaimedJob) -> contextlib.AbstractContextManager[object]:
    """Return a span around an attempt, which belongs to the trace of whoever queued the job."""
    if _is_not_installed():
        return contextlib.nullcontext()
    attributes: dict[str, str | int] = {"messaging.message.id": str(job.id), "bgjob.attempt": job.attempt}
    name = f"{job.job_class}.{job.method}"
    return _Span("run", name, kind="CONSUMER", attributes=attributes, creator=job.context)


def flush() -> None:
    """Let exporters send what they hold back, for a bounded time; for a worker, in its main thread and between jobs."""
    global _has_new_spans  # noqa: PLW0603  # of this process
    if not _has_new_spans:
        return
    _has_new_spans = False
    # Exporters don't keep to the time that they are given.
    deadline.start(SECONDS_TO_FLUSH)
    try:
        provider = sys.modules[USED].get_tracer_provider()
        if hasattr(provider, "force_flush"):  # the SDK's; the API has none
            provider.force_flush(int(SECONDS_TO_FLUSH * 1000))
    except (Exception, JobTimeout):  # noqa: BLE001, S110  # no job hangs on it
        pass
    finally:
        deadline.stop()


def _is_not_installed() -> bool:
    """Return whether a worker has no OpenTelemetry; asked once, for a search in vain takes a while."""
    global _is_missing  # noqa: PLW0603  # of this process
    if USED not in sys.modules and not _is_missing:
        try:
            import opentelemetry.trace  # noqa: F401, PLC0415  # 60 ms, and only jobs that were queued within a span need it
        except Exception:  # noqa: BLE001  # half of it may be installed
            _is_missing = True
    return _is_missing


class _Span:
    """A span around a `with` block."""

    def __init__(
        self, verb: str, what: str, *, kind: str, attributes: dict[str, str | int], creator: str | None = None
    ) -> None:
        self._name = f"{verb} {what}"
        self._kind = kind
        self._creator = creator
        self._attributes = {
            "messaging.system": "bgjob",
            "messaging.operation.name": verb,
            "messaging.operation.type": "send" if kind == "PRODUCER" else "process",
            "messaging.destination.name": what,
            **attributes,
        }
        self._span: Any = None
        self._token: Any = None

    def __enter__(self) -> Self:
        with contextlib.suppress(Exception):
            self._begin()
        return self

    def _begin(self) -> None:
        from opentelemetry import context, trace  # noqa: PLC0415  # loaded already
        from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415  # the same

        global _has_new_spans  # noqa: PLW0603  # of this process
        parent = None
        if self._creator is not None:
            carrier = {_TRACEPARENT: self._creator}  # anybody may have written the row; nonsense leads to a new trace
            parent = tracecontext.TraceContextTextMapPropagator().extract(carrier, context.Context())
        creator = trace.get_current_span(parent).get_span_context() if parent is not None else None
        self._span = trace.get_tracer("bgjob", version.__version__).start_span(
            self._name,
            context=parent,
            kind=trace.SpanKind[self._kind],
            attributes=self._attributes,
            links=[trace.Link(creator)] if creator is not None and creator.is_valid else [],
        )
        self._token = context.attach(trace.set_span_in_context(self._span, parent))
        _has_new_spans = True

    def context(self) -> str | None:
        """Return what the rows carry."""
        from opentelemetry import trace  # noqa: PLC0415  # loaded already
        from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415  # the same

        carrier: dict[str, str] = {}
        with contextlib.suppress(Exception):
            tracecontext.TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(self._span))
        return carrier.get(_TRACEPARENT)

    def note(self, name: str, value: str) -> None:
        """Add an attribute."""
        with contextlib.suppress(Exception):
            self._span.set_attribute(name, value)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._span is None:
            return
        try:
            if kind is not None and error is not None:
                self._note_error(kind, error)
        except BaseException:  # noqa: BLE001, S110  # the job's exception may answer anything when it is asked for its text
            pass
        with contextlib.suppress(Exception):
            from opentelemetry import context  # noqa: PLC0415  # loaded already

            context.detach(self._token)
        with contextlib.suppress(Exception):
            self._span.end()

    def _note_error(self, kind: type[BaseException], error: BaseException) -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415  # loaded already

        if issubclass(kind, RetryLater):
            self._span.set_attribute("bgjob.verdict", "postponed")
            return
        self._span.set_status(StatusCode.ERROR)
        self._span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")
        self._span.record_exception(error)
