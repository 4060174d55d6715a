"""The memory that a worker and its runner share: what one writes, the other reads, and nothing else travels."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.slot import BUSY, ENDED, FILES_CLOSED, IDLE, SETTLING, STARTING, Slot
from bgjob.tally import VERBS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def slot() -> Iterator[Slot]:
    made = Slot()
    yield made
    made.close()


def in_a_worker(work: Callable[[], object]) -> int:
    """Do `work` in a forked process; return its exit code, or the signal as a negative number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001  # nothing of the child's may get into the test's process
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_new_slot_is_starting_without_a_job(slot: Slot) -> None:
    assert slot.state == STARTING
    assert slot.current() == (0, 0.0, 0.0)
    assert slot.must_stop is False
    assert slot.ending == ENDED
    assert slot.tally.counts() == dict.fromkeys(VERBS, 0)


@given(
    job_id=st.integers(1, 2**63 - 1),
    since=st.floats(0, allow_infinity=False),
    kill_at=st.floats(0, allow_infinity=False),
)
def test_what_begins_can_be_read_until_it_is_finished(job_id: int, since: float, kill_at: float) -> None:
    slot = Slot()

    slot.begin(job_id, since, kill_at)
    assert slot.current() == (job_id, since, kill_at)
    assert slot.state == BUSY
    slot.finish()

    assert slot.current() == (0, 0.0, 0.0)
    slot.close()


def test_a_note_without_a_job_leaves_the_state_alone(slot: Slot) -> None:
    slot.note(0, 1.5, 301.5)

    assert slot.current() == (0, 1.5, 301.5)
    assert slot.state == STARTING


def test_the_parts_do_not_overwrite_each_other(slot: Slot) -> None:
    slot.begin(2**63 - 1, 1.0, 2.0)
    for number, verb in enumerate(VERBS, 1):
        for _ in range(300 * number):
            slot.tally.count(verb, "", 0.5)
    slot.ask_to_stop()
    slot.state = IDLE
    slot.ending = FILES_CLOSED

    assert slot.current() == (2**63 - 1, 1.0, 2.0)
    assert slot.tally.counts() == {verb: 300 * number for number, verb in enumerate(VERBS, 1)}
    assert slot.must_stop
    assert slot.state == IDLE
    assert slot.ending == FILES_CLOSED
    assert not slot.has_mute_logs


def test_a_job_that_is_being_settled_can_be_told_from_one_that_runs(slot: Slot) -> None:
    slot.begin(7, 1.25, 9.5)

    slot.settle(7, 1.25, 129.5)

    assert slot.current() == (7, 1.25, 129.5)
    assert slot.state == SETTLING


def test_what_the_worker_writes_its_runner_reads_even_after_the_worker_was_killed(slot: Slot) -> None:
    def work() -> None:
        slot.begin(7, 1.25, 9.5)
        slot.tally.count("complete", "", 0.5)
        slot.tally.count("complete", "", 0.5)
        slot.tally.count("retry", "", 0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_worker(work) == -signal.SIGKILL

    assert slot.current() == (7, 1.25, 9.5)
    assert slot.state == BUSY
    assert slot.tally.counts() == {**dict.fromkeys(VERBS, 0), "complete": 2, "retry": 1}


def test_what_the_runner_asks_for_its_worker_sees(slot: Slot) -> None:
    reader, writer = os.pipe()

    def work() -> None:
        os.read(reader, 1)
        assert slot.must_stop

    pid = os.fork()
    if pid == 0:
        os._exit(in_a_worker(work))
    slot.ask_to_stop()
    os.write(writer, b".")

    assert os.waitpid(pid, 0)[1] == 0
    os.close(reader)
    os.close(writer)


def test_two_workers_have_nothing_in_common(slot: Slot) -> None:
    other = Slot()

    assert in_a_worker(lambda: slot.begin(5, 1.0, 2.0)) == 0

    assert other.current() == (0, 0.0, 0.0)
    assert other.state == STARTING
    other.close()


def test_a_verb_that_is_none_is_refused(slot: Slot) -> None:
    with pytest.raises(KeyError, match="claim"):
        slot.tally.count("claim", "", 0.5)
