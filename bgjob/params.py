"""Params as JSON: each comes back exactly as it went in (a tuple as a list), or is refused."""

from __future__ import annotations

import json

from bgjob.errors import InvalidParamsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# Python refuses to read longer whole numbers by default (sys.set_int_max_str_digits), so we refuse to write them.
LARGEST_INT = 10**4_300 - 1
DEEPEST = 100

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def encode(params: object, *, limit: int) -> str | None:
    """Return the JSON text for `params`, at most `limit` bytes long in UTF-8; None for None.

    Allowed are None, or a dict, list or tuple of: dict with str keys, list, tuple, str, int, finite float, bool, None;
    nested at most 100 deep. Exactly these types: a subclass would come back as something else.
    Raises InvalidParamsError for anything else.
    """
    if params is None:
        return None
    if type(params) not in (dict, list, tuple):
        message = (
            f"params must be a dict (keyword arguments), a list or tuple (positional ones) or None, "
            f"not {_kind(params)}{_hint(params)}"
        )
        raise InvalidParamsError(message)
    try:
        _check(params, "params", 1, _Budget(limit))
        text = _encoder.encode(params)
        size = len(text.encode())
    except UnicodeEncodeError:
        message = "params contain text with a lone surrogate, which can't be written as UTF-8; mend or drop that text"
        raise InvalidParamsError(message) from None
    except InvalidParamsError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:  # another thread may change the params meanwhile
        message = f"params can't be written as JSON: {error}"
        raise InvalidParamsError(message) from None
    if size > limit:
        raise _too_large(limit, f"are {size:,} bytes of JSON")
    return text


class _Budget:
    """How many bytes of JSON may still come, counted low.

    It makes a small structure that holds itself, or one long text, many times over (2 to the power of 60) end at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit

    def spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _too_large(self._limit, "are too large")


def _check(value: Any, where: str, depth: int, budget: _Budget) -> None:  # noqa: ANN401  # that is the question
    """Refuse the first value that would not come back as it is."""
    kind = type(value)
    budget.spend(len(value) + 2 if kind is str else 1)
    if kind is str or value is None or kind is bool:
        return
    if kind is int:
        if value.bit_length() > _PLAIN_INT_BITS:
            budget.spend(value.bit_length() // 4)
        if not -LARGEST_INT <= value <= LARGEST_INT:
            message = f"{where} is a whole number of more than 4,300 digits; hand it over as text"
            raise InvalidParamsError(message)
    elif kind is float:
        if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124  # NaN is what differs from itself
            message = f"{where} is {value}, which JSON can't hold; hand over None or a text instead"
            raise InvalidParamsError(message)
    elif kind in (dict, list, tuple):
        _check_items(value, where, depth, budget)
    else:
        message = (
            f"{where} is {_kind(value)}, which JSON can't hold; allowed are dict, list, tuple, str, int, float, bool "
            f"and None{_hint(value)}"
        )
        raise InvalidParamsError(message)


def _check_items(value: Any, where: str, depth: int, budget: _Budget) -> None:  # noqa: ANN401  # a dict or a list
    if depth > DEEPEST:
        message = f"params are nested more than {DEEPEST} deep (or contain themselves); hand over something flatter"
        raise InvalidParamsError(message)
    is_dict = type(value) is dict
    for key, item in list(value.items()) if is_dict else enumerate(value):
        if is_dict:
            if type(key) is not str:
                message = f"{where} has the key {_shown(key)} of type {_kind(key)}; JSON keys are text: use str keys"
                raise InvalidParamsError(message)
            budget.spend(len(key) + 3)
        _check(item, f"{where}[{_shown(key)}]" if depth < _DEEPEST_NAMED else where, depth + 1, budget)


_DEEPEST_NAMED = 6
_PLAIN_INT_BITS = 64


def _too_large(limit: int, what: str) -> InvalidParamsError:
    return InvalidParamsError(
        f"params {what}; allowed are {limit:,} bytes (max_params_size in config/jobs.yaml). Keep the data in a file or "
        "table and hand over its name or id"
    )


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shown(key: object) -> str:
    # Only exact builtins are shown: a stranger's repr is code that we don't run.
    if type(key) is str:
        return ascii(key[:60])[:60]
    short = type(key) is int and key.bit_length() <= _PLAIN_INT_BITS
    return ascii(key) if short or type(key) in (float, bool, type(None)) else "…"


def _hint(value: object) -> str:
    for base, way in (
        (dict, "dict(…)"),
        (list, "list(…)"),
        (tuple, "list(…)"),
        (set, "sorted(…) or list(…)"),
        (frozenset, "sorted(…) or list(…)"),
        (str, "str(…)"),
        (int, "int(…)"),
        (float, "float(…)"),
        (bytes, "base64 text"),
    ):
        if issubclass(type(value), base):  # isinstance would ask the value itself, too
            return f"; make it {way} first"
    return "; hand over its isoformat()" if hasattr(type(value), "isoformat") else ""


class UnreadableParamsError(ValueError):
    """The params of a row, written by another program, are no JSON object, array or NULL."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def decode(text: str | None) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and keyword arguments for a row's params; UnreadableParamsError if they can't be read."""
    if text is None:
        return [], {}
    if type(text) is not str:
        raise UnreadableParamsError(f"the row's params are no text but {_kind(text)}")
    try:
        if not text.isascii():
            text.encode()
        params = _decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableParamsError(f"the row's params can't be read as JSON: {str(error)[:200]}") from None
    if type(params) is dict:
        return [], params
    if type(params) is list:
        return params, {}
    if params is None:
        return [], {}
    raise UnreadableParamsError(f"the row's params are a JSON {_kind(params)}; an object, an array or NULL is wanted")
