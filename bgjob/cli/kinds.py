"""The kinds of values that a person types: an id, a priority, a span, a text."""

from __future__ import annotations

import argparse

from bgjob.config_texts import parse_duration


def job_id(typed: str) -> int:
    """Return the job's id that was typed."""
    if not (typed.isascii() and typed.isdigit() and len(typed) < _DIGITS and 0 < int(typed) < 2**63):
        message = f"{typed!r} is no job id; ids are whole numbers from 1"
        raise argparse.ArgumentTypeError(message)
    return int(typed)


_DIGITS = 20  # of the largest id, and one more


def priority(typed: str) -> int:
    """Return the priority that was typed."""
    try:
        number = int(typed)
    except ValueError:
        number = 2**63
    if not -(2**63) <= number < 2**63:
        message = f"{typed!r} is no priority; any whole number of 64 bits is"
        raise argparse.ArgumentTypeError(message)
    return number


def text(typed: str) -> str:
    """Return the text that was typed, unless it is one that no database could hold."""
    if not typed.isascii() and typed.encode("utf-8", "replace").decode() != typed:
        message = f"{typed!r} is no UTF-8"
        raise argparse.ArgumentTypeError(message)
    return typed


def span(typed: str) -> float:
    """Return the seconds of the span that was typed."""
    try:
        return parse_duration(typed)
    except ValueError:
        message = f"{typed!r} is no span; write seconds, or a number with ms, s, m, h or d, such as 90s"
        raise argparse.ArgumentTypeError(message) from None
