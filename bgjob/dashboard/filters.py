"""The filters of the list of jobs: as they stand in its address, as they are searched by, what is wrong with them."""

from __future__ import annotations

import re
from typing import NamedTuple

from bgjob import clock
from bgjob.job import PENDING, PROCESSING
from bgjob.moments import WrongTimeError, read_past
from bgjob.store.byhand import Wanted
from bgjob.views.overview import STATUSES, instant
from bgjob.views.search import DURATION, NEWEST, OF_WAITING, OLDEST, SORTS, Question

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from bgjob.steering import Verb

NAMES = ("status", "class", "method", "priority", "error", "text", "since", "until")
PLACES = ("before", "after", "offset")  # where in the list
LIMITS = (25, 50, 100, 200)
_SECONDS_OF_SEARCH = 0.08
_HIGHEST = 2**63 - 1
_PRIORITY = re.compile(r"[+-]?[0-9]{1,19}")
_WHOLE = re.compile(r"[0-9]{1,18}")


class Filters(NamedTuple):
    """What is asked for."""

    typed: dict[str, str]  # as it stands in the address, without what is empty
    values: dict[str, object]  # as it is searched by
    sort: str
    limit: int
    before: int | None
    after: int | None
    offset: int
    problems: list[str]

    def of(self, name: str) -> str:
        """Return a field as it was typed; empty where it was not."""
        return self.typed.get(name, "")

    @property
    def is_any(self) -> bool:
        """Whether any filter is set."""
        return any(name in self.typed for name in NAMES)

    @property
    def query(self) -> dict[str, str]:
        """The filters and the order, without the place in the list."""
        return {name: value for name, value in self.typed.items() if name not in PLACES}

    def question(self) -> Question:
        """Return what is searched for: one more than is shown, to know whether there are more."""
        sort, beyond = self.sort, self.before
        if self.sort == OLDEST or self.after is not None:  # of a page before this one the nearest ones come first
            sort, beyond = OLDEST, self.after
        return Question(self.values, sort, self.limit + 1, self.offset, beyond, _SECONDS_OF_SEARCH)

    def wanted(self, verb: Verb) -> Wanted:
        """Return which jobs all that match are, for what is to be done to them."""
        status = self.values["status"]
        return Wanted(
            statuses=verb.unless_told if status is None else (str(status),) if status in verb.leaves else (),
            job_class=_text(self.values["job_class"]),
            method=_text(self.values["method"]),
            error=_text(self.values["error"]),
            since=instant(self.values["since"]),
            priority=self.values["priority"] if isinstance(self.values["priority"], int) else None,
            text=_text(self.values["text"]),
            until=instant(self.values["until"]),
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def read(query: Mapping[str, str], now: dt.datetime) -> Filters:
    """Return the filters in a query; what can't be read is told, and searched for by nothing."""
    problems: list[str] = []
    typed = {name: value.strip() for name, value in query.items() if value.strip()}
    typed = {name: value for name, value in typed.items() if name in (*NAMES, *PLACES, "sort", "limit")}
    sort = typed.get("sort", NEWEST)
    if sort not in SORTS:
        problems.append(f"There is no order “{sort}”; the orders: {', '.join(SORTS)}.")
        sort = NEWEST
    values: dict[str, object] = {
        "status": _status(typed.get("status"), problems),
        "job_class": typed.get("class"),
        "method": typed.get("method"),
        "priority": _priority(typed.get("priority"), problems),
        "error": typed.get("error"),
        "text": typed.get("text"),
        "since": _time(typed.get("since"), now, "Since", problems),
        "until": _time(typed.get("until"), now, "Until", problems),
    }
    if sort in OF_WAITING and values["status"] not in (None, PENDING):
        problems.append(f"“{sort}” is an order of pending jobs, so it shows none that are {values['status']}.")
        sort = NEWEST
    limit = _whole(typed.get("limit"))
    places = {name: _whole(typed.get(name)) for name in PLACES}
    if sort not in (NEWEST, OLDEST):
        places["before"] = places["after"] = None
    return Filters(
        typed,
        values,
        sort,
        limit if limit in LIMITS else LIMITS[1],
        places["before"],
        places["after"],
        places["offset"] or 0 if sort in (*OF_WAITING, DURATION) else 0,
        problems,
    )


def _status(text: str | None, problems: list[str]) -> str | None:
    status = PROCESSING if text == "running" else text
    if status is None or status in STATUSES:
        return status
    problems.append(f"There is no status “{text}”; the statuses: {', '.join(STATUSES)}.")
    return None


def _priority(text: str | None, problems: list[str]) -> int | None:
    if text is None:
        return None
    if _PRIORITY.fullmatch(text) and -_HIGHEST - 1 <= int(text) <= _HIGHEST:
        return int(text)
    problems.append(f"“{text}” is no priority; any whole number of 64 bits is.")
    return None


def _time(text: str | None, now: dt.datetime, name: str, problems: list[str]) -> str | None:
    try:
        return clock.to_text(read_past(text, now, option=name)) if text else None
    except WrongTimeError as error:
        problems.append(f"{error}.")
        return None


def _whole(text: str | None) -> int | None:
    return int(text) if text and _WHOLE.fullmatch(text) else None
