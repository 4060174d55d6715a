"""Looking jobs up from a program: `get_job` and `jobs`, over the views that the command line uses."""

from __future__ import annotations

import datetime as dt

from bgjob import approval, clock, in_force
from bgjob.errors import InvalidJobError
from bgjob.job import PENDING, PROCESSING
from bgjob.store import reading
from bgjob.views.jobs import Job, job_of
from bgjob.views.overview import STATUSES
from bgjob.views.search import NEWEST, OF_WAITING, OLDEST, SORTS, Question, search

HIGHEST_ID = 2**63 - 1


def get_job(job_id: int) -> Job | None:
    """Return the job with that id as it is now, or None: it was never queued here, or deleted or pruned since.

    Raises ConfigError for a wrong config, StoreError when the database can't be read.
    """
    if type(job_id) is not int:
        raise InvalidJobError(f"the id of a job is a whole number, not {type(job_id).__name__}")
    path = in_force.configs.current().database
    if not reading.exists(path) or not 0 < job_id <= HIGHEST_ID:
        return None
    with reading.ReadStore(path) as store:
        row = store.job(job_id)
    return None if row is None else job_of(row, path)


def jobs(
    *,
    status: str | None = None,
    job_class: type | str | None = None,
    method: str | None = None,
    priority: int | None = None,
    error: str | None = None,
    text: str | None = None,
    since: dt.datetime | dt.timedelta | None = None,
    until: dt.datetime | dt.timedelta | None = None,
    sort: str = NEWEST,
    limit: int = 100,
    offset: int = 0,
    before: int | None = None,
    after: int | None = None,
) -> list[Job]:
    """Return the jobs that match all that is asked for, at most `limit` of them; nothing is locked meanwhile.

    `status`: pending, processing (or running), completed, failed or cancelled. `job_class`: the class, or its dotted
    name as it was queued. `error`: a part of the last error. `text`: a part of the params or of the last error, in any
    case. `since`, `until`: when the job last changed, an aware datetime, or a timedelta for so long ago.
    `sort`: newest or oldest (by id), duration (the longest first), or for pending jobs priority (as they will run) or
    due (as they fall due); of more than 10,000 ready or delayed jobs these two look at the first 10,000 of each.
    `before`: only ids below it; `after`: with oldest, only ids above it. With them a program goes on page by page.

    Where no index helps, each row is looked at until `limit` are found: a second or so for a million.

    Raises InvalidJobError for what can't be asked, ConfigError for a wrong config, StoreError when the database can't
    be read.
    """
    settings = in_force.configs.current()
    now = clock.now()
    question = Question(
        filters={
            "status": _status(status, sort),
            "job_class": None if job_class is None else approval.approved_name(settings, job_class),
            "method": _text("method", method),
            "priority": None if priority is None else _whole("priority", priority, -HIGHEST_ID - 1),
            "error": _text("error", error),
            "text": _text("text", text),
            "since": _instant("since", since, now),
            "until": _instant("until", until, now),
        },
        sort=sort,
        most=_whole("limit", limit, 0),
        offset=_whole("offset", offset, 0),
        beyond=_beyond(sort, before, after),
        seconds=float("inf"),
    )
    if not reading.exists(settings.database):
        return []
    with reading.ReadStore(settings.database) as store:
        return [job_of(row, settings.database) for row in search(store, question, now).jobs]


def _status(status: object, sort: object) -> object:
    if sort not in SORTS:
        raise InvalidJobError(f"sort must be one of {', '.join(SORTS)}, not {sort!a:.40}")
    found = PROCESSING if status == "running" else status
    if found is not None and found not in STATUSES:
        raise InvalidJobError(f"status must be one of {', '.join(STATUSES)} (or running), not {status!a:.40}")
    if sort in OF_WAITING and found not in (None, PENDING):
        raise InvalidJobError(f"{sort} is an order of pending jobs; leave out the status {found}")
    return found


def _text(name: str, value: object) -> str | None:
    if value is None:
        return None
    if type(value) is not str:
        raise InvalidJobError(f"{name} must be text, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidJobError(f"{name} holds a lone surrogate, which no row can hold") from None
    return value


def _whole(name: str, value: object, least: int) -> int:
    if type(value) is not int:
        raise InvalidJobError(f"{name} must be a whole number, not {type(value).__name__}")
    if not least <= value <= HIGHEST_ID:
        raise InvalidJobError(f"{name} must be a whole number from {least} to 2**63 - 1, not {value!a:.40}")
    return value


def _instant(name: str, value: object, now: dt.datetime) -> str | None:
    if value is None:
        return None
    if isinstance(value, dt.timedelta):
        return clock.to_text(clock.later(now, -value.total_seconds()))
    if not isinstance(value, dt.datetime):
        raise InvalidJobError(
            f"{name} must be an aware datetime, or a timedelta for so long ago, not {type(value).__name__}"
        )
    if value.utcoffset() is None:
        raise InvalidJobError(f"{name} has no time zone; make it aware, such as by .astimezone() for local time")
    return clock.to_text(value.astimezone(dt.UTC))


def _beyond(sort: str, before: int | None, after: int | None) -> int | None:
    if after is not None and sort != OLDEST:
        raise InvalidJobError("after goes with sort='oldest'; the other orders take before")
    if before is not None and sort == OLDEST:
        raise InvalidJobError("before does not go with sort='oldest', which takes after")
    beyond = after if sort == OLDEST else before
    return None if beyond is None else _whole("after" if sort == OLDEST else "before", beyond, 0)
