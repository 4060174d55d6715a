"""`bgjob status`: how the queue stands, who works on it, and when it will be done."""

from __future__ import annotations

from bgjob import clock, watch
from bgjob.cli import colours, page
from bgjob.cli.exits import FINE, WrongUsageError
from bgjob.cli.kinds import span
from bgjob.console import ago, counted, held_up, is_screen, lasting
from bgjob.job import FAILED
from bgjob.store import reading
from bgjob.views.overview import STATUSES, instant, overview

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import datetime as dt
    from collections.abc import Callable

    from bgjob.config import Config
    from bgjob.views.overview import Overview

_MOST_RUNNING = 10  # shown one by one
_EVERY, _SHORTEST = 2.0, 0.1  # seconds between two looks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take how to look again and again."""
    parser.add_argument("--watch", action="store_true", help="look again and again, until Ctrl-C")
    parser.add_argument("--every", type=span, metavar="SPAN", help="with --watch: how often (default: 2s)")


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Print how the queue stands; return FINE, whatever that is."""
    if not arguments.watch:
        if arguments.every is not None:
            raise WrongUsageError("--every goes with --watch")
        _look(config, clock.now(), _document if arguments.json else _show)
        return FINE
    from bgjob.cli import screen

    every = _EVERY if arguments.every is None else arguments.every
    if every < _SHORTEST:
        raise WrongUsageError(f"--every {lasting(every)} is too often; {lasting(_SHORTEST)} is the least")
    tell, on_screen = _show_in_a_line, False
    if arguments.json:
        tell = _document_in_a_line
    elif is_screen(1):
        tell, on_screen = _show, True
    complain = _complaint_in_a_line if arguments.json else page.lines
    return screen.watch(lambda now: _look(config, now, tell), complain, every=every, on_screen=on_screen)


def _look(config: Config, now: dt.datetime, tell: Callable[[Overview | None, Config, dt.datetime], None]) -> None:
    seen = None
    if reading.exists(config.database):
        with reading.ReadStore(config.database) as store:
            seen = overview(store, now, workers=config.workers)
    tell(seen, config, now)


def _nothing(config: Config) -> str:
    return f"no job was ever queued: there is no database {config.database} yet"


def _show_in_a_line(seen: Overview | None, config: Config, now: dt.datetime) -> None:
    told = _nothing(config)
    if seen:
        told = _counts(seen) + ", PAUSED" * (seen.pause is not None) + ", ALARM" * bool(seen.alarms)
    page.say(f"{clock.to_text(now)[:19]}  {told}")


def _document_in_a_line(seen: Overview | None, config: Config, now: dt.datetime) -> None:
    page.document(_facts(seen, config, now), in_a_line=True)


def _complaint_in_a_line(what: str) -> None:
    page.document({"now": clock.now(), "error": what}, in_a_line=True)


def _show(seen: Overview | None, config: Config, now: dt.datetime) -> None:
    if seen is None:
        page.sentence(_nothing(config))
        return
    for alarm in seen.alarms:
        page.told(
            "ALARM",
            f"{alarm.told} (raised {page.time_and_age(alarm.raised_at, now)})",
            colour=colours.RED,
            name_colour=colours.RED,
        )
    if seen.pause:
        page.told(
            "PAUSED",
            held_up(seen.pause, now).removeprefix("paused "),
            colour=colours.YELLOW,
            name_colour=colours.YELLOW,
        )
    failed = seen.counts[FAILED]
    page.told("jobs", _counts(seen), colour=colours.RED if failed else None, of=f"{failed:,} failed")
    if seen.first_due:
        first = seen.first_due
        since = instant(first.since)
        waits = f"due for {ago((now - since).total_seconds())}" if since else "due"
        page.told("oldest", f"job {first.id} {first.job_class}.{first.method}, {waits}")
    due_at = instant(seen.next_due)
    if due_at:
        page.told("next", f"due in {ago((due_at - now).total_seconds())}")
    _show_running(seen, now)
    is_dead = watch.is_silent(seen.last_tick, now) and not seen.is_at_work
    page.told("last tick", _tick(seen, now), colour=colours.YELLOW if is_dead else None)
    page.told("runner", _runner(seen, now))
    page.told("last hour", _last_hour(seen))
    if seen.due:
        page.told("backlog", _backlog(seen))


def _counts(seen: Overview) -> str:
    parts = [f"{count:,} {status}" for status, count in seen.counts.items() if count or status in STATUSES[:4]]
    parts[0] += f" ({seen.due:,} due)" if seen.counts[STATUSES[0]] else ""
    return ", ".join(parts)


def _show_running(seen: Overview, now: dt.datetime) -> None:
    for number, row in enumerate(seen.running[:_MOST_RUNNING]):
        since = instant(row.started_at)
        lasting = f", for {ago((now - since).total_seconds())}" if since else ""
        text = f"job {row.id} {row.job_class}.{row.method}{lasting}, process {str(row.worker).split(' ', 1)[0]}"
        if row.progress:
            text += f", {page.how_far(row.progress)}"
        if seen.living is not None and row.runner not in seen.living:
            text += f"; its runner {row.runner} is gone, the next tick takes the job back"
        page.told("" if number else "running", text)
    if len(seen.running) > _MOST_RUNNING:
        page.told("", f"and {len(seen.running) - _MOST_RUNNING} more: bgjob list --status processing")


def _tick(seen: Overview, now: dt.datetime) -> str:
    told = f"{ago((now - seen.last_tick).total_seconds())} ago" if seen.last_tick else "never"
    if watch.is_silent(seen.last_tick, now) and not seen.is_at_work:
        told += f": {watch.HINT}"
    return told


def _runner(seen: Overview, now: dt.datetime) -> str:
    runner = seen.runner
    if runner is None:
        return _holder("none was ever at work", seen)
    started = instant(runner.started)
    if seen.is_at_work:
        since = f" for {ago((now - started).total_seconds())}" if started else ""
        lingers = ", lingers" if runner.lingers else ""
        holds = ", and holds the lock" if seen.lock_holder == runner.pid else ""
        return f"{runner.id} (process {runner.pid}) is at work{since}{lingers}{holds}"
    last = instant(runner.ended or runner.last_seen)
    when = f" {ago((now - last).total_seconds())} ago" if last else ""
    if runner.ended:
        return _holder(f"none is at work; number {runner.id} ended{when}", seen)
    if seen.living is None:
        return f"{runner.id} (process {runner.pid}); this user can't tell whether it lives, it was last seen{when}"
    return _holder(f"none is at work; number {runner.id} died, last seen{when}", seen)


def _holder(told: str, seen: Overview) -> str:
    if not seen.is_locked:
        return told
    return f"{told}; {f'process {seen.lock_holder}' if seen.lock_holder else 'another process'} holds the lock"


def _last_hour(seen: Overview) -> str:
    if not (seen.completed or seen.failed or seen.failures):
        return "nothing ended"
    told = f"{seen.completed:,} completed, {seen.failed:,} failed"
    if seen.failures:
        kinds = ", ".join(f"{count:,} {outcome}" for outcome, count in seen.failures.items())
        more_than = "" if seen.failures_are_all else "more than "
        told += f"; {more_than}{counted(sum(seen.failures.values()), 'attempt')} failed ({kinds})"
    if seen.seconds_a_job is not None:
        told += f"; {lasting(seen.seconds_a_job)} a job"
    return told


def _backlog(seen: Overview) -> str:
    if seen.backlog_seconds is None:
        return f"{counted(seen.due, 'job')}; no job ended lately that would tell how long they take"
    begins = " once it is resumed" if seen.pause else "" if seen.is_at_work else " once a tick comes"
    return f"{counted(seen.due, 'job')}, done in about {lasting(seen.backlog_seconds)}{begins}"


def _document(seen: Overview | None, config: Config, now: dt.datetime) -> None:
    page.document(_facts(seen, config, now))


def _facts(seen: Overview | None, config: Config, now: dt.datetime) -> dict[str, object]:
    if seen is None:
        return {"database": config.database, "exists": False}
    first, runner = seen.first_due, seen.runner
    return {
        "database": config.database,
        "exists": True,
        "now": now,
        "alarms": [{**alarm._asdict(), "raised_at": page.json_time(alarm.raised_at)} for alarm in seen.alarms],
        "paused": page.pause_document(seen.pause),
        "counts": seen.counts,
        "due": seen.due,
        "oldest_due": first and {**first._asdict(), "since": page.json_time(first.since)},
        "next_due_at": page.json_time(seen.next_due),
        "running": [
            {
                **row._asdict(),
                "started_at": page.json_time(row.started_at),
                "progress": page.progress_document(row.progress),
                "runner_lives": None if seen.living is None else row.runner in seen.living,
            }
            for row in seen.running
        ],
        "last_tick_at": seen.last_tick,
        "runner": runner
        and {
            **{name: page.json_time(value) for name, value in runner._asdict().items()},
            "lingers": bool(runner.lingers),
            "is_at_work": seen.is_at_work,
        },
        "is_locked": seen.is_locked,
        "lock_holder": seen.lock_holder,
        "last_hour": {
            "completed": seen.completed,
            "failed": seen.failed,
            "failed_attempts": seen.failures,
            "failed_attempts_are_all": seen.failures_are_all,
            "seconds_a_job": seen.seconds_a_job,
        },
        "backlog_seconds": seen.backlog_seconds,
    }
