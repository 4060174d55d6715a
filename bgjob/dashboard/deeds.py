"""What is done from the pages: to jobs that were ticked, to all that match, and to the queue as a whole."""

from __future__ import annotations

import contextlib
import logging
import re
import urllib.parse

from bgjob import clock, steering, users
from bgjob.dashboard.filters import NAMES
from bgjob.dashboard.pages import matching
from bgjob.dashboard.response import Refusal, Response
from bgjob.logs import Logs
from bgjob.store import reading, upkeep
from bgjob.store.byhand import AT_ONCE, ByHand
from bgjob.store.connection import Database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bgjob.config import Config
    from bgjob.dashboard.visit import Visit
    from bgjob.job import Seen

_log = logging.getLogger("bgjob")

_ID = re.compile(r"[1-9][0-9]{0,18}")
_SECONDS = 3.0  # of work in one request; what is left is asked for again


def on_ticked(visit: Visit) -> Response:
    """Do what a button says to the jobs that were ticked; ask first where it can't be undone."""
    sent = visit.request.form()
    fields = dict(sent)
    verb = steering.VERBS.get(fields.get("verb", ""))
    ids = list(dict.fromkeys(value for name, value in sent if name == "id"))
    if verb is None or not all(_ID.fullmatch(each) and int(each) < 2**63 for each in ids):
        raise Refusal(400, "The form does not say what is to be done to which jobs.")
    back = fields.get("back", "/jobs")
    if not ids:
        return _back(visit, back, verb.name, 0, 0)
    if verb is steering.DELETE and fields.get("sure") != "1":
        with visit.store() as reader:
            return visit.page("sure.html", store=reader, verb=verb, ids=ids, back=back)
    done = 0
    with _opened(visit.config) as (store, logs):
        seen = [job for each in ids if (job := store.find(int(each)))]
        for batch in _batches([job for job in seen if job.status in verb.leaves]):
            done += _do(verb, store, logs, batch)
    if verb is steering.DELETE and re.fullmatch(r"/jobs/[0-9]+", back):
        back = "/jobs"  # its page is gone
    return _back(visit, back, verb.name, done, len(ids) - done)


def on_matching(visit: Visit) -> Response:
    """Do it to all jobs that match and were there when it was asked, as long as a request may take; then ask again."""
    fields = dict(visit.request.form())
    asked, verb, wanted = matching.read(visit, fields)
    upto = int(value) if _ID.fullmatch(value := fields.get("upto", "")) else 0
    done, is_over = 0, True
    until = clock.monotonic() + _SECONDS
    if wanted.statuses and upto and reading.exists(visit.config.database):
        with _opened(visit.config) as (store, logs):
            for batch in store.matching(wanted, upto=min(upto, 2**63 - 1)):
                done += _do(verb, store, logs, batch)
                is_over = len(batch) < AT_ONCE or batch[-1].id >= upto
                if clock.monotonic() > until:
                    break
    query = {name: value for name, value in asked.query.items() if name in (*NAMES, "sort", "limit")}
    told = {"did": verb.name, "n": done, "left": 0}
    if is_over:
        return Response.redirect(visit.link("/jobs", {**query, **told}))
    return Response.redirect(visit.link("/jobs/matching", {**query, "verb": verb.name, **told}))


def _do(verb: steering.Verb, store: ByHand, logs: Logs, batch: Sequence[Seen]) -> int:
    now = clock.now()
    done = verb.act(store, batch, now)
    for job in done:
        verb.tell(logs, job, now)
    return len(done)


def _batches(jobs: Sequence[Seen]) -> Iterable[Sequence[Seen]]:
    return (jobs[start : start + AT_ONCE] for start in range(0, len(jobs), AT_ONCE))


@contextlib.contextmanager
def _opened(config: Config) -> Iterator[tuple[ByHand, Logs]]:
    if not reading.exists(config.database):
        raise Refusal(404, "No job was ever queued.")
    database = Database(config.database, durability="full")
    try:
        with _logs(config) as logs:
            yield ByHand(database), logs
    finally:
        database.close()


@contextlib.contextmanager
def _logs(config: Config) -> Iterator[Logs]:
    """Give the logs of `config` to a `with` block; what was done stays done where they can't be written."""
    logs = Logs.of(config)
    try:
        yield logs
    finally:
        trouble = logs.take_trouble()
        logs.close()
        if trouble:
            _log.warning("%s", trouble)


def _back(visit: Visit, back: str, did: str, count: int, left: int) -> Response:
    """Send the browser back to where it was, there to be told what was done."""
    place = visit.back_to(back)
    told = urllib.parse.urlencode({"did": did, "n": count, "left": left})
    return Response.redirect(f"{place}{'&' if '?' in place else '?'}{told}")


def pause(visit: Visit) -> Response:
    """Let no job start any more."""
    reason = dict(visit.request.form()).get("reason", "")
    with _logs(visit.config) as logs:
        steering.pause(visit.config, logs, who=_who(visit), reason=reason)
    return Response.redirect(visit.link("/"))


def resume(visit: Visit) -> Response:
    """Let jobs start again."""
    if reading.exists(visit.config.database):
        with _logs(visit.config) as logs:
            steering.resume(visit.config, logs, who=_who(visit))
    return Response.redirect(visit.link("/"))


def prune(visit: Visit) -> Response:
    """Remove finished jobs that are older than the config keeps them, as long as a request may take."""
    done = 0
    with _opened(visit.config) as (store, logs):
        until = clock.monotonic() + _SECONDS
        cutoffs = upkeep.cutoffs(visit.config.keep, visit.now)
        with contextlib.closing(steering.prune(store.database, cutoffs, logs, who=_who(visit))) as steps:
            for gone in steps:
                done += sum(gone.values())
                if clock.monotonic() > until:
                    break
    return Response.redirect(visit.link("/", {"did": "prune", "n": done, "left": 0}))


def _who(visit: Visit) -> str:
    """Return who does it: the user who was let in, or the one under whom this server runs."""
    return f"{visit.request.who} (dashboard)" if visit.request.who else f"{users.person()} (dashboard)"
