"""The question before many jobs are touched."""

from __future__ import annotations

import os
import sys

from bgjob.cli.exits import NoMatchError, WrongUsageError

MANY = 10  # more than so many are touched only after a yes


def ask(what: str) -> None:
    """Go on only after a yes.

    Raises WrongUsageError where nobody can be asked, NoMatchError after a no.
    """
    if not (os.isatty(0) and os.isatty(2)):
        raise WrongUsageError(f"this would {what}; say --yes to do it, or --dry-run to look first")
    sys.stderr.write(f"{what}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NoMatchError("nothing was changed")
