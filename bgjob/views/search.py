"""Which jobs match: looked for among all of them, but only for so long, for no index stands behind a person's question.

From the newest back, or from the oldest on, a stretch of ids at a time; so a search that is given up can say how far it
has come, and another one goes on from there. What waits is looked up in its indexes.
"""

from __future__ import annotations

from typing import NamedTuple

from bgjob import clock
from bgjob.job import PENDING, PROCESSING
from bgjob.views.overview import instant

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from bgjob.store.reading import JobRow, ReadStore

NEWEST, OLDEST, DURATION, PRIORITY, DUE = "newest", "oldest", "duration", "priority", "due"
SORTS = (NEWEST, OLDEST, PRIORITY, DUE, DURATION)
OF_WAITING = (PRIORITY, DUE)  # orders of what is pending

MOST_WAITING = 10_000  # of each index, looked at for what is pending: 40 ms
_FIRST_STRETCH, _LONGEST_STRETCH = 256, 16_384  # ids; the longest takes 10 ms where few of them match
_SECONDS_A_STRETCH = 0.015  # after a longer one comes a shorter one, or a search would last much longer than told


class Found(NamedTuple):
    """The jobs to show, and how far was looked for them."""

    jobs: list[JobRow]
    looked_to: int | None = None  # the id to which the search came before its time was over
    is_partial: bool = False  # more jobs wait than were looked at


class Question(NamedTuple):
    """What is asked for. `beyond`: ids below it, or for the oldest first, above it; None: all."""

    filters: Mapping[str, object]  # status, job_class, method, priority, error, text, since, until
    sort: str
    most: int
    offset: int
    beyond: int | None
    seconds: float


def search(store: ReadStore, question: Question, now: dt.datetime) -> Found:
    """Return the jobs that match, in their order."""
    status = question.filters["status"]
    if question.sort in OF_WAITING:
        return _waiting(store, question, now, is_partial=_is_partial(store, question))
    if status == PROCESSING or (status == PENDING and not any(store.waits_more_than(MOST_WAITING))):
        return _waiting(store, question, now, is_partial=False)
    return _walked(store, question)


def _is_partial(store: ReadStore, question: Question) -> bool:
    """Return whether jobs that were not looked at may come before those that were."""
    more_ready, more_delayed = store.waits_more_than(MOST_WAITING)
    asks = question.beyond is not None or any(
        value is not None for key, value in question.filters.items() if key != "status"
    )
    # The first of the ready jobs are those that a drain takes first, so unless one is left out they are the right ones.
    return more_delayed or (
        more_ready and (question.sort == DUE or asks or question.most + question.offset > MOST_WAITING)
    )


def _waiting(store: ReadStore, question: Question, now: dt.datetime, *, is_partial: bool) -> Found:
    filters = {
        **question.filters,
        "status": question.filters["status"] or PENDING,
        **dict(zip(("after", "upto"), _range(question), strict=True)),
    }
    looked = MOST_WAITING if filters["status"] == PENDING else 0
    jobs = store.waiting(
        filters, sort=question.sort, now=now, looked=looked, most=question.most, offset=question.offset
    )
    return Found(jobs, is_partial=is_partial)


def _range(question: Question) -> tuple[int, int]:
    """Return the ids among which is searched: beyond the first one, up to the second."""
    if question.beyond is None:
        return 0, _HIGHEST
    return (question.beyond, _HIGHEST) if question.sort == OLDEST else (0, question.beyond - 1)


_HIGHEST = 2**63 - 1


def _walked(store: ReadStore, question: Question) -> Found:
    """Walk by id until enough is found, all was looked at, or the time is over."""
    sort, wanted = question.sort, question.most + question.offset
    began = clock.monotonic()
    until = began + question.seconds
    found: list[JobRow] = []
    length = 0
    after, upto = _range(question)
    while (edge := _next_id(store, sort, after, upto)) is not None:
        now = clock.monotonic()
        if length and now > until:
            return Found(_page(found, question), looked_to=edge + 1 if sort != OLDEST else edge - 1)
        length, began = _next_length(length, now - began), now
        if sort == OLDEST:
            after = min(edge + length, _HIGHEST)
            found += store.stretch(question.filters, sort=sort, after=edge - 1, upto=after, most=wanted)
        else:
            upto = edge - length
            found += store.stretch(question.filters, sort=sort, after=upto, upto=edge, most=wanted)
        if sort == DURATION:
            found = sorted(found, key=_seconds, reverse=True)[:wanted]
        elif len(found) >= wanted:
            break
    return Found(_page(found, question))


def _next_length(length: int, seconds: float) -> int:
    """Return how many ids come after a stretch of `length` that took `seconds`: fewer where many match and are read."""
    if seconds > _SECONDS_A_STRETCH:
        length //= 16
    return min(max(length * 4, _FIRST_STRETCH), _LONGEST_STRETCH)


def _next_id(store: ReadStore, sort: str, after: int, upto: int) -> int | None:
    """Return the nearest id that is there: a gap, however wide, costs one look."""
    return store.first_id(after) if sort == OLDEST else store.last_id(upto)


def _page(found: list[JobRow], question: Question) -> list[JobRow]:
    return found[question.offset : question.offset + question.most]


def _seconds(job: JobRow) -> float:
    started, finished = instant(job.started_at), instant(job.finished_at)
    return (finished - started).total_seconds() if started and finished else -1.0
