"""Whether params fit a method, told when a job is queued rather than when it runs, if its class is loaded already."""

from __future__ import annotations

import sys
import types

from bgjob.errors import InvalidJobError, InvalidParamsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def check(job_class: str, method: str, params: Any) -> None:  # noqa: ANN401  # JSON values
    """Refuse what a worker could not call; nothing is imported for it, and no code of the class is run.

    `job_class` is a dotted name, `params` are those of a job, found fit for JSON. Raises InvalidJobError for a method
    that the class does not have, InvalidParamsError for params that are missing, unknown or too many. What can't be
    known, such as what stands behind a test's stand-in, is let through.
    """
    module, _, name = job_class.rpartition(".")
    if module not in sys.modules:
        return
    found: Any = getattr(sys.modules[module], "__dict__", {}).get(name)
    if not issubclass(type(found), type):
        return
    member = member_of(found, method)
    if member is None:
        raise InvalidJobError(_no_such_method(found, job_class, method))
    is_static = type(member) is staticmethod
    function = member.__func__ if is_static or type(member) is classmethod else member
    if type(function) is not types.FunctionType:
        return
    needed, known, least, most = _takes.get(member) or _read(member, function, not is_static)
    if params is None or type(params) is dict:
        if needed <= (params or _NOTHING).keys() <= known:
            return
    elif least <= len(params) <= most:
        return
    problems = _problems(function, not is_static, params or ())
    if problems:
        called = f"{job_class}.{method}({_parameters(function, not is_static)})"
        raise InvalidParamsError(f"params don't fit {called}: {'; '.join(problems)}")


# Of each method the names that it needs and knows, and how many params it takes by place, at least and at most: enough
# to let nearly every job through, and each that is queued pays for it.
_takes: dict[object, tuple[frozenset[str], frozenset[str], int, int]] = {}
_MOST_KEPT = 1_000
_NOTHING: dict[str, object] = {}


def _read(member: object, function: types.FunctionType, bound: int) -> tuple[frozenset[str], frozenset[str], int, int]:
    code = function.__code__
    count, end = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames
    optional = {*names[count - len(function.__defaults__ or ()) : count], *(function.__kwdefaults__ or ())}
    needed = frozenset(names[bound:end]) - optional
    known = frozenset(names[max(bound, code.co_posonlyargcount) : end])
    is_by_place = needed.isdisjoint(names[count:end])
    least, most = len(needed), count - bound if is_by_place else -1
    if count < bound:  # it takes no self, or takes it by *args: nothing is surely enough
        needed, known = frozenset({""}), frozenset()
    if len(_takes) >= _MOST_KEPT:  # an app that makes its classes again and again
        _takes.clear()
    _takes[member] = found = needed, known, least, most
    return found


def member_of(job_class: type, name: str, nothing: object = None) -> Any:  # noqa: ANN401  # whatever stands there
    """Return what the class, or one that it inherits from, has under that name, unbound; else `nothing`."""
    for owner in _mro(job_class):
        members = _members(owner)
        if name in members:
            return members[name]
    return nothing


# Asked past the metaclass, whose code is not ours to run.
_mro, _members = type.__dict__["__mro__"].__get__, type.__dict__["__dict__"].__get__


def _problems(function: types.FunctionType, bound: int, params: Mapping[str, Any] | Sequence[Any]) -> list[str]:
    """Return what is wrong with calling the function so, of whose arguments `bound` come before the params.

    Read off its code (https://docs.python.org/3/reference/datamodel.html#code-objects): each job that is queued pays
    for this, and `inspect` takes longer than all the rest.
    """
    code = function.__code__
    count, only_by_place, only_by_name = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    names = code.co_varnames
    if count < bound:
        if not code.co_flags & _ANY_NUMBER:
            return ["it takes no self"]
        bound = count
    missing = names[bound : count - len(function.__defaults__ or ())]
    unknown: list[str] = []
    surplus = 0
    if type(params) is dict:
        known = names[max(bound, only_by_place) : count + only_by_name]
        unknown = [name for name in list(params) if name not in known]
        if unknown and code.co_flags & _ANY_NAME:
            unknown = [name for name in unknown if name in names[only_by_place:bound]]
        if missing:
            missing = tuple([name for name in missing if name not in params or name not in known])
    else:
        missing = missing[len(params) :]
        if not code.co_flags & _ANY_NUMBER:
            surplus = max(bound + len(params) - count, 0)
    if only_by_name:
        optional = {*(function.__kwdefaults__ or ()), *(params if type(params) is dict else ())}
        missing += tuple([name for name in names[count : count + only_by_name] if name not in optional])
    if not (missing or unknown or surplus):
        return []
    return _told(missing, unknown, surplus, names[bound : count + only_by_name], count - bound)


_ANY_NUMBER, _ANY_NAME = 0x04, 0x08  # of co_flags: takes *args, takes **kwargs


def _told(missing: tuple[str, ...], unknown: list[str], surplus: int, names: tuple[str, ...], most: int) -> list[str]:
    from bgjob.config_problems import closest, shown  # noqa: PLC0415  # only an error needs it

    told = [f"{', '.join(map(repr, missing))} {'is' if len(missing) == 1 else 'are'} missing"] if missing else []
    for name in unknown[:_MOST_TOLD]:
        close = closest(name, names)
        if close == name:
            told.append(f"{shown(name)} is taken by its place only: hand params over as a list")
        else:
            told.append(f"it takes no {shown(name)}{f' (did you mean {close!r}?)' if close else ''}")
    if len(unknown) > _MOST_TOLD:
        told.append(f"and {len(unknown) - _MOST_TOLD} more that it does not take")
    if surplus:
        told.append(f"it takes {most} by their place, not {most + surplus}")
    return told


_MOST_TOLD = 5


def _parameters(function: types.FunctionType, bound: int) -> str:
    """Return what the function takes beyond what is bound, as it would stand in its source, without annotations."""
    code = function.__code__
    count, end = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    names, defaults = code.co_varnames, function.__defaults__ or ()
    preset = dict(zip(names[count - len(defaults) : count], defaults, strict=True)) | (function.__kwdefaults__ or {})
    rest = iter(names[end:])
    shown = [f"{name}={_default(preset[name])}" if name in preset else name for name in names[:end]]
    by_place, by_name = shown[:count], shown[count:]
    if code.co_posonlyargcount:
        by_place.insert(code.co_posonlyargcount, "/")
    if code.co_flags & _ANY_NUMBER:
        by_place.append(f"*{next(rest)}")
    elif by_name:
        by_place.append("*")
    if code.co_flags & _ANY_NAME:
        by_name.append(f"**{next(rest)}")
    left_out = bound if count else 0
    if code.co_posonlyargcount == left_out:
        left_out += bool(left_out)  # with the slash behind it
    return ", ".join([*by_place[left_out:], *by_name])


def _default(value: object) -> str:
    # Only exact builtins are shown: a stranger's repr is code that we don't run.
    if type(value) is str:
        return ascii(value) if len(value) <= _LONGEST_DEFAULT else "…"
    return repr(value) if type(value) in (bool, float, type(None)) or _is_short(value) else "…"


_LONGEST_DEFAULT = 30


def _is_short(value: object) -> bool:
    return type(value) is int and value.bit_length() < 64  # noqa: PLR2004  # what a person reads as a number


def _no_such_method(job_class: type, name: str, method: str) -> str:
    from bgjob.config_problems import closest  # noqa: PLC0415  # only an error needs it

    methods = [
        known
        for owner in _mro(job_class)
        for known in _members(owner)
        if type(known) is str and not known.startswith("_")
    ]
    close = closest(method, methods)
    return (
        f"{name} has no method {method!r}{f'; did you mean {close!r}?' if close else '.'} "
        "It is approved, but the class that is loaded here does not have it"
    )
