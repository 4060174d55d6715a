"""A job that a fake recorded, what a test expects of one, and how the two differ."""

from __future__ import annotations

import datetime as dt
import json
from typing import NamedTuple

from bgjob import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import EllipsisType
    from typing import Any

    from bgjob.store.intake import NewJob

_MOST_LISTED = 30
_LONGEST_VALUE = 300


class Recorded(NamedTuple):
    """A job that was queued while a fake was in force."""

    job_class: str  # the approved dotted name
    method: str
    params: Any  # as the job would get them: a dict (keyword arguments), a list (positional ones) or None
    priority: int
    delay: dt.timedelta  # zero: at once

    def __str__(self) -> str:
        parts = [f"{self.job_class}.{self.method}", f"params={_shown(self.params)}"]
        if self.priority:
            parts.append(f"priority={self.priority}")
        if self.delay:
            parts.append(f"delay={_seconds(self.delay)}")
        return "  ".join(parts)


def recorded(job: NewJob) -> Recorded:
    """Return a job that was about to be written."""
    due = job["available_at"]
    delay = clock.from_text(due) - clock.from_text(job["created_at"]) if due else dt.timedelta(0)
    params = None if job["params"] is None else json.loads(job["params"])
    return Recorded(job["job_class"], job["method"], params, job["priority"], delay)


class Expected(NamedTuple):
    """What a test asks for; None (of the params `...`) stands for anything."""

    job_class: str
    method: str | None
    params: object | EllipsisType | Callable[[Any], object]
    priority: int | None
    delay: dt.timedelta | None

    def __str__(self) -> str:
        parts = [f"{self.job_class}.{self.method}" if self.method else self.job_class]
        if self.params is not ...:
            parts.append(f"params={_shown(self.params)}")
        if self.priority is not None:
            parts.append(f"priority={self.priority}")
        if self.delay is not None:
            parts.append(f"delay={_seconds(self.delay)}")
        return "  ".join(parts)

    def differences(self, job: Recorded) -> list[str]:
        """Return in what `job` is not what is asked for, one line each; none if it matches."""
        return list(self._differences(job))

    def _differences(self, job: Recorded) -> Iterator[str]:
        is_other = job.job_class != self.job_class
        if is_other:
            yield f"the class is {job.job_class}, not {self.job_class}"
        if self.method is not None and job.method != self.method:
            is_other = True
            yield f"the method is {job.method}, not {self.method}"
        if callable(self.params):
            # It was made for the params of this method: those of another could be an error in it.
            if not is_other and not self.params(job.params):
                yield f"{_shown(self.params)} is not true of the params"
        elif self.params is not ...:
            yield from _differing(job.params, self.params)
        if self.priority is not None and job.priority != self.priority:
            yield f"priority is {job.priority}, not {self.priority}"
        if self.delay is not None and job.delay != self.delay:
            yield f"delay is {_seconds(job.delay)}, not {_seconds(self.delay)}"


def told(jobs: list[Recorded], expected: Expected | None = None) -> str:
    """Return lines about what was queued; below the closest job, in what it is not what was `expected`."""
    if not jobs:
        return "Nothing was queued."
    closest = -1
    if expected is not None:
        closest = min(range(len(jobs)), key=lambda place: _distance(jobs[place], expected))
    lines = ["What was queued:"]
    for place, job in enumerate(jobs):
        if place < _MOST_LISTED or place == closest:
            lines.append(f"  {place + 1}. {job}")
        if place == closest and expected is not None:
            lines += [f"       {difference}" for difference in expected.differences(job)]
    left_out = len(jobs) - _MOST_LISTED - (closest >= _MOST_LISTED)
    if left_out > 0:
        lines.append(f"  and {left_out} more")
    return "\n".join(lines)


def _distance(job: Recorded, expected: Expected) -> tuple[bool, bool, int]:
    other_method = expected.method is not None and job.method != expected.method
    return job.job_class != expected.job_class, other_method, len(expected.differences(job))


def _differing(params: Any, expected: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    expected = _as_json_has_it(expected)
    if params == expected or not (params or expected):
        return
    if not (isinstance(params, dict) and isinstance(expected, dict)):
        yield f"params are {_shown(params)}, not {_shown(expected)}"
        return
    for key in [*expected, *(key for key in params if key not in expected)]:
        if key not in params:
            yield f"params lack {key!r}, which is to be {_shown(expected[key])}"
        elif key not in expected:
            yield f"params have {key!r} too, which is {_shown(params[key])}"
        elif params[key] != expected[key]:
            yield f"params[{key!r}] is {_shown(params[key])}, not {_shown(expected[key])}"


def _as_json_has_it(value: Any) -> Any:  # noqa: ANN401  # a tuple comes back as a list
    if isinstance(value, dict):
        return {key: _as_json_has_it(part) for key, part in value.items()}
    return [_as_json_has_it(part) for part in value] if isinstance(value, (list, tuple)) else value


def _shown(value: object) -> str:
    if callable(value):
        return getattr(value, "__qualname__", None) or repr(value)
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _seconds(delay: dt.timedelta) -> str:
    return f"{delay.total_seconds():g} s"
