"""What a page must not show: the values of params whose names say that they are secret."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import NamedTuple
from urllib import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from bgjob.store.reading import ProgressRow

MASKED = "•••"
_SHORTEST_SECRET = 4  # a shorter text would be found everywhere
_DEEPEST = 60
_CUT = re.compile(r"(\n\[… [0-9,]+ (?:bytes|characters) left out …\]\n)")  # as output.py and execution.py write it


class Masked(NamedTuple):
    """The params of one job without their secrets, and the means to take these out of other texts about the job."""

    params: Any  # as JSON has them; None where there are none
    secrets: tuple[str, ...] = ()
    is_json: bool = True

    @property
    def is_masked(self) -> bool:
        """Whether anything of the params is not shown."""
        return MASKED in self.line

    @property
    def line(self) -> str:
        """The params in one line; empty where there are none."""
        return self._text(indent=None)

    @property
    def block(self) -> str:
        """The params as a person reads them, in several lines."""
        return self._text(indent=2)

    def _text(self, indent: int | None) -> str:
        if self.params is None:
            return ""
        return json.dumps(self.params, ensure_ascii=False, indent=indent) if self.is_json else str(self.params)

    def hide(self, text: object) -> str:
        """Return `text` with the secrets of the params masked; another program may have written anything for it."""
        shown = "" if text is None else str(text)
        for secret in self.secrets:
            shown = shown.replace(secret, MASKED)
        if not (self.secrets and _CUT.search(shown)):
            return shown
        kept, *rest = _CUT.split(shown)
        for mark, after in zip(rest[::2], rest[1::2], strict=True):
            kept = f"{self._without_beginning(kept)}{mark}{self._without_end(after)}"
        return kept

    def _without_beginning(self, text: str) -> str:
        """Return a text that was cut off without what may be the beginning of a secret."""
        for secret in self.secrets:
            for length in range(len(secret) - 1, _SHORTEST_SECRET - 1, -1):
                if text.endswith(secret[:length]):
                    return f"{text[:-length]}{MASKED}"
        return text

    def _without_end(self, text: str) -> str:
        """Return a text whose beginning was cut off without what may be the end of a secret."""
        for secret in self.secrets:
            for length in range(len(secret) - 1, _SHORTEST_SECRET - 1, -1):
                if text.startswith(secret[-length:]):
                    return f"{MASKED}{text[length:]}"
        return text

    def hide_in(self, progress: ProgressRow | None) -> ProgressRow | None:
        """Return how far the job is with the secrets masked in what it says of that."""
        return progress._replace(text=self.hide(progress.text)) if progress else None


class Mask:
    """The patterns of a config."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Mask what stands under a name that one of the patterns fits, in any case; `*` stands for anything."""
        each = [fnmatch.translate(re.sub(r"[\[?]", r"[\g<0>]", pattern.lower())) for pattern in patterns]
        self._pattern = re.compile("|".join(each)) if each else None

    def applied(self, params_json: object) -> Masked:
        """Return the params of a job, given as they stand in its row."""
        if params_json is None:
            return Masked(None)
        secrets: set[str] = set()
        try:
            params = self._without_secrets(json.loads(params_json), secrets, _DEEPEST)  # type: ignore[arg-type]
        except (ValueError, TypeError, RecursionError):  # written by another program, and without names to look at
            return Masked(MASKED if self._pattern else str(params_json), is_json=False)
        written = {way for secret in secrets for way in _ways(secret) if len(way) >= _SHORTEST_SECRET}
        return Masked(params, tuple(sorted(written, key=len, reverse=True)))

    def _without_secrets(self, value: Any, secrets: set[str], depth: int) -> Any:  # noqa: ANN401  # what JSON holds
        if not depth:
            return MASKED
        if isinstance(value, dict):
            return {key: self._beside(key, each, secrets, depth) for key, each in value.items()}
        if isinstance(value, list):
            return [self._without_secrets(each, secrets, depth - 1) for each in value]
        return value

    def _beside(self, key: str, value: Any, secrets: set[str], depth: int) -> Any:  # noqa: ANN401  # as above
        if self._pattern is None or not self._pattern.match(key.lower()):
            return self._without_secrets(value, secrets, depth - 1)
        secrets.update(_texts(value))
        return MASKED


def _ways(secret: str) -> set[str]:
    """Return how a text may stand elsewhere: as it is, line by line, escaped as by Python, JSON, our logs, in a URL."""
    ways = {secret, *secret.splitlines(), repr(secret)[1:-1], ascii(secret)[1:-1], json.dumps(secret)[1:-1]}
    ways |= {quote(secret.encode("utf-8", "surrogatepass"), safe="") for quote in (parse.quote, parse.quote_plus)}
    return ways | {_as_logged(way) for way in ways}


def _as_logged(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped)


def _texts(value: Any) -> Sequence[str]:  # noqa: ANN401  # as above
    """Return the texts and numbers in a value, however deep."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [] if value is None or isinstance(value, bool) else [str(value)]
