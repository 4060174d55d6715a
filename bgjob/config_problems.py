"""All that is wrong with one config file, one line for each: where, what, what is allowed, what was meant."""

from __future__ import annotations

from bgjob.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from yaml import Event, Node

# Nobody mends more in one go, and a hostile file must not cost a search for each of its lines.
MOST_PROBLEMS = 100
LONGEST_SHOWN = 60


class Problems:
    """The problems found so far in the file at `path`; lines and columns count from 1."""

    def __init__(self, path: str) -> None:
        """Begin with no problem."""
        self._path = path
        self._found: list[tuple[int, int, str]] = []

    def add(self, place: Node | Event, what: str, *, allowed: str = "", meant: str | None = None) -> None:
        """Note what is wrong where `place` begins; raises ConfigError with all of them when there are too many."""
        mark = place.start_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        self.add_at(line + 1, column + 1, what, allowed=allowed, meant=meant)

    def add_at(self, line: int, column: int, what: str, *, allowed: str = "", meant: str | None = None) -> None:
        """Note what is wrong at a line and column, both from 1."""
        text = what
        if allowed:
            text += f"; allowed: {allowed}"
        if meant is not None:
            text += f"; did you mean '{meant}'?"
        self._found.append((line, column, text))
        if len(self._found) == MOST_PROBLEMS:
            raise self.error()

    def error(self) -> ConfigError:
        """Return the error that tells all problems, in the order of the file."""
        ordered = sorted(self._found, key=lambda found: found[:2])
        lines = [f"{self._path}:{line}:{column}: {text}" for line, column, text in ordered]
        if len(lines) == MOST_PROBLEMS:
            lines.append(f"{self._path}: there may be more, these are the first {MOST_PROBLEMS}")
        return ConfigError(lines)

    def raise_if_any(self) -> None:
        """Raise ConfigError with all problems, unless there is none."""
        if self._found:
            raise self.error()


def shown(text: str) -> str:
    """Return `text` for a message: on one line, short, and with look-alikes of other alphabets told apart."""
    return ascii(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "...")


def closest(text: str, words: Iterable[str]) -> str | None:
    """Return the word that `text` is probably a slip of, or None."""
    from difflib import get_close_matches  # noqa: PLC0415 - 2 ms, and only an error needs it

    found = get_close_matches(text[:LONGEST_SHOWN], words, n=1)
    return found[0] if found else None
