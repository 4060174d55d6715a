"""Params as JSON: each comes back exactly as it went in (a tuple as a list), or is refused."""

from __future__ import annotations

import json
from math import isfinite

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
    if type(params) not in _CONTAINERS:
        message = (
            f"params must be a dict (keyword arguments), a list or tuple (positional ones) or None, "
            f"not {_kind(params)}{_hint(params)}"
        )
        raise InvalidParamsError(message)
    try:
        _check(params, 1, limit)
        text = _encoder.encode(params)
        size = len(text) if text.isascii() else len(text.encode())
    except _Refused as refused:
        raise InvalidParamsError(f"params{refused.place()}{refused.what}") from None
    except _TooLarge:
        raise _too_large(limit, "are too large") from None
    except UnicodeEncodeError:
        message = "params contain text with a lone surrogate, which can't be written as UTF-8; mend or drop that text"
        raise InvalidParamsError(message) from None
    except InvalidParamsError:  # it is a ValueError, too
        raise
    except (RuntimeError, TypeError, ValueError) as error:  # another thread may change the params meanwhile
        message = f"params can't be written as JSON: {error}"
        raise InvalidParamsError(message) from None
    if size > limit:
        raise _too_large(limit, f"are {size:,} bytes of JSON")
    return text


class _Refused(Exception):  # noqa: N818  # no error that anybody sees
    """A value within the params that would not come back as it is; its place is gathered on the way out."""

    def __init__(self, what: str, *keys: object) -> None:
        self.what = what
        self.keys = list(keys)

    def place(self) -> str:
        return "".join(f"[{_shown(key)}]" for key in self.keys[: -_DEEPEST_NAMED - 1 : -1])


class _TooLarge(Exception):  # noqa: N818  # as above
    pass


def _check(values: Any, depth: int, left: int) -> int:  # noqa: ANN401, C901, PLR0912  # that is the question; one loop is fastest
    """Refuse the first value in a dict, list or tuple that would not come back as it is.

    `left` is how many bytes of JSON may still come, counted low; what then is left is returned. It makes a small
    structure that holds itself, or one long text, many times over (2 to the power of 60) end at once.
    """
    if depth > DEEPEST:
        message = f"params are nested more than {DEEPEST} deep (or contain themselves); hand over something flatter"
        raise InvalidParamsError(message)
    is_dict = type(values) is dict
    for key, value in values.items() if is_dict else enumerate(values):
        if is_dict:
            if type(key) is not str:
                raise _Refused(f" has the key {_shown(key)} of type {_kind(key)}; JSON keys are text: use str keys")
            left -= len(key) + 3
        kind = type(value)
        if kind is str:
            left -= len(value) + 2
        elif kind is int:
            left -= value.bit_length() // 4 or 1
        else:
            left -= 1
        if left < 0:
            raise _TooLarge
        if kind in _CONTAINERS:
            try:
                left = _check(value, depth + 1, left)
            except _Refused as refused:
                refused.keys.append(key)
                raise
        elif kind not in _PLAIN:
            raise _Refused(
                f" is {_kind(value)}, which JSON can't hold; allowed are dict, list, tuple, str, int, float, bool and "
                f"None{_hint(value)}",
                key,
            )
        elif kind is float and not isfinite(value):
            raise _Refused(f" is {value}, which JSON can't hold; hand over None or a text instead", key)
        elif kind is int and not -LARGEST_INT <= value <= LARGEST_INT:
            raise _Refused(" is a whole number of more than 4,300 digits; hand it over as text", key)
    return left


_CONTAINERS = frozenset({dict, list, tuple})
_PLAIN = frozenset({str, int, float, bool, type(None)})
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
