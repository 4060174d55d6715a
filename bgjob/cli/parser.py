"""The parser of a command of `bgjob`: what was typed wrongly is told in one line, as every error is."""

from __future__ import annotations

import argparse

from bgjob.cli.exits import WrongUsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that raises its errors, without the lines of usage before them."""

    def error(self, message: str) -> NoReturn:
        """Raise WrongUsageError."""
        raise WrongUsageError(f"{message}; see {self.prog} --help")
