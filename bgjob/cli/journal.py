"""The two logs as a command writes to them: opened for a few lines, and trouble with them told."""

from __future__ import annotations

import contextlib

from bgjob.cli import page
from bgjob.logs import Logs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgjob.config import Config


@contextlib.contextmanager
def opened(config: Config) -> Iterator[Logs]:
    """Give the logs of `config` to a `with` block; what was done stays done where they can't be written."""
    logs = Logs.of(config)
    try:
        yield logs
    finally:
        trouble = logs.take_trouble()
        logs.close()
    if trouble:
        page.remark(f"bgjob: {trouble}")
