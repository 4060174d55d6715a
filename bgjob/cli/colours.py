"""The few colours of the command line: on a terminal that has them, for a person who has not set NO_COLOR."""

from __future__ import annotations

import os

from bgjob.console import is_screen

GREEN, YELLOW, RED, BLUE, GREY, BOLD = "32", "33", "31", "34", "90", "1"

OF_STATUS = {"pending": YELLOW, "processing": BLUE, "completed": GREEN, "failed": RED, "cancelled": GREY}
OF_OUTCOME = {"succeeded": GREEN, "raised": RED, "timed out": RED, "crashed": RED}


def painted(text: str, colour: str | None, *, stream: int = 1) -> str:
    """Return `text` in a colour, or as it is where `stream` shows none; done last, once all is escaped and cut."""
    return f"\x1b[{colour}m{text}\x1b[0m" if text and colour and _are_shown(stream) else text


def _are_shown(stream: int) -> bool:
    return not os.environ.get("NO_COLOR") and is_screen(stream)
