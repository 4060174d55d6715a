"""What stands on top of every page: when the runner was last seen, and that cron must be dead."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bgjob import clock
from tests.visitor import add, look

if TYPE_CHECKING:
    from tests.conftest import Project


@pytest.mark.parametrize("address", ["/", "/jobs", "/jobs/1", "/ticks"])
@pytest.mark.parametrize(
    ("seconds", "light", "is_dead"), [(30, "fine", False), (100, "late", False), (121, "dead", True)]
)
def test_the_light_is_that_of_the_last_tick_and_a_dead_cron_is_told_in_words(
    project: Project, address: str, seconds: float, light: str, *, is_dead: bool
) -> None:
    add(project, {"id": 1, "job_class": "app.A"})
    then = clock.now().timestamp() - seconds
    sign = project.database.with_name(f"{project.database.name}.tick")
    sign.touch()
    os.utime(sign, (then, then))

    page = look(project).get(address).text

    assert f'class="pulse {light}"' in page
    assert ("Cron is dead." in page) == is_dead
