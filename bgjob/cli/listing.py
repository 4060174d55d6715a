"""`bgjob list`: the jobs that match, the newest first."""

from __future__ import annotations

import argparse

from bgjob import clock
from bgjob.cli import page
from bgjob.cli.exits import FINE, NO_MATCH, WrongUsageError
from bgjob.cli.kinds import priority, span, text
from bgjob.console import ago, counted, cut_left, lasting, shown
from bgjob.job import PENDING, PROCESSING
from bgjob.moments import read_past
from bgjob.store import reading
from bgjob.views.overview import STATUSES, instant
from bgjob.views.search import DURATION, MOST_WAITING, NEWEST, OF_WAITING, OLDEST, SORTS, Found, Question, search

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from bgjob.config import Config
    from bgjob.store.reading import JobRow, ProgressRow

_SECONDS_OF_SEARCH = 0.1  # nobody has to wait for an answer that may be the wrong question's
_WIDE = 110


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the filters, the order, and how many are shown."""
    parser.add_argument("--status", type=_status, help=f"{', '.join(STATUSES)} (or running)")
    parser.add_argument("--class", dest="job_class", type=text, metavar="NAME", help="the class, as it was queued")
    parser.add_argument("--method", type=text, metavar="NAME", help="the method")
    parser.add_argument("--priority", type=priority, metavar="N", help="exactly this priority")
    parser.add_argument("--error", type=text, metavar="TEXT", help="a part of the last error, such as its class")
    parser.add_argument(
        "--text", type=text, metavar="TEXT", help="a part of the params or of the last error, in any case"
    )
    parser.add_argument(
        "--since", metavar="TIME", help="last changed then or later: a span before now such as 2h, or a time"
    )
    parser.add_argument("--until", metavar="TIME", help="last changed then or before: a span before now, or a time")
    parser.add_argument("--sort", choices=SORTS, default=NEWEST, help="the order (default: newest first)")
    parser.add_argument("--limit", type=_count, default=20, metavar="N", help="show at most so many (default: 20)")
    parser.add_argument("--offset", type=_count, default=0, metavar="N", help="leave out the first so many")
    parser.add_argument("--before", type=_count, metavar="ID", help="only jobs that were queued before this one")
    parser.add_argument(
        "--after", type=_count, metavar="ID", help="with --sort oldest: only jobs queued after this one"
    )
    parser.add_argument(
        "--within",
        type=span,
        default=_SECONDS_OF_SEARCH,
        metavar="SPAN",
        help="search for so long (default: 100ms)",
    )


def _status(text: str) -> str:
    status = PROCESSING if text == "running" else text
    if status not in STATUSES:
        message = f"{text!r} is no status; choose {', '.join(STATUSES)}"
        raise argparse.ArgumentTypeError(message)
    return status


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):  # noqa: PLR2004  # far more than there are ids
        message = f"{text!r} is no count; write a whole number from 0"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Print the jobs that match; return FINE, or NO_MATCH if filters were given and nothing matches."""
    now = clock.now()
    question = _question(arguments, now)
    found, pause = Found([]), None
    progress: dict[int, ProgressRow | None] = {}
    if reading.exists(config.database):
        with reading.ReadStore(config.database) as store:
            found = search(store, question, now)
            pause = store.pause()
            if any(job.status == PROCESSING for job in found.jobs):
                progress = {row.id: row.progress for row in store.running()}
    if arguments.json:
        page.document(
            {
                "jobs": [_document(job, progress.get(job.id)) for job in found.jobs],
                "looked_to": found.looked_to,
                "is_partial": found.is_partial,
            }
        )
    elif found.jobs:
        _show(found.jobs, progress, now)
    is_filtered = any(value is not None for value in question.filters.values())
    _tell_more(found, arguments, is_filtered=is_filtered)
    page.remark_on_pause(pause, now)
    return NO_MATCH if is_filtered and not found.jobs else FINE


def _question(arguments: argparse.Namespace, now: dt.datetime) -> Question:
    sort, status = arguments.sort, arguments.status
    if sort in OF_WAITING and status not in (None, PENDING):
        raise WrongUsageError(f"--sort {sort} is an order of pending jobs; leave out --status {status}")
    if arguments.after is not None and sort != OLDEST:
        raise WrongUsageError("--after goes with --sort oldest; the others take --before")
    if arguments.before is not None and sort == OLDEST:
        raise WrongUsageError("--before does not go with --sort oldest, which takes --after")
    beyond = arguments.after if sort == OLDEST else arguments.before
    return Question(_filters(arguments, now), sort, arguments.limit, arguments.offset, beyond, arguments.within)


def _filters(arguments: argparse.Namespace, now: dt.datetime) -> dict[str, object]:
    return {
        "status": arguments.status,
        "job_class": arguments.job_class,
        "method": arguments.method,
        "priority": arguments.priority,
        "error": arguments.error,
        "text": arguments.text,
        "since": _moment(arguments.since, now, "--since"),
        "until": _moment(arguments.until, now, "--until"),
    }


def _moment(text: str | None, now: dt.datetime, option: str) -> str | None:
    return None if text is None else clock.to_text(read_past(text, now, option=option))


def _show(jobs: Sequence[JobRow], progress: Mapping[int, ProgressRow | None], now: dt.datetime) -> None:
    room = page.width()
    is_wide = room is None or room >= _WIDE
    head = ["ID", "STATUS", "PRIORITY", "CHANGED", "JOB"]
    rows = [[str(job.id), str(job.status), str(job.priority), _when(job, now), _name(job)] for job in jobs]
    if is_wide:
        head.append("ERROR OR PARAMS")
        # A long name must not take all the room; without a terminal nothing is cut.
        most = 10_000 if room is None else (room - 55) // 2
        rows = [
            [*row[:-1], cut_left(shown(row[-1]), most), _how_far_it_is(job, progress) or _about(job)]
            for row, job in zip(rows, jobs, strict=True)
        ]
        page.table(head, rows, room=room)
    else:
        below = [_how_far_it_is(job, progress) or _first_line(job.error) for job in jobs]
        page.table(head, rows, room=room, below=below, keeps_end=True)


def _name(job: JobRow) -> str:
    return f"{job.job_class}.{job.method}"


def _how_far_it_is(job: JobRow, progress: Mapping[int, ProgressRow | None]) -> str:
    told = progress.get(job.id)
    return page.how_far(told) if told else ""


def _first_line(error: object) -> str:
    return error.splitlines()[0] if isinstance(error, str) and error else ""


def _about(job: JobRow) -> str:
    return " ".join(str(job.error or job.params or "").split())


def _when(job: JobRow, now: dt.datetime) -> str:
    due_at = instant(job.available_at)
    if job.status == PENDING and due_at and due_at > now:
        return f"due in {ago((due_at - now).total_seconds())}"
    changed = instant(job.updated_at) or instant(job.finished_at) or instant(job.created_at)
    return f"{ago((now - changed).total_seconds())} ago" if changed else "-"


def _document(job: JobRow, progress: ProgressRow | None) -> dict[str, object]:
    row = {name: page.json_time(value) if name.endswith("_at") else value for name, value in job._asdict().items()}
    return {**row, "progress": page.progress_document(progress)}


def _tell_more(found: Found, arguments: argparse.Namespace, *, is_filtered: bool) -> None:
    """Say on standard error what the jobs that were printed do not tell."""
    if found.looked_to is not None:
        page.remark(_how_far(found.looked_to, arguments))
        return
    if found.is_partial:
        page.remark(f"looked at the {MOST_WAITING:,} jobs that run first, and the {MOST_WAITING:,} that fall due first")
    if not found.jobs and arguments.offset:
        page.remark(f"there are no more than {counted(arguments.offset, 'job')}")
    elif not found.jobs and arguments.limit:
        beyond = arguments.before is not None or arguments.after is not None
        page.remark("no job matches" if is_filtered or beyond else "there are no jobs")
    elif arguments.limit and len(found.jobs) == arguments.limit and not arguments.json:
        page.remark(f"there may be more: {_next_page(found, arguments)}, or a larger --limit")


def _how_far(looked_to: int, arguments: argparse.Namespace) -> str:
    within = lasting(arguments.within)
    if arguments.sort == OLDEST:
        return f"looked up to job {looked_to} in {within}; go on: --after {looked_to}, or --within 10s"
    if arguments.sort == DURATION:
        return f"looked back to job {looked_to} in {within}; --within 10s may find longer ones"
    return f"looked back to job {looked_to} in {within}; go on: --before {looked_to}, or --within 10s"


def _next_page(found: Found, arguments: argparse.Namespace) -> str:
    if arguments.sort == NEWEST:
        return f"--before {found.jobs[-1].id}"
    if arguments.sort == OLDEST:
        return f"--after {found.jobs[-1].id}"
    return f"--offset {arguments.offset + len(found.jobs)}"
