"""pytest's door: fixtures that it finds by itself where bgjob is installed. Nothing happens unless a test asks for one.

Every pytest start of every project loads this module, so it imports nothing that pytest does not have.
"""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bgjob.testing import Fake, Queue


@pytest.fixture
def bgjob_fake() -> Iterator[Fake]:
    """Record the jobs that the test queues instead of writing them: see `bgjob.testing.fake`."""
    from bgjob import testing  # noqa: PLC0415  # as said above

    with testing.fake() as fake:
        yield fake


@pytest.fixture
def bgjob_queue(tmp_path: Path) -> Iterator[Queue]:
    """Give the test a queue of its own, with the project's config: see `bgjob.testing.isolated`."""
    from bgjob import testing  # noqa: PLC0415  # as said above

    with testing.isolated(tmp_path / "bgjob" / "jobs.sqlite3") as queue:
        yield queue
