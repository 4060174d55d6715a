"""For the tests of apps: queue nothing and look at what would be (`fake`), or run what is due right here (`drain`).

All of it holds for the whole process, its threads among them, and works with any test runner; pytest finds fixtures of
it by itself (`bgjob_fake`, `bgjob_queue`).
"""

from __future__ import annotations

from bgjob.testing.drain import Ran, drain
from bgjob.testing.fake import Fake, assert_not_queued, assert_nothing_queued, assert_queued, fake
from bgjob.testing.isolated import Queue, isolated
from bgjob.testing.recorded import Recorded

__all__ = [
    "Fake",
    "Queue",
    "Ran",
    "Recorded",
    "assert_not_queued",
    "assert_nothing_queued",
    "assert_queued",
    "drain",
    "fake",
    "isolated",
]
