"""Params as JSON: each comes back exactly as it went in (a tuple as a list), or is refused."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import json
import sys
import threading
import time
import types
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bgjob import params, run_background_jobs
from bgjob.errors import BgjobError, InvalidParamsError

if TYPE_CHECKING:
    from tests.conftest import Project

LIMIT = 1_000_000


class Text(str):
    """A text that claims to equal every other one."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class Number(int):
    """A number that writes itself as JSON of another meaning."""

    def __repr__(self) -> str:
        return '1, "admin": true'


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


class Colour(enum.IntEnum):
    """A number with a name."""

    RED = 1


class Liar:
    """An object that says it is a dict, and explodes when looked at."""

    @property  # type: ignore[misc]  # isinstance asks for it
    def __class__(self) -> Any:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise ZeroDivisionError

    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError


def listed(value: Any) -> Any:
    """Return `value` with its tuples as lists, which is all that may change."""
    if type(value) is dict:
        return {key: listed(item) for key, item in value.items()}
    return [listed(item) for item in value] if type(value) in (list, tuple) else value


def same(first: object, second: object) -> bool:
    """Return whether two values are equal in type and content, in order and in the sign of a zero."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict) and isinstance(second, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    return repr(first) == repr(second)


def refusal(value: object, *, limit: int = LIMIT) -> str:
    """Return the message with which `value` is refused, quickly."""
    started = time.monotonic()
    with pytest.raises(InvalidParamsError) as refused:
        params.encode(value, limit=limit)
    assert time.monotonic() - started < 2
    return str(refused.value)


texts = st.text(st.characters(exclude_categories=[])) | st.sampled_from(["\0", "\u2028", "\ud800", "😀", '"\\', "\x1b"])
whole_numbers = st.integers() | st.integers(-(10**4400), 10**4400)
good_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
hostile_leaves = (
    good_leaves
    | texts
    | whole_numbers
    | st.floats()
    | st.binary(max_size=3)
    | st.dates()
    | st.decimals()
    | st.complex_numbers()
    | st.sets(st.integers(), max_size=2)
    | st.builds(Text, texts)
    | st.builds(Number, st.integers())
    | st.builds(Point, st.integers(), st.integers())
    | st.just(Colour.RED)
    | st.builds(object)
    | st.builds(Liar)
)


def nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
        max_leaves=12,
    )


good_values = nested(good_leaves, st.text())
good_params = st.lists(good_values) | st.lists(good_values).map(tuple) | st.dictionaries(st.text(), good_values)
keys = st.text() | texts | st.builds(Text, st.text()) | st.integers() | st.none() | st.booleans() | st.floats()
hostile_values = nested(hostile_leaves, keys)
hostile_params = hostile_values | st.lists(hostile_values) | st.dictionaries(keys, hostile_values)


@given(good_params)
@example({"": [(), {}, [[]], -0.0, 5e-324, 1.7976931348623157e308, 10**4300 - 1, -(10**4300) + 1]})
@example(["\0\x1f\x7f\u2028\u2029\ufeff\uffff\U0010ffff", "\\u0000", "e\u0301"])
def test_what_json_can_hold_comes_back_exactly(value: Any) -> None:
    text = params.encode(value, limit=LIMIT)

    args, kwargs = params.decode(text)
    back = kwargs if type(value) is dict else args
    assert same(back, listed(value))


@given(hostile_params)
def test_anything_else_is_refused_by_an_error_of_ours_and_nothing_changes_on_the_way(value: Any) -> None:
    try:
        text = params.encode(value, limit=LIMIT)
    except BgjobError:
        pass
    else:
        args, kwargs = params.decode(text)
        assert same(kwargs if type(value) is dict else args, [] if value is None else listed(value))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(given_params=st.lists(good_params, min_size=1, max_size=20))
def test_params_come_back_exactly_from_a_row_of_the_database(project: Project, given_params: list[Any]) -> None:
    run_background_jobs([{"job_class": "app.jobs.Job", "params": one} for one in given_params])

    rows = project.sql("DELETE FROM custom_jobs RETURNING params, json_valid(params)")
    assert [valid for _, valid in rows] == [1] * len(given_params)
    for one, (text, _) in zip(given_params, rows, strict=True):
        assert same(json.loads(text), listed(one))


def test_none_is_no_params_and_empty_ones_stay_what_they_are() -> None:
    assert params.encode(None, limit=1) is None
    assert params.encode({}, limit=2) == "{}"
    assert params.encode([], limit=2) == "[]"
    assert params.encode((), limit=2) == "[]"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("text", "params must be a dict .*, a list or tuple .* or None, not str"),
        (1, "not int"),
        (True, "not bool"),
        (b"x", "not bytes; make it base64 text first"),
        ({1, 2}, "not set"),
        (iter([1]), "not list_iterator"),
        (types.MappingProxyType({"a": 1}), "not mappingproxy"),
        (collections.OrderedDict(a=1), r"not collections\.OrderedDict; make it dict\(…\) first"),
        (collections.defaultdict(list), r"not collections\.defaultdict; make it dict"),
        (collections.Counter("ab"), r"not collections\.Counter; make it dict"),
        (Point(1, 2), r"not tests\.test_params\.Point; make it list"),
        ([float("nan")], r"params\[0\] is nan, which JSON can't hold; hand over None or a text"),
        ([float("inf")], r"params\[0\] is inf"),
        ({"a": {"b": [0, -float("inf")]}}, r"params\['a'\]\['b'\]\[1\] is -inf"),
        ([{1}], r"params\[0\] is set, which JSON can't hold.*sorted"),
        ([frozenset()], "frozenset.*sorted"),
        ([b"x"], "bytes.*base64"),
        ([bytearray(b"x")], "bytearray"),
        ([1j], "complex"),
        ([...], "ellipsis"),
        ([range(3)], "range"),
        ([object()], "object"),
        ([len], "builtin_function_or_method"),
        ([dt.date(2026, 1, 1)], r"datetime\.date.*isoformat"),
        ([dt.datetime(2026, 1, 1, tzinfo=dt.UTC)], r"datetime\.datetime.*isoformat"),
        ([dt.timedelta(1)], r"datetime\.timedelta"),
        ([decimal.Decimal(1)], r"decimal\.Decimal"),
        ([uuid.UUID(int=1)], r"uuid\.UUID"),
        ([Text("x")], r"tests\.test_params\.Text.*make it str"),
        ([Number(1)], r"tests\.test_params\.Number.*make it int"),
        ([Colour.RED], r"tests\.test_params\.Colour.*make it int"),
        ([Point(1, 2)], r"tests\.test_params\.Point.*make it list"),
        ([collections.OrderedDict()], r"collections\.OrderedDict.*make it dict"),
        ({1: "one"}, "params has the key 1 of type int; JSON keys are text: use str keys"),
        ({"1": "one", 1: "another"}, "the key 1 of type int"),
        ({None: 0}, "the key None of type NoneType"),
        ({True: 0}, "the key True of type bool"),
        ({1.5: 0}, "the key 1.5 of type float"),
        ({(1, 2): 0}, "the key … of type tuple"),
        ({10**5000: 0}, "the key … of type int"),
        ({Text("x"): 0}, r"the key … of type tests\.test_params\.Text"),
        ({"a": {b"k": 0}}, r"params\['a'\] has the key … of type bytes"),
        (["\ud800"], "lone surrogate"),
        (["😀"[:1].encode("utf-16-le", "surrogatepass")[:2].decode("utf-16-le", "surrogatepass")], "lone surrogate"),
        ({"\udfff": 0}, "lone surrogate"),
        ([10**4300], r"params\[0\] is a whole number of more than 4,300 digits; hand it over as text"),
        ([-(10**4300)], "more than 4,300 digits"),
        ([1 << 1_000_000], "more than 4,300 digits"),
    ],
)
def test_a_refusal_names_the_place_the_kind_and_the_way_out(value: object, told: str) -> None:
    with pytest.raises(InvalidParamsError, match=told):
        params.encode(value, limit=LIMIT)


def test_an_object_is_refused_by_its_type_alone_and_none_of_its_code_runs() -> None:
    assert refusal(Liar()).endswith("or None, not tests.test_params.Liar")
    assert refusal([Liar()]).startswith("params[0] is tests.test_params.Liar, which JSON can't hold")


def test_the_message_of_a_refusal_is_short_and_on_one_line_whatever_the_keys_hold() -> None:
    message = refusal({"\n\x1b[2J" + "k" * 900_000: {1}})

    assert len(message) < 400
    assert message.isprintable()


def test_params_that_contain_themselves_are_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    knot: dict[str, Any] = {}
    knot["again"] = [knot]

    assert "nested more than 100 deep (or contain themselves)" in refusal(ring)
    assert "nested more than 100 deep (or contain themselves)" in refusal(knot)


@pytest.mark.parametrize("levels", [101, 1_000, 100_000])
def test_params_nested_too_deep_are_refused(levels: int) -> None:
    deep_list: list[Any] = []
    deep_dict: dict[str, Any] = {}
    for _ in range(levels - 1):
        deep_list, deep_dict = [deep_list], {"a": deep_dict}

    assert "nested more than 100 deep" in refusal(deep_list)
    assert "nested more than 100 deep" in refusal(deep_dict)


def test_a_hundred_levels_come_back() -> None:
    deep: list[Any] = []
    for _ in range(99):
        deep = [deep]

    assert params.decode(params.encode(deep, limit=LIMIT)) == (deep, {})


def test_little_stack_left_is_an_error_of_ours() -> None:
    deep: list[Any] = []
    for _ in range(90):
        deep = [deep]

    def call_from(depth: int) -> None:
        if depth:
            call_from(depth - 1)
        else:
            params.encode(deep, limit=LIMIT)

    frames = 0
    frame = sys._getframe()
    while frame.f_back is not None:
        frames, frame = frames + 1, frame.f_back

    with pytest.raises(InvalidParamsError, match="recursion"):
        call_from(sys.getrecursionlimit() - frames - 60)


def test_a_small_structure_that_is_huge_as_json_is_refused_before_it_is_written() -> None:
    doubled: list[Any] = []
    for _ in range(60):
        doubled = [doubled, doubled]
    named: dict[str, Any] = {}
    for _ in range(60):
        named = {"a": named, "b": named}
    long_text = "x" * 900_000
    long_number = 10**4299

    for value in (
        doubled,
        named,
        [doubled] * 1_000,
        [long_text] * 50,
        [{long_text: None}] * 50,
        [[long_number] * 100] * 100,
        [None] * 10_000_000,
    ):
        assert "params are too large; allowed are 1,000,000 bytes (max_params_size in config/jobs.yaml)" in refusal(
            value
        )


@settings(max_examples=50)
@given(good_params)
def test_the_limit_is_the_size_in_bytes_and_not_one_less(value: Any) -> None:
    text = params.encode(value, limit=LIMIT)
    assert text is not None
    size = len(text.encode())

    assert params.encode(value, limit=size) == text
    assert "max_params_size" in refusal(value, limit=size - 1)


def test_bytes_are_counted_and_not_characters() -> None:
    assert params.encode(["é"], limit=6) == '["é"]'
    assert "params are 6 bytes of JSON; allowed are 5 bytes" in refusal(["é"], limit=5)


def test_what_the_caller_changes_after_the_call_changes_nothing(project: Project) -> None:
    given = {"items": [1, 2]}

    run_background_jobs([("app.jobs.Job", "execute", given)])
    given["items"].append(3)

    assert project.jobs("params") == [('{"items":[1,2]}',)]


def test_what_another_thread_changes_during_the_call_is_an_error_of_ours_or_no_error() -> None:
    shared: dict[str, Any] = {}
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for number in range(50):
                shared[str(number)] = number
            shared["odd"] = {1, 2}
            shared.clear()

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(2_000):
            try:
                params.encode(shared, limit=LIMIT)
            except InvalidParamsError:
                continue
    finally:
        stop.set()
        changer.join()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ([], {})),
        ("null", ([], {})),
        ("[]", ([], {})),
        ("{}", ([], {})),
        (' [1, "\\ud83d\\ude00"]\n', ([1, "😀"], {})),
        ('{"a": {"b": [1e2]}}', ([], {"a": {"b": [100.0]}})),
    ],
)
def test_the_params_of_any_programs_row_become_arguments(text: str | None, expected: tuple[Any, Any]) -> None:
    assert params.decode(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nonsense",
        "[1,]",
        "{'a': 1}",
        "[1] [2]",
        "[NaN]",
        "[Infinity]",
        "[-Infinity]",
        '["\0"]',
        "\udcff",
        '["\udcff"]',
        "\ufeff[]",
        "5",
        '"text"',
        "true",
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000,
        "[" + "9" * 5_000 + "]",
    ],
)
def test_params_that_cannot_be_read_are_an_error_with_a_short_text(text: str) -> None:
    with pytest.raises(params.UnreadableParamsError) as unreadable:
        params.decode(text)

    assert len(str(unreadable.value)) < 400
