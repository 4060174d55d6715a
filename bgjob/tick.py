"""The doorman: what cron starts each minute. It may only answer "surely nothing to do", and says yes on any doubt.

Written for start-up cost alone: it imports next to nothing, and removing it would change no behaviour.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the module `signal` costs a millisecond for its enums
import os
import sys
import time

from bgjob import memo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


def main(script: str) -> NoReturn:
    """Run one tick of the app whose `background_runner.py` is `script`, and exit."""
    # Until the runner listens; nothing has begun that would have to be ended. SIGTERM kills without a word by itself.
    _signal.signal(_signal.SIGINT, _exit)
    _open_standard_streams()
    config_path = config_beside(script)
    # A person at a terminal is told that nothing is due, or who is at work; that takes the rest of the code.
    if len(sys.argv) == 1 and not os.isatty(1) and _nothing_to_do(config_path):
        # Nothing is open and nothing was printed: no need to tidy up the interpreter.
        os._exit(0)
    from bgjob.cli.run import main as run

    sys.exit(run(sys.argv[1:], config_path=config_path, script=script))


def _exit(number: int, _frame: FrameType | None) -> None:
    """End as a shell expects of a program that a signal has stopped, without the traceback of a KeyboardInterrupt."""
    os._exit(128 + number)


def _open_standard_streams() -> None:
    """Put /dev/null where a standard descriptor is closed, or the database would get its number."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004  # standard error
        pass
    os.close(opened)


def config_beside(script: str) -> str:
    """Return the path of the config that belongs to a `background_runner.py`: $BGJOB_CONFIG, or the one beside it."""
    explicit = os.environ.get("BGJOB_CONFIG")
    if explicit:
        return explicit
    beside = os.path.join(os.path.dirname(os.path.abspath(script)), "config", "jobs.yaml")
    if not os.path.exists(beside) and os.path.islink(script):
        return os.path.join(os.path.dirname(os.path.realpath(script)), "config", "jobs.yaml")
    return beside


def _nothing_to_do(config_path: str) -> bool:
    remembered = memo.read(config_path)
    if remembered is None:
        return False
    database, always_start = remembered
    if always_start or not _surely_nothing(os.path.realpath(database)):
        return False
    memo.leave_sign_of_life(os.path.realpath(database))
    return True


def _surely_nothing(database: str) -> bool:
    """Return whether nothing is due, or a young runner has the queue; and no job's runner is dead."""
    import _sqlite3  # without the package around it, which costs half as much again

    from bgjob import files, sql

    connection = None
    try:
        connection = _sqlite3.connect(f"file://{files.quoted(database)}?mode=ro", uri=True, timeout=1)
        if connection.execute(sql.ANYTHING_DUE, {"now": _end_of_second()}).fetchone()[0]:
            newest = connection.execute(sql.NEWEST_RUNNER).fetchone()
            if newest is None:
                return False
            number, _, lingers, started, ended = newest
            # A runner that lingers or is old gives way to us.
            if lingers or started <= _end_of_second(_OLD_AFTER) or not _is_queue_taken(database):
                return False
            # Others have the lock for a moment longer: a runner that ends, or the worker that a killed one was forking.
            return ended is None and _all_alive(database, [number])
        runners = [number for (number,) in connection.execute(sql.RUNNERS_AT_WORK)]
    except _sqlite3.Error:
        return False
    finally:
        # By hand: a connection and its cache of statements hold each other, and the runner forks with none open.
        if connection is not None:
            connection.close()
    return not runners or _all_alive(database, runners)


_OLD_AFTER = 54.0  # a second less than the runner's own measure, for on a doubt we go on


def _end_of_second(ago: float = 0.0) -> str:
    """Return the database's text for the end of this second, or of one that was so many seconds `ago`.

    A job that falls due within it is doubt enough. Not by clock.py, for the module datetime costs two milliseconds.
    """
    return time.strftime("%Y-%m-%d %H:%M:%S.999999", time.gmtime(time.time() - ago))  # noqa: TID251  # as just said


def _is_queue_taken(database: str) -> bool:
    """Return whether the queue lock is held; whoever finds it free goes on to take it in earnest."""
    import fcntl

    try:
        lock = os.open(f"{database}.lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _all_alive(database: str, runners: list[int]) -> bool:
    from bgjob.errors import LockError
    from bgjob.life import LifeFile

    try:
        life = LifeFile(f"{database}.life")
        return all(life.is_held(number) for number in runners)
    except LockError:
        return False
