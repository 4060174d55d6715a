"""The protocol of runners and workers holds in every state that its model can be in, and needs each of its parts."""

from __future__ import annotations

import pkgutil
import re

import pytest

from tests import protocol_model
from tests.protocol_model import DOUBLE_RUN, INNOCENT_KILLED, OUTDATED, OVERRUN, STUCK, Rules, explore

SLOW = pytest.mark.slow
ONLY_KILLS = Rules(deletes_lock=False, deletes_life=False)


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(ONLY_KILLS, id="two runners, kills"),
        pytest.param(ONLY_KILLS._replace(stops=True), id="two runners, kills, a worker that is stopped for good"),
        pytest.param(Rules(deletes_lock=False), id="two runners, kills, the life file deleted"),
        pytest.param(Rules(deletes_life=False), id="two runners, kills, the lock file deleted"),
        # With two jobs: 245,135 states.
        pytest.param(Rules(jobs=1), id="two runners, kills, both files deleted", marks=SLOW),
        pytest.param(ONLY_KILLS._replace(workers=3, jobs=3, limit=2), id="two runners, two jobs at once", marks=SLOW),
        pytest.param(ONLY_KILLS._replace(runners=3, workers=3), id="three runners, kills", marks=SLOW),
        # With both files deleted: 3,195,308 states, five minutes and 2.3 GB.
        pytest.param(
            Rules(runners=3, jobs=1, deletes_lock=False), id="three runners, the life file deleted", marks=SLOW
        ),
        pytest.param(
            Rules(runners=3, jobs=1, deletes_life=False), id="three runners, the lock file deleted", marks=SLOW
        ),
    ],
)
def test_no_job_runs_twice_or_beyond_the_limit_no_innocent_is_killed_and_nothing_is_stuck(rules: Rules) -> None:
    explored = explore(rules)

    assert (explored.broken, explored.way) == (None, [])


@pytest.mark.parametrize(
    ("left_out", "jobs", "broken"),
    [
        ("kills_before_rescue", 1, STUCK),  # PDEATHSIG ends the worker, but not what its job has started
        ("waits_until_gone", 1, DOUBLE_RUN),
        ("waits_until_gone", 2, OVERRUN),
        ("asks_who_lives", 1, INNOCENT_KILLED),
        ("limit_in_claim", 2, OVERRUN),
        ("newest_in_claim", 1, OUTDATED),
        ("settles_only_what_is_held", 2, OVERRUN),
    ],
)
def test_the_protocol_needs_each_of_its_parts(left_out: str, jobs: int, broken: str) -> None:
    explored = explore(ONLY_KILLS._replace(jobs=jobs, **{left_out: False}))

    assert explored.broken == broken
    assert explored.way


def test_a_rescue_that_neither_kills_nor_waits_runs_a_job_twice() -> None:
    explored = explore(ONLY_KILLS._replace(jobs=1, kills_before_rescue=False, waits_until_gone=False))

    assert explored.broken == DOUBLE_RUN
    assert explored.way[-1].startswith("worker 1: claim 0")


def test_the_table_of_steps_names_what_the_code_has_and_what_the_model_does() -> None:
    table = re.findall(r"^\| ([a-z][a-z0, ]+) \| (.+) \|$", protocol_model.__doc__ or "", flags=re.MULTILINE)[1:]
    told = {step for names, _ in table for step in names.split(", ")}
    named = [name for _, where in table for name in re.findall(r"`([\w.]+)`", where)]

    done = {re.sub(r"^(?:runner|worker) \d: ", "", step) for step in explore(Rules(deletes_lock=False)).steps}

    assert len(named) > 20
    assert [name for name in named if pkgutil.resolve_name(f"bgjob.{name}") is None] == []
    assert {step for step in told if not any(name.startswith(step) for name in done)} == set()
    assert {name for name in done if not any(name.startswith(step) for step in told)} == {
        "is killed",
        "is killed, not its child",
        "the life file is deleted",
    }
