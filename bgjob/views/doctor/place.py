"""Where the queue is: the same file for both sides, and not in a folder that the next release leaves behind."""

from __future__ import annotations

import os
import re
import shlex

from bgjob import clock, files, watch
from bgjob.errors import BgjobError
from bgjob.store import reading
from bgjob.views.doctor.finding import NOTE, PROBLEM, WARNING, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from bgjob.views.doctor.finding import Case


def one_file(case: Case) -> Iterator[Finding]:
    """Each side uses the file that is examined, and no jobs wait in another one that a side has used."""
    ours = case.database
    for theirs in sorted({side.text("real_path") for side in case.sides()} - {"", ours}):
        sides = [side for side in case.sides() if side.text("real_path") == theirs]
        who = " and ".join(dict.fromkeys("the ticks" if side is case.ticks else "the app" for side in sides))
        if files.at(theirs) == files.at(ours):
            continue
        # What stands here was copied or moved from there.
        count = _waiting(theirs, case.now)
        if count and watch.is_silent(watch.last_tick(theirs), case.now):
            what = f"{who} used {theirs} before, where {_jobs(count)} and no tick looks; this one is {ours}"
            mend = (
                f"write one absolute path into the configs of both sides, such as `database: {ours}`; restart the app"
            )
            yield Finding(PROBLEM, what, mend)
        else:
            what = f"{who} used this queue at {theirs} before; it is at {ours} now"
            yield Finding(NOTE, what, "none, if it was moved or copied on purpose")


def _waiting(path: str, now: dt.datetime) -> int:
    """Return how many jobs wait in another database; none in one that is not there, not ours, or can't be read."""
    if not os.path.isfile(path):
        return 0
    try:
        with reading.ReadStore(path) as store:
            counts = store.counts(now)
    except BgjobError:
        return 0
    return counts.due + counts.waiting


def _jobs(count: int) -> str:
    return "1 job waits" if count == 1 else f"{count:,} jobs wait"


# A release's own folder: its name is a time, a version or a commit, or it lies in a folder of releases.
_RELEASE = re.compile(r"\d{6,}|v?\d+([._-]\d+)+|(?=.*\d)[0-9a-f]{7,40}")
_RELEASES = ("builds", "deployments", "deploys", "releases", "versions")
_MOST_RELEASES = 100
_SECONDS_OF_SEARCH = 5.0


def no_release_strands_jobs(case: Case) -> Iterator[Finding]:
    """The queue is not in the folder of a release, and no jobs wait in that of an earlier one."""
    root = os.path.realpath(case.config.root)
    inside = os.path.relpath(case.database, root)
    above, name = os.path.split(root)
    is_release = os.path.basename(above) in _RELEASES or _RELEASE.fullmatch(name)
    if not is_release or inside.startswith(".."):
        return
    what = f"the queue lies in the folder of a release ({root}): the next release begins with an empty one"
    shared = os.path.join(os.path.dirname(above), "shared", os.path.basename(inside))
    yield Finding(WARNING, what, f"write `database: {shared}` into the config, or make storage/ a link to one folder")
    until = clock.monotonic() + _SECONDS_OF_SEARCH
    others = sorted((entry.path for entry in os.scandir(above) if entry.is_dir()), key=_changed, reverse=True)
    for folder in others[:_MOST_RELEASES]:
        if clock.monotonic() >= until:
            return
        if os.path.realpath(folder) != root:
            yield from _stranded(folder, inside, case.now, ours=case.database)


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _stranded(folder: str, inside: str, now: dt.datetime, *, ours: str) -> Iterator[Finding]:
    path = os.path.realpath(os.path.join(folder, inside))
    count = _waiting(path, now) if path != ours else 0
    if count:
        what = f"{_jobs(count)} in {path}, the queue of another release, where no tick looks any more"
        yield Finding(PROBLEM, what, f"run them: cd {shlex.quote(folder)} && .venv/bin/python background_runner.py")
