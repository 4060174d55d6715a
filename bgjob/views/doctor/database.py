"""The database: its journal, its file system, the SQLite that writes it, and the clock of those who do."""

from __future__ import annotations

import re
import sqlite3

from bgjob import clock, mounts, watch
from bgjob.console import ago
from bgjob.store import reading
from bgjob.views.doctor.finding import NOTE, PROBLEM, WARNING, Finding
from bgjob.views.overview import instant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgjob.views.doctor.finding import Case


def database_can_be_read(case: Case) -> Iterator[Finding]:
    """There is a database of ours that can be read, in write-ahead logging."""
    if not case.exists:
        yield Finding(NOTE, f"there is no database {case.config.database} yet", "the first queued job or tick makes it")
        return
    # What stands in the way is raised, and told with its way out.
    with reading.ReadStore(case.config.database) as store:
        mode = store.journal_mode()
    if mode != "wal":
        what = (
            f"the database is in SQLite's journal mode {mode!r}: slower, and readers hold up writers; its file system "
            f"({mounts.kind_of(case.config.database) or 'unknown'}) may have no shared memory"
        )
        yield Finding(WARNING, what, "set `database:` in the config to a path on a local disk")


# No shared memory, or locks that others do not see (https://sqlite.org/wal.html, https://sqlite.org/howtocorrupt.html).
_NETWORK = (
    "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.", "gfs", "glusterfs", "lustre", "ncpfs", "nfs", "ocfs",
    "orangefs", "smb",
)  # fmt: skip
# Shared between a machine and its host.
_SHARED = ("9p", "drvfs", "fakeowner", "grpcfuse", "osxfs", "prl_fs", "vboxsf", "virtiofs", "vmhgfs")
_MEMORY = ("tmpfs", "ramfs")
_LOCAL_PATH = "set `database:` in the config to a path on a local disk (a volume, in a container)"


def file_system_is_local(case: Case) -> Iterator[Finding]:
    """The file system keeps what is written, and its locks hold."""
    kind = mounts.kind_of(case.config.database)
    if kind is None:
        return
    where = f"{case.config.database} lies on {kind}"
    if kind.startswith(_NETWORK) or kind.startswith(_SHARED):
        whose = "a network file system" if kind.startswith(_NETWORK) else "shared with another machine"
        yield Finding(
            PROBLEM, f"{where}, {whose}: SQLite's locks may not hold there, which damages the file", _LOCAL_PATH
        )
    elif kind in _MEMORY:
        yield Finding(WARNING, f"{where}, in memory: a restart of the machine loses all jobs", _LOCAL_PATH)
    elif kind == "overlay":
        yield Finding(NOTE, f"{where}, a container's own layer: all jobs are lost with the container", _LOCAL_PATH)


# First broken, first mended, where mended as well, what it is, and when it matters.
_SQLITE_BUGS = (
    (
        (3, 7, 0), (3, 51, 3), ((3, 44, 6), (3, 50, 7)),
        "two checkpoints at once can damage the file, very rarely (https://sqlite.org/wal.html#walresetbug)",
    ),
    (
        (3, 35, 0), (3, 35, 5), (),
        "ALTER TABLE DROP COLUMN, which bgjob does not use, can damage the file (https://sqlite.org/releaselog/3_35_5.html)",
    ),
)  # fmt: skip


def sqlite_is_sound(case: Case) -> Iterator[Finding]:
    """No version of SQLite is in use that is known to damage files."""
    versions = {sqlite3.sqlite_version, *(side.text("sqlite") for side in case.sides())}
    for text in sorted(versions):
        version = tuple(int(part) for part in re.findall(r"\d+", text))
        for first, mended, also, told in _SQLITE_BUGS:
            backported = any(version[:2] == fix[:2] and version >= fix for fix in also)
            if version and first <= version < mended and not backported:
                fixed = ", ".join(".".join(map(str, fix)) for fix in (*also, mended))
                what = f"SQLite {text} has a known bug: {told}"
                yield Finding(NOTE, what, f"use a Python build with SQLite {fixed} or newer; no need to hurry")


_AHEAD = 60.0


def clock_is_right(case: Case) -> Iterator[Finding]:
    """No rows and no tick come from the future: the clock was not set back."""
    if not case.exists:
        return
    with reading.ReadStore(case.config.database) as store:
        newest, last_tick = instant(store.newest_time()), watch.last_tick(store.path)
    for seen, when in (("the newest rows were written", newest), ("the last tick came", last_tick)):
        ahead = (when - case.now).total_seconds() if when else 0.0
        if when and ahead > _AHEAD:
            what = (
                f"{seen} {ago(ahead)} from now, at {clock.to_text(when)[:19]} UTC: this machine's clock was set back "
                "or is wrong; delayed jobs, retries and the alarm come that much later"
            )
            yield Finding(WARNING, what, "set the clock: timedatectl set-ntp true; jobs without a delay go on")
            return
