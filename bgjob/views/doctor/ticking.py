"""Whether ticks come, whether what holds the queue is a runner that works, and whether due jobs get their turn."""

from __future__ import annotations

import os
import shlex
import time

from bgjob.console import ago, paused
from bgjob.store import reading
from bgjob.views import signs
from bgjob.views.doctor.cron import install, nothing_seen
from bgjob.views.doctor.finding import PROBLEM, WARNING, Finding
from bgjob.views.overview import instant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgjob.views.doctor.finding import Case


def ticks_come(case: Case) -> Iterator[Finding]:
    """A tick came within the last minutes, or a runner is at work."""
    last = case.last_tick
    if not case.is_silent or _is_runner_at_work(case):
        return
    what = f"no tick for {ago((case.now - last).total_seconds())}" if last else "no tick ever came"
    if not case.starts:
        yield Finding(PROBLEM, f"{what}, and {nothing_seen(case)}", install(case))
        return
    start = case.starts[0]
    if signs.is_cron_running() is False and start.where.startswith(("the crontab", "/etc/cron")):
        what += f", for no cron daemon runs; {start.where} has a line for it"
        yield Finding(PROBLEM, what, "systemctl enable --now cron (its service may be called crond)")
        return
    if start.where.endswith(".service"):
        unit = os.path.basename(start.where).removesuffix(".service")
        mend = f"systemctl enable --now {unit}.timer; journalctl -u {unit} tells what it says"
        yield Finding(PROBLEM, f"{what}, though there is {start.where}", mend)
        return
    mend = f"see what it says there: env -i HOME=$HOME PATH={start.variables['PATH']} sh -c {shlex.quote(start.line)}"
    yield Finding(PROBLEM, f"{what}, though {start.where} has a line for it", mend)


def _is_runner_at_work(case: Case) -> bool:
    if not case.exists:
        return False
    with reading.ReadStore(case.config.database) as store:
        return bool(signs.is_at_work(store))


_MOMENT = 0.3  # in which a doorman that tries the lock, or a worker that was just forked, has let go of it


def lock_is_held_by_a_runner(case: Case) -> Iterator[Finding]:
    """Whoever holds the queue lock is a runner that is not stopped."""
    path = case.database
    holder = signs.lock_holder(path) if signs.is_lock_held(path) else None
    if holder is None:
        return
    time.sleep(_MOMENT)
    if not signs.is_lock_held(path) or signs.lock_holder(path) != holder:
        return
    state = _read(f"/proc/{holder}/stat").rpartition(")")[2].split()[:1]
    command = _read(f"/proc/{holder}/cmdline").replace("\0", " ").strip()
    if state and state[0] in "Tt":
        what = f"process {holder}, which holds the queue, is stopped (Ctrl-Z, or SIGSTOP): no job runs until it goes on"
        yield Finding(PROBLEM, what, f"kill -CONT {holder}, or kill -KILL {holder}: the next tick takes over")
    elif holder != _runner_pid(case) and command:
        what = f"process {holder} holds the lock {path}.lock and is no runner ({command[:100]}): no tick can work"
        yield Finding(PROBLEM, what, f"let it lock another file (its own flock?), or end it: kill {holder}")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(4_096)
    except OSError:
        return ""


def _runner_pid(case: Case) -> int | None:
    with reading.ReadStore(case.config.database) as store:
        runner = store.last_runner()
    return runner.pid if runner and not runner.ended else None


def due_jobs_run(case: Case) -> Iterator[Finding]:
    """The queue is not paused, and no job is due for long while ticks come."""
    if not case.exists:
        return
    with reading.ReadStore(case.config.database) as store:
        count, first = store.counts(case.now).due, store.first_due(case.now)
        running = len(store.running())
        pause = store.pause()
    if pause:
        yield Finding(WARNING, f"the queue is {paused(*pause, now=case.now)}; no job starts", "bgjob resume")
        return
    since = instant(first.since) if first else None
    if first is None or since is None or case.is_silent:
        return
    waited = (case.now - since).total_seconds()
    if waited < case.config.alarm_after:
        return
    jobs = f"job {first.id} is due for {ago(waited)}" + (f", and {count - 1:,} more wait" if count > 1 else "")
    if running >= case.config.workers:
        workers = "the one worker is" if case.config.workers == 1 else f"all {case.config.workers} workers are"
        mend = "raise `workers` in the config; bgjob list --status running tells what takes long"
        yield Finding(WARNING, f"{jobs}: {workers} busy", mend)
    else:
        what = f"{jobs}, though ticks come and a worker is free"
        yield Finding(PROBLEM, what, f"bgjob show {first.id} tells why; background_runner.py -v shows what a tick does")
