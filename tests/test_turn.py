"""Writers take turns, but nobody waits long for one that is stopped during its turn."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bgjob import StoreError, clock, run_background_job, run_background_jobs, sql, turn
from bgjob.store.connection import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project


@contextlib.contextmanager
def held_by_another_process(path: Path) -> Iterator[Callable[[], None]]:
    """Have another process lock the file; yields the function that ends it."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        fcntl.lockf(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), fcntl.LOCK_EX)
        os.write(tell, b".")
        signal.pause()
    os.read(told, 1)
    ended = []

    def end() -> None:
        os.kill(child, signal.SIGKILL)
        ended.append(os.waitpid(child, 0))

    try:
        yield end
    finally:
        if not ended:
            end()
        os.close(told)
        os.close(tell)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was slept; the clock goes on by it and by nothing else."""
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    monkeypatch.setattr(clock, "monotonic", lambda: sum(naps))
    monkeypatch.setattr(turn, "_rude_until", {})
    return naps


def is_free(path: Path) -> bool:
    """Return whether another process could lock the file."""
    child = os.fork()
    if child == 0:
        try:
            fcntl.lockf(os.open(path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os._exit(1)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_turn_is_one_writers_until_it_passes_it_on(tmp_path: Path, naps: list[float]) -> None:
    mine = turn.Turn(str(tmp_path / "turn"))

    mine.take()
    assert not is_free(tmp_path / "turn")

    mine.pass_on()
    assert is_free(tmp_path / "turn")
    assert naps == []
    mine.close()


def test_a_turn_ends_with_its_file(tmp_path: Path) -> None:
    mine = turn.Turn(str(tmp_path / "turn"))
    mine.take()

    mine.close()

    assert is_free(tmp_path / "turn")


def test_a_writer_waits_until_the_other_one_is_through(
    tmp_path: Path, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = turn.Turn(str(tmp_path / "turn"))
    with held_by_another_process(tmp_path / "turn") as end:
        after = {3: end}

        def nap(seconds: float) -> None:
            naps.append(seconds)
            after.pop(len(naps), lambda: None)()

        monkeypatch.setattr(time, "sleep", nap)
        mine.take()

    assert len(naps) == 3
    assert not is_free(tmp_path / "turn")
    mine.close()


def test_nobody_waits_long_for_a_process_that_is_stopped_during_its_turn(tmp_path: Path, naps: list[float]) -> None:
    with held_by_another_process(tmp_path / "turn"):
        for _ in range(3):  # the second and third time not at all, and over whichever connection
            mine = turn.Turn(str(tmp_path / "turn"))
            mine.take()
            mine.pass_on()
            mine.close()
            assert turn.LONGEST_WAIT <= sum(naps) < turn.LONGEST_WAIT + 0.02
        assert not is_free(tmp_path / "turn")

    mine.take()
    assert not is_free(tmp_path / "turn")
    mine.close()


def test_what_is_forked_during_a_turn_does_not_keep_it(tmp_path: Path) -> None:
    mine = turn.Turn(str(tmp_path / "turn"))
    mine.take()
    child = os.fork()
    if child == 0:
        signal.pause()

    mine.close()

    assert is_free(tmp_path / "turn")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_file_that_took_the_number_of_the_turns_file_is_left_alone(tmp_path: Path) -> None:
    mine = turn.Turn(str(tmp_path / "turn"))
    mine.take()
    mine.pass_on()
    number = mine._file
    assert number is not None
    stranger = os.open(tmp_path / "stranger", os.O_RDWR | os.O_CREAT)
    os.dup2(stranger, number)
    fcntl.lockf(number, fcntl.LOCK_EX)

    mine.take()
    mine.pass_on()
    mine.close()

    assert not is_free(tmp_path / "stranger")
    os.close(number)
    os.close(stranger)


def test_a_file_that_somebody_closed_is_opened_again(tmp_path: Path) -> None:
    mine = turn.Turn(str(tmp_path / "turn"))
    for meanwhile in (mine.take, mine.pass_on):
        mine.take()
        assert mine._file is not None
        os.close(mine._file)
        meanwhile()
    mine.close()

    mine.take()
    assert not is_free(tmp_path / "turn")
    mine.close()


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("nowhere/at all"), lambda path: path.mkdir(mode=0)])
def test_where_there_can_be_no_file_all_go_on(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "turn")
    mine = turn.Turn(str(tmp_path / "turn"))

    mine.take()
    mine.pass_on()
    mine.close()


def test_who_queues_waits_for_its_turn_but_no_longer_than_a_second(project: Project, naps: list[float]) -> None:
    assert run_background_job("app.jobs.Job")
    assert run_background_jobs(["app.jobs.Job"] * 2)
    assert naps == []
    path = project.database.with_name("jobs.sqlite3.turn")
    assert is_free(path)

    with held_by_another_process(path):
        assert run_background_job("app.jobs.Job")

    assert turn.LONGEST_WAIT <= sum(naps) < turn.LONGEST_WAIT + 0.02
    assert len(project.jobs()) == 4


@contextlib.contextmanager
def an_open_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Have another connection write until somebody naps; yields whether the turn was free in each nap."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    was_free: list[bool] = []

    def nap(_: float) -> None:
        was_free.append(is_free(path.with_name("jobs.sqlite3.turn")))
        other.rollback()

    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", nap)
        yield was_free
    other.close()


def test_who_syncs_nothing_tries_without_a_turn_first(tmp_path: Path) -> None:
    path, lock = tmp_path / "jobs.sqlite3", tmp_path / "jobs.sqlite3.turn"
    quick, full = Database(str(path), durability="normal"), Database(str(path), durability="full")

    with full.transaction():
        assert not is_free(lock)
    with quick.transaction():
        assert is_free(lock)

    quick.close()
    full.close()


def test_who_met_another_writer_takes_turns_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, lock = tmp_path / "jobs.sqlite3", tmp_path / "jobs.sqlite3.turn"
    database = Database(str(path))
    instant = 5.0
    monkeypatch.setattr(clock, "monotonic", lambda: instant)

    with an_open_transaction(path, monkeypatch) as was_free, database.transaction():
        assert was_free == [False]
        assert not is_free(lock)
    assert is_free(lock)

    instant = 5.09
    with database.transaction():
        assert not is_free(lock)
    instant = 5.11
    with database.transaction():  # the first after that while still waits for its turn
        assert not is_free(lock)
    with database.transaction():
        assert is_free(lock)
    database.close()


def test_a_single_write_that_met_another_one_takes_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "jobs.sqlite3"
    database = Database(str(path))
    values = {"now": "2026-11-24 10:00:00.000000"}

    with an_open_transaction(path, monkeypatch) as was_free:
        database.write(sql.NOTE_RESUME, values)

    assert was_free == [False]
    assert is_free(tmp_path / "jobs.sqlite3.turn")
    assert database.fetch("SELECT resumed_at FROM housekeeping") == [(values["now"],)]
    database.close()


def test_the_turns_file_is_made_by_whoever_may_write(tmp_path: Path) -> None:
    path, lock = tmp_path / "jobs.sqlite3", tmp_path / "jobs.sqlite3.turn"
    Database(str(path)).close()
    lock.unlink()

    Database(str(path), read_only=True).close()
    assert not lock.exists()
    Database(str(path)).close()
    assert lock.exists()


def test_a_database_that_can_not_be_made_leaves_nothing_open(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.database.parent.mkdir(exist_ok=True)
    monkeypatch.setattr(sql, "MIGRATIONS", (("CREATE TABLE broken",),))
    before = sorted(Path("/proc/self/fd").iterdir())

    with pytest.raises(StoreError):
        Database(str(project.database))

    assert sorted(Path("/proc/self/fd").iterdir()) == before
    assert is_free(project.database.with_name("jobs.sqlite3.turn"))


def test_a_refused_write_passes_the_turn_on(project: Project) -> None:
    assert run_background_job("app.jobs.Job")
    database = Database(str(project.database), durability="full")
    path = project.database.with_name("jobs.sqlite3.turn")

    with pytest.raises(StoreError):
        database.write("INSERT INTO custom_jobs (priority) VALUES (:no)", {"no": "number"})
    assert is_free(path)

    with pytest.raises(ZeroDivisionError), database.transaction():  # noqa: PT012  # what holds meanwhile
        assert not is_free(path)
        raise ZeroDivisionError
    assert is_free(path)
    database.close()
