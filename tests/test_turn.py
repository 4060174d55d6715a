"""Writers stand back for one that has waited too long, but not for ever."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bgjob import clock, enqueue, run_background_job, turn
from bgjob.store import connection
from tests.conftest import wait_until
from tests.test_store_connection import held_by_another_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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


def test_nobody_stands_back_where_nobody_waits(tmp_path: Path, naps: list[float]) -> None:
    mine = turn.Turn(str(tmp_path / "turn"))

    mine.wait()

    assert naps == []
    assert is_free(tmp_path / "turn")
    mine.close()


def test_who_comes_later_stands_back_until_the_other_one_is_through(
    tmp_path: Path, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = (turn.Turn(str(tmp_path / "turn")) for _ in range(2))
    other.take()
    after = {3: other.pass_on}

    def nap(seconds: float) -> None:
        naps.append(seconds)
        after.pop(len(naps), lambda: None)()

    monkeypatch.setattr(time, "sleep", nap)
    mine.wait()

    assert len(naps) == 3
    assert is_free(tmp_path / "turn")
    mine.close()
    other.close()


def test_nobody_waits_long_for_a_process_that_is_stopped_during_its_turn(
    tmp_path: Path, file: int, naps: list[float]
) -> None:
    fcntl.flock(file, fcntl.LOCK_EX)
    mine = turn.Turn(str(tmp_path / "turn"))

    mine.wait()
    assert turn.LONGEST_COURTESY <= sum(naps) < turn.LONGEST_COURTESY + 0.01

    mine.wait()
    assert sum(naps) < turn.LONGEST_COURTESY + 0.01  # not once more
    mine.close()


def test_a_turn_that_another_one_has_is_not_taken(tmp_path: Path, file: int) -> None:
    fcntl.flock(file, fcntl.LOCK_EX)
    mine = turn.Turn(str(tmp_path / "turn"))

    mine.take()
    mine.pass_on()

    assert not is_free(tmp_path / "turn")
    mine.close()


def test_a_turn_ends_with_its_file(tmp_path: Path) -> None:
    mine = turn.Turn(str(tmp_path / "turn"))
    mine.take()
    assert not is_free(tmp_path / "turn")

    mine.close()

    assert is_free(tmp_path / "turn")


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("nowhere/at all"), lambda path: path.mkdir(mode=0)])
def test_where_there_can_be_no_file_all_go_on(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "turn")
    mine = turn.Turn(str(tmp_path / "turn"))

    mine.wait()
    mine.take()
    mine.pass_on()
    mine.close()


def test_who_waits_for_the_database_too_long_takes_the_turn_and_passes_it_on(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE_WITH_NEWCOMERS", 0.0)
    assert run_background_job("app.jobs.Job")
    path = project.database.with_name("jobs.sqlite3.turn")
    with held_by_another_process(project) as let_go:
        queueing = threading.Thread(target=run_background_job, args=("app.jobs.Job",))
        queueing.start()
        wait_until(lambda: not is_free(path))
        let_go()
        queueing.join()

    assert is_free(path)
    assert len(project.jobs()) == 2
    assert enqueue._intake._database is not None
