"""Writers take turns, but nobody waits long for one that is stopped during its turn."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bgjob import StoreError, clock, run_background_job, run_background_jobs, sql, turn
from bgjob.store.connection import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """Somebody else's descriptor of the lock file."""
    file = os.open(tmp_path / "turn", os.O_RDONLY | os.O_CREAT)
    yield file
    os.close(file)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was slept; the clock goes on by it and by nothing else."""
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    monkeypatch.setattr(clock, "monotonic", lambda: sum(naps))
    return naps


def is_free(path: Path) -> bool:
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


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
    mine, other = (turn.Turn(str(tmp_path / "turn")) for _ in range(2))
    other.take()
    after = {3: other.pass_on}

    def nap(seconds: float) -> None:
        naps.append(seconds)
        after.pop(len(naps), lambda: None)()

    monkeypatch.setattr(time, "sleep", nap)
    mine.take()

    assert len(naps) == 3
    assert not is_free(tmp_path / "turn")
    mine.close()
    other.close()


def test_nobody_waits_long_for_a_process_that_is_stopped_during_its_turn(
    tmp_path: Path, file: int, naps: list[float]
) -> None:
    fcntl.flock(file, fcntl.LOCK_EX)
    mine = turn.Turn(str(tmp_path / "turn"))

    for _ in range(3):  # the second and third time not at all
        mine.take()
        mine.pass_on()
        assert turn.LONGEST_WAIT <= sum(naps) < turn.LONGEST_WAIT + 0.02
    assert not is_free(tmp_path / "turn")

    fcntl.flock(file, fcntl.LOCK_UN)
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

    file = os.open(path, os.O_RDONLY)
    fcntl.flock(file, fcntl.LOCK_EX)
    assert run_background_job("app.jobs.Job")
    os.close(file)

    assert turn.LONGEST_WAIT <= sum(naps) < turn.LONGEST_WAIT + 0.02
    assert len(project.jobs()) == 4


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
    database = Database(str(project.database))
    path = project.database.with_name("jobs.sqlite3.turn")

    with pytest.raises(StoreError):
        database.write("INSERT INTO custom_jobs (priority) VALUES (:no)", {"no": "number"})
    assert is_free(path)

    with pytest.raises(ZeroDivisionError), database.transaction():  # noqa: PT012  # what holds meanwhile
        assert not is_free(path)
        raise ZeroDivisionError
    assert is_free(path)
    database.close()
