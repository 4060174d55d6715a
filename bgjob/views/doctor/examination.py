"""All checks, one after the other: none can crash or hold up the others."""

from __future__ import annotations

import json
import threading
from typing import NamedTuple

from bgjob import files
from bgjob.errors import BgjobError
from bgjob.store import reading
from bgjob.views.doctor import cron, database, disk, interpreter, permissions, place, sides, starts, ticking
from bgjob.views.doctor.finding import PROBLEM, SEVERITIES, WARNING, Case, Finding, Side, newest
from bgjob.views.overview import instant

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable

    from bgjob.config import Config
    from bgjob.views.doctor.start import Start

CHECKS: tuple[Callable[[Case], Iterable[Finding]], ...] = (
    database.database_can_be_read,
    place.one_file,
    place.no_release_strands_jobs,
    ticking.ticks_come,
    cron.something_starts_ticks,
    cron.lines_can_work,
    ticking.lock_is_held_by_a_runner,
    ticking.due_jobs_run,
    interpreter.classes_can_be_imported,
    permissions.files_can_be_written,
    permissions.config_is_protected,
    sides.one_list,
    sides.one_user,
    sides.one_python,
    sides.one_bgjob,
    sides.one_zone,
    sides.one_environment,
    database.file_system_is_local,
    disk.disk_has_room,
    disk.files_have_usual_sizes,
    database.clock_is_right,
    database.sqlite_is_sound,
    interpreter.python_starts_quickly,
)

SECONDS_A_CHECK = 15.0
_PATIENCE: dict[object, float] = {interpreter.classes_can_be_imported: interpreter.SECONDS_TO_IMPORT + 5}


class Told(NamedTuple):
    """A finding, and the name of the check that made it."""

    check: str
    finding: Finding


def examine(config: Config, now: dt.datetime) -> list[Told]:
    """Make all checks of the queue of `config` at `now`; return what they found, the weightiest first."""
    case = _case(config, now)
    told: dict[tuple[str, str], Told] = {}
    for check in CHECKS:
        for finding in _made(check, case, _PATIENCE.get(check, SECONDS_A_CHECK)):
            # A database that can't be read is told once, not by each check that needs it.
            told.setdefault((finding.severity, finding.what), Told(check.__name__, finding))
    return sorted(told.values(), key=lambda told: SEVERITIES.index(told.finding.severity))


def _made(check: Callable[[Case], Iterable[Finding]], case: Case, seconds: float) -> list[Finding]:
    """Return what a check finds, or that it could not be made: a file system may not answer, ever."""
    outcome: list[list[Finding]] = []

    def make() -> None:
        try:
            outcome.append(list(check(case)))
        except BgjobError as error:
            outcome.append([Finding(PROBLEM, str(error))])
        except Exception as error:  # noqa: BLE001  # one check must not cost the others
            outcome.append([_not_made(check, f"{type(error).__name__}: {error}")])

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else [_not_made(check, f"no answer within {seconds:g} s")]


def _not_made(check: Callable[[Case], Iterable[Finding]], why: str) -> Finding:
    promise = (check.__doc__ or check.__name__).rstrip(".")
    return Finding(WARNING, f"could not be checked ({why}): {promise}", "see that its files and commands answer")


def _case(config: Config, now: dt.datetime) -> Case:
    seen: list[Side] = []
    found: list[Start] = []
    blind_spots: list[str] = []
    is_there = reading.exists(config.database)

    def look() -> None:
        if is_there:
            try:
                with reading.ReadStore(config.database) as store:
                    seen.extend(side for row in store.fingerprints() if (side := _side(*row)))
            except BgjobError:
                pass  # the check of the database tells it
        lines, unread = starts.find({side.text("uid") for side in seen})
        found.extend(lines)
        blind_spots.extend(unread)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(SECONDS_A_CHECK)
    ticks, queueing = newest(seen, now)
    ours = files.at(config.path)
    return Case(
        config=config,
        now=now,
        exists=is_there,
        ticks=ticks,
        queueing=queueing,
        starts=[start for start in found if files.at(start.config) == ours],
        other_starts=[start for start in found if files.at(start.config) != ours],
        blind_spots=blind_spots,
    )


def _side(side: str, last_seen: str, facts: str) -> Side | None:
    when = instant(last_seen)
    try:
        told = json.loads(facts)
    except ValueError:
        return None
    return Side(side, when, told) if when and isinstance(told, dict) else None
