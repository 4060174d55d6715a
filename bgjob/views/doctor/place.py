"""Where the queue is: the same file for both sides, and not in a folder that the next release leaves behind."""

from __future__ import annotations

import os
import re
import shlex

from bgjob import clock, files
from bgjob.store import reading
from bgjob.views.doctor.finding import NOTE, PROBLEM, WARNING, Finding
from bgjob.views.doctor.sides import user_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from bgjob.views.doctor.finding import Case


def one_file(case: Case) -> Iterator[Finding]:
    """Each side uses the file that is examined."""
    ours = os.path.realpath(case.config.database)
    for side in case.sides():
        theirs = side.text("real_path")
        if not theirs or theirs == ours:
            continue
        who = "the ticks look at" if side is case.ticks else f"{user_name(side.facts.get('uid'))} queues into"
        now_at = files.at(theirs)
        if now_at is None:
            what = f"this queue was at {theirs} when it was used last ({side.side}), and is at {ours} now"
            yield Finding(NOTE, what, "none, if it was moved or copied on purpose")
        elif now_at != files.at(ours):
            what = f"{who} {theirs}, which is another file than {ours}: jobs are queued where no tick looks"
            mend = f"write one absolute path into both configs, such as `database: {ours}`, and restart the app"
            yield Finding(PROBLEM, what, mend)


# A release's own folder: its name is a time, a version or a commit, or it lies in a folder of releases.
_RELEASE = re.compile(r"\d{6,}|v?\d+([._-]\d+)+|(?=.*\d)[0-9a-f]{7,40}")
_RELEASES = ("builds", "deployments", "deploys", "releases", "versions")
_MOST_RELEASES = 100
_SECONDS_OF_SEARCH = 5.0


def no_release_strands_jobs(case: Case) -> Iterator[Finding]:
    """The queue is not in the folder of a release, and no jobs wait in that of an earlier one."""
    root = os.path.realpath(case.config.root)
    inside = os.path.relpath(os.path.realpath(case.config.database), root)
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
            yield from _stranded(folder, inside, case.now, ours=os.path.realpath(case.config.database))


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _stranded(folder: str, inside: str, now: dt.datetime, *, ours: str) -> Iterator[Finding]:
    path = os.path.realpath(os.path.join(folder, inside))
    if path == ours or not os.path.isfile(path):
        return
    try:
        with reading.ReadStore(path) as store:
            counts = store.counts(now)
    except Exception:  # noqa: BLE001  # another program's file, or one that can't be read, strands no job of ours
        return
    if count := counts.due + counts.waiting:
        jobs = "1 job waits" if count == 1 else f"{count:,} jobs wait"
        what = f"{jobs} in {path}, the queue of another release, where no tick looks any more"
        yield Finding(PROBLEM, what, f"run them: cd {shlex.quote(folder)} && .venv/bin/python background_runner.py")
