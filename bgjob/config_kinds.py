"""The kinds of values a config can hold: each reads one node, or notes what is wrong with it and what is allowed.

A kind is a function `(node, name, problems) -> value`; once it has noted a problem, its value is never used.
"""

from __future__ import annotations

import yaml

from bgjob import config_texts as texts
from bgjob.config_problems import closest, shown
from bgjob.config_yaml import REFUSED, is_plain_text, is_scalar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any, TypeAlias

    from bgjob.config_problems import Problems

    Kind: TypeAlias = Callable[[yaml.Node, str, Problems], Any]
    Table: TypeAlias = dict[str, tuple[Kind, Any]]  # key -> its kind and its default


def integer(minimum: int, maximum: int) -> Kind:
    """Return the kind for whole numbers from `minimum` to `maximum`."""
    return _number(texts.parse_integer, minimum, maximum, f"a whole number from {minimum} to {maximum}, plain digits")


def decimal(minimum: int, maximum: int) -> Kind:
    """Return the kind for plain decimal numbers from `minimum` to `maximum`, as float."""
    return _number(texts.parse_decimal, minimum, maximum, f"a number from {minimum} to {maximum}, such as 1.5")


def duration(minimum: float = 0) -> Kind:
    """Return the kind for spans of `minimum` seconds to 365 days, as float seconds."""
    least = f"at least {minimum:g}s, " if minimum else ""
    allowed = f"a number of seconds, or a number with ms, s, m, h or d, such as 10s or 1.5h; {least}at most 365d"
    return _number(texts.parse_duration, minimum, texts.LONGEST_DURATION, allowed)


def size(minimum: int, maximum: int) -> Kind:
    """Return the kind for sizes from `minimum` to `maximum` bytes."""
    bounds = f"{texts.size_text(minimum)} to {texts.size_text(maximum)}"
    allowed = f"a whole number of bytes, or one with KB, MB or GB, such as 10MB; {bounds}"
    return _number(texts.parse_size, minimum, maximum, allowed)


def choice(*words: str) -> Kind:
    """Return the kind for one of the `words`."""
    allowed = " or ".join(words)

    def read(node: yaml.Node, name: str, problems: Problems) -> str | None:
        text = _scalar_text(node, name, problems, allowed)
        if text is not None and text not in words:
            problems.add(node, f"{name} is {_described(node)}", allowed=allowed, meant=closest(text, words))
        return text

    return read


def yes_or_no(node: yaml.Node, name: str, problems: Problems) -> bool:
    """Read true or false; YAML's other words for them are an error here, since people mean names by some of them."""
    return bool(choice("true", "false")(node, name, problems) == "true")


def text_of(wrong: Callable[[str], str | None], allowed: str, *, words: Collection[str] = ()) -> Kind:
    """Return the kind for texts in which `wrong` finds no reason to refuse them; `words` are those often meant.

    What YAML reads as something else than text, such as `on`, must stand in quotes.
    """

    def read(node: yaml.Node, name: str, problems: Problems) -> str | None:
        text = _scalar_text(node, name, problems, allowed)
        if text is None:
            return None
        reason = wrong(text)
        if not is_plain_text(node):
            what = f"{name} is {_described(node)}, which YAML does not read as text; put it in quotes if it is meant so"
            problems.add(node, what, allowed=allowed, meant=None if reason else f'"{text}"')
        elif reason:
            problems.add(node, f"{name} {shown(text)} {reason}", allowed=allowed, meant=closest(text, words))
        return text

    return read


def items(node: yaml.Node, name: str, problems: Problems, allowed: str) -> list[yaml.Node]:
    """Return the nodes of a list; what is no list is a problem, and has none."""
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if node.tag != REFUSED:
        # Above all `methods: execute`, which must not be taken for the list of its letters.
        is_name = is_plain_text(node) and not texts.wrong_module_name(node.value)
        problems.add(
            node, f"{name} is {_described(node)}", allowed=allowed, meant=f"[{node.value}]" if is_name else None
        )
    return []


def read_keys(node: yaml.Node, name: str, problems: Problems, table: Table) -> dict[str, Any]:
    """Return the values of a mapping with keys of the `table`; the defaults are not filled in."""
    allowed = f"the keys {', '.join(table)}"
    if not isinstance(node, yaml.MappingNode):
        if node.tag != REFUSED:
            problems.add(node, f"{name} is {_described(node)}", allowed=f"a mapping with {allowed}")
        return {}
    values = {}
    for key, value in node.value:
        if not is_scalar(key) or key.tag == REFUSED:
            continue
        if key.value in table:
            values[key.value] = table[key.value][0](value, key.value, problems)
        else:
            what = f"{shown(key.value)} is no key of {name}"
            problems.add(key, what, allowed=allowed, meant=closest(key.value, table))
    return values


def _scalar_text(node: yaml.Node, name: str, problems: Problems, allowed: str) -> str | None:
    if is_scalar(node) and (node.value or node.style):
        return None if node.tag == REFUSED else str(node.value)
    problems.add(node, f"{name} is {_described(node)}", allowed=allowed)
    return None


def _described(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if is_scalar(node) and node.style:
        return f"the text {shown(node.value)} in quotes"
    return shown(node.value) if node.value else "empty"


def _number(parse: Callable[[str], float], minimum: float, maximum: float, allowed: str) -> Kind:
    def fits(text: str) -> bool:
        try:
            return minimum <= parse(text) <= maximum
        except ValueError:
            return False

    def read(node: yaml.Node, name: str, problems: Problems) -> float | None:
        text = _scalar_text(node, name, problems, allowed)
        if text is None:
            return None
        is_quoted_number = is_scalar(node) and bool(node.style) and text[-1:].isdigit()
        if fits(text) and not is_quoted_number:
            return parse(text)
        plain = text[: texts.MOST_DIGITS].replace(" ", "").replace("_", "")
        meant = next(filter(fits, (plain, plain.lower(), plain.upper(), plain.upper() + "B")), None)
        problems.add(node, f"{name} is {_described(node)}", allowed=allowed, meant=meant)
        return None

    return read
