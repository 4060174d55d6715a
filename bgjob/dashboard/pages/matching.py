"""The question before something is done to all jobs that match, with their number."""

from __future__ import annotations

from bgjob import clock, steering
from bgjob.dashboard import filters
from bgjob.dashboard.response import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt

    from bgjob.dashboard.response import Response
    from bgjob.dashboard.visit import Visit
    from bgjob.store.byhand import Wanted
    from bgjob.store.reading import ReadStore

_SECONDS_OF_COUNTING = 0.1
_STRETCH = 16_384  # ids; 10 ms


def ask(visit: Visit) -> Response:
    """Return the page; raises Refusal for filters that can't be read, so that no more is done than was meant."""
    asked, verb, wanted = read(visit, visit.fields)
    with visit.store() as store:
        if store is None:
            return visit.page("empty.html", store=None, database=visit.config.database)
        last = store.last_id(2**63 - 1) or 0
        count, counted_to = _counted(store, wanted, last) if wanted.statuses else (0, last)
        return visit.page(
            "matching.html",
            store=store,
            verb=verb,
            filters=asked,
            wanted=wanted,
            count=count,
            is_all=counted_to >= last,
            asked_at=clock.to_text(visit.now),
            last=last,
        )


def read(visit: Visit, fields: dict[str, str]) -> tuple[filters.Filters, steering.Verb, Wanted]:
    """Return filters, verb, and which jobs are meant; raises Refusal."""
    verb = steering.VERBS.get(fields.get("verb", ""))
    if verb is None or verb is steering.RUN_NOW:
        raise Refusal(400, "What is to be done to the jobs? The address does not say.")
    now = _asked_at(fields.get("asked_at", ""), visit.now)
    asked = filters.read(fields, now)
    if asked.problems:
        raise Refusal(400, "\n".join(asked.problems))
    # What came to match only since, by its number among those that were asked about, nobody has seen.
    return asked, verb, asked.wanted(verb)._replace(as_of=now)


def _asked_at(text: str, now: dt.datetime) -> dt.datetime:
    """Return from when a span such as 2h is counted: from when it was asked, so that no more is done than counted."""
    try:
        return min(clock.from_text(text), now)
    except ValueError:
        return now


def _counted(store: ReadStore, wanted: Wanted, last: int) -> tuple[int, int]:
    """Return how many jobs are as wanted, and up to which id they were counted before the time was over."""
    count, after = 0, (store.first_id(0) or 1) - 1
    until = clock.monotonic() + _SECONDS_OF_COUNTING
    while after < last and clock.monotonic() < until:
        count += store.count_matching(wanted, after=after, upto=after + _STRETCH).jobs
        after = (store.first_id(after + _STRETCH) or last + 1) - 1
    return count, after
