"""`background_runner.py`: one tick, and the ways to look at it or steer it by hand."""

from __future__ import annotations

import datetime as dt
import sys
import time
import traceback

from bgjob import clock, config, fingerprint, memo, wake
from bgjob.console import Console, held_up, paused, since
from bgjob.errors import BgjobError, ConfigError, LockError, StoreError
from bgjob.life import NEXT_IN_LINE, LifeFile
from bgjob.lock import QueueLock
from bgjob.logs import Logs
from bgjob.runner import CONFIG_WRONG, FINE, OUR_BUG, STORE_UNUSABLE, Runner
from bgjob.store.connection import Database
from bgjob.store.fingerprints import leave
from bgjob.store.jobs import JobStore
from bgjob.store.pause import PauseStore
from bgjob.store.runners import RunnerStore
from bgjob.store.upkeep import Upkeep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.config import Config
    from bgjob.ping import Pings
    from bgjob.store.pause import Pause
    from bgjob.store.runners import RunnerRow

A_JOB_FAILED = 1

# A runner that is still at work after the next tick has come gives way to it, so that newer code on the disk is used.
OLD_AFTER = dt.timedelta(seconds=55)  # less than cron's minute, which two starts never hit exactly
_SECONDS_IN_LINE = 2.0
_SECONDS_TO_REPORT = 20.0


class Options:
    """What the command line asked for."""

    def __init__(self) -> None:
        """Ask for a plain tick."""
        self.config: str | None = None
        self.check = False
        self.dry_run = False
        self.at: str | None = None
        self.job: int | None = None
        self.in_process = False
        self.loop = False
        self.workers: int | None = None
        self.linger: float | None = None
        self.verbose = False
        self.tell = False
        self.quiet = False
        self.exit_code = False


def main(arguments: list[str], *, config_path: str, script: str) -> int:
    """Do what the command line asks for and return the exit code; no traceback of ours reaches the user."""
    options = Options()
    if arguments:
        from bgjob.cli.arguments import parse  # argparse costs 10 ms that a plain tick need not pay

        parse(arguments, options, program=config.SCRIPT if script else "bgjob run")
    console = Console(quiet=options.quiet, tell=options.tell or options.verbose)
    try:
        return _dispatch(options, options.config or config_path, script, console)
    except ConfigError as error:
        console.warn(str(error))
        return CONFIG_WRONG
    except (StoreError, LockError) as error:
        console.warn(str(error))
        return STORE_UNUSABLE
    except BgjobError as error:
        console.warn(str(error))
        return A_JOB_FAILED
    except KeyboardInterrupt:
        return 130
    except Exception:  # noqa: BLE001  # the outermost edge: a bug of ours must read as one
        console.warn(f"this is a bug in bgjob, please report it:\n{traceback.format_exc()}")
        return OUR_BUG


def _dispatch(options: Options, config_path: str, script: str, console: Console) -> int:
    if options.loop:
        from bgjob.cli.loop import loop

        return loop(script, options)
    settings = config.read_config(config_path)
    if options.check:
        from bgjob.cli.check import check

        return check(settings)
    if options.dry_run:
        from bgjob.cli.dry_run import dry_run

        return dry_run(settings, options.at)
    return tick(settings, options, console)


def _overridden(settings: Config, options: Options) -> Config:
    if options.workers is not None:
        settings = settings.but(workers=options.workers)
    if options.linger is not None:
        settings = settings.but(linger=options.linger)
    return settings


def tick(written: Config, options: Options, console: Console) -> int:
    """Run one tick in full and return its exit code; `written` is the config as it stands in its file."""
    settings = _overridden(written, options)
    pings: Pings | _Unheard = _Unheard()
    if settings.ping_url is not None and options.job is None and not options.in_process:
        from bgjob.ping import Pings

        pings = Pings(settings)
    try:
        code, was_stopped = _tick(written, settings, options, console, pings)
    finally:
        pings.end()
    if not (was_stopped or options.job is not None or options.in_process):
        _write_report(settings)
    return code


class _Unheard:
    """In the place of Pings where the config names nobody, or a person tries something: nobody is told."""

    def begin(self) -> None: ...
    def well(self) -> None: ...
    def hurry(self) -> None: ...
    def end(self) -> None: ...


def _tick(
    written: Config, settings: Config, options: Options, console: Console, pings: Pings | _Unheard
) -> tuple[int, bool]:
    """Return the exit code, and whether a signal ended the tick."""
    database = Database(settings.database)
    with database.errors_explained():
        try:
            _leave_signs(written, settings, options, database)
            wanted = _is_runner_wanted(settings, database, only=options.job)
            newest = RunnerStore(database).newest()
            if not wanted:
                _tell_why_nothing(console, PauseStore(database).current())
                _keep_metrics(settings)
                pings.well()
                return FINE, False
        finally:
            database.close()
        lock, life = QueueLock(f"{database.path}.lock"), LifeFile(f"{database.path}.life")
        if not _take_or_line_up(lock, life, newest, database.path):
            _tell_who_works(console, newest, wanted=options.job)
            if options.job is None and not _look_after_alarms(settings, console):
                pings.well()
            return FINE, False
        try:
            logs = Logs.of(settings)
            runner = Runner(settings, lock=lock, life=life, logs=logs, console=console, verbose=options.verbose)
            pings.begin()
            ended = runner.run(only=options.job, in_process=options.in_process)
            if options.job is not None and runner.was_held_up:
                raise BgjobError(f"the queue was paused in this very moment; job {options.job} was not started")
            if runner.went_well:
                pings.well()
            if runner.was_stopped:
                pings.hurry()
        finally:
            lock.give_back()
    code = A_JOB_FAILED if ended == FINE and options.exit_code and runner.failed else ended
    return code, runner.was_stopped


def _leave_signs(written: Config, settings: Config, options: Options, database: Database) -> None:
    """Leave what the next doorman, the processes that queue and the doctor look for."""
    # What the options change is no matter of the next tick's.
    told_each_tick = (written.ping_url, written.metrics_file, written.report_file)
    always_start = written.linger > 0 or any(each is not None for each in told_each_tick)
    memo.write(written.path, written.content, database=settings.database, always_start=always_start)
    memo.leave_sign_of_life(database.path)
    fingerprint.is_tick = True
    if options.job is None and not options.in_process:  # else it is a person, whose surroundings are others
        leave(database, fingerprint.TICK, fingerprint.take(settings), clock.now())


def _is_runner_wanted(settings: Config, database: Database, *, only: int | None) -> bool:
    store = JobStore(database)
    if only is not None:
        _refuse_unless_pending(store, only)
        _refuse_while_paused(PauseStore(database).current(), only)
        return True
    now = clock.now()
    return settings.linger > 0 or store.is_anything_to_do(now) or Upkeep(database, keep=settings.keep).is_due(now)


def _refuse_unless_pending(store: JobStore, job_id: int) -> None:
    status = store.status_of(job_id)
    if status is None:
        raise BgjobError(f"there is no job {job_id} in {store.database.path}; is it the right --config?")
    if status != "pending":
        raise BgjobError(f"job {job_id} is {status}; only a pending job can be run (README: by hand)")


def _refuse_while_paused(pause: Pause | None, job_id: int) -> None:
    if pause is not None:
        told = paused(*pause, now=clock.now())
        raise BgjobError(f"the queue is {told}; job {job_id} was not started. To let jobs start again: bgjob resume")


def _tell_why_nothing(console: Console, pause: Pause | None) -> None:
    if pause is None:
        console.say("  nothing is due")
    else:
        console.say(f"  {held_up(pause, clock.now())}")


def _keep_metrics(settings: Config) -> None:
    """Write the figures also when nothing is due: that a tick came is one of them."""
    if settings.metrics_file is None:
        return
    from bgjob import metrics

    trouble = metrics.keep(settings, clock.now())
    if trouble:
        logs = Logs(settings.log_directory, max_size=settings.log_max_size, files=settings.log_files)
        logs.trouble(clock.now(), what=trouble)
        logs.close()


def _write_report(settings: Config) -> None:
    """Let a process of its own write the page, once nothing is held any more that others want."""
    if settings.report_file is None:
        return
    import subprocess

    command = [sys.executable, "-m", "bgjob", "--config", settings.path, "report", settings.report_file]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS_TO_REPORT)  # noqa: S603  # ours
        told = done.stderr.decode("utf-8", "backslashreplace").strip() if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        told = str(error)
    if told:
        logs = Logs.of(settings)
        logs.trouble(clock.now(), what=f"report_file: {settings.report_file} can't be written ({told})")
        logs.close()


def _take_or_line_up(lock: QueueLock, life: LifeFile, newest: RunnerRow | None, path: str) -> bool:
    """Take the queue lock; if a runner that lingers or is old has it, ask for it as the next in line."""
    if lock.take():
        return True
    if newest is None or newest.ended or not life.is_held(newest.id):
        # The lock is about to be free: its runner ends, or was killed while it forked a worker, or works on a file that
        # was deleted or replaced since; or another newcomer was quicker.
        wake.ping(path)
        return _take_soon(lock)
    if not (newest.lingers or clock.now() - clock.from_text(newest.started) >= OLD_AFTER):
        return False
    if not life.hold(NEXT_IN_LINE):
        return False
    wake.ping(path)
    if _take_soon(lock):
        return True
    life.free(NEXT_IN_LINE)
    return False


def _take_soon(lock: QueueLock) -> bool:
    until = clock.monotonic() + _SECONDS_IN_LINE
    while clock.monotonic() < until:
        if lock.take():
            return True
        time.sleep(0.005)
    return False


def _look_after_alarms(settings: Config, console: Console) -> bool:
    """Do what the runner at work can't if it hangs; return whether a job is overdue."""
    from bgjob import alarm

    database = Database(settings.database)
    try:
        logs = Logs.of(settings)
        return alarm.look_after(database, settings, clock.now(), logs=logs, console=console)
    finally:
        database.close()


def _tell_who_works(console: Console, newest: RunnerRow | None, *, wanted: int | None) -> None:
    who = "another process"
    if newest and not newest.ended:
        who = f"process {newest.pid}, since {since(newest.started, clock.now())}"
    if wanted is not None:
        console.warn(f"another runner is at work ({who}), so job {wanted} was not started; try again when it has ended")
    else:
        console.say(f"  another runner is at work: {who}")
