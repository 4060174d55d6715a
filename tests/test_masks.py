"""What of a job's params is not shown, and where else it is not shown either."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bgjob.views.masks import MASKED, Mask

DEFAULT = ["*password*", "*token*", "*secret*"]


def shown(params: object, patterns: list[str] | None = None) -> Any:
    return Mask(DEFAULT if patterns is None else patterns).applied(json.dumps(params)).params


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"password": "x"}, {"password": MASKED}),
        ({"PassWord": "x", "db_password_2": 5}, {"PassWord": MASKED, "db_password_2": MASKED}),
        ({"a": {"b": [{"token": "x"}, 1]}}, {"a": {"b": [{"token": MASKED}, 1]}}),
        ([{"token": "x"}, [{"token": "y"}]], [{"token": MASKED}, [{"token": MASKED}]]),
        ({"token": {"deep": ["x", {"y": 1}]}}, {"token": MASKED}),
        ({"token": None, "secret": True, "other": "token"}, {"token": MASKED, "secret": MASKED, "other": "token"}),
        ({"pass": "x", "to ken": "y"}, {"pass": "x", "to ken": "y"}),
        ({"a\npassword\nb": "x"}, {"a\npassword\nb": MASKED}),
        (["password"], ["password"]), ("password", "password"), (5, 5), (None, None), ({}, {}),
    ],
)  # fmt: skip
def test_what_stands_under_a_secret_name_is_masked(params: object, expected: object) -> None:
    assert shown(params) == expected


def test_patterns_are_those_of_the_config_and_none_switches_it_off() -> None:
    params = {"iban": "DE1", "card_no": "4", "card": "5", "password": "x"}

    assert shown(params, ["IBAN", "card_*"]) == {**params, "iban": MASKED, "card_no": MASKED}
    assert shown(params, []) == params
    assert shown(params, ["*"]) == dict.fromkeys(params, MASKED)


@pytest.mark.parametrize("pattern", ["[", "[!", "(?", "a|b", "\\", "+", "$", "[z-a]"])
def test_a_pattern_of_any_characters_is_taken(pattern: str) -> None:
    assert shown({"x": 1}, [pattern]) == {"x": 1}


def test_no_character_but_the_star_stands_for_others() -> None:
    params = {"card[number]": "4", "cardn": "5", "pin?": "6", "pins": "7"}

    assert shown(params, ["card[number]", "pin?"]) == {**params, "card[number]": MASKED, "pin?": MASKED}


SECRETS = ["hunter22", "12345678", "it's \"quoted\"", "back\\slash", "two\nlines of it", "tab\tbed", "jürgen☃",
           "bi\u202edi", "\x1b[31mred", "a" * 10_000, "<b>&amp;", "💥boom", "$1 \\1 .*"]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("written", [str, repr, ascii, json.dumps], ids=lambda way: way.__name__)
def test_a_secret_is_hidden_in_other_texts_however_it_is_written(secret: str, written: Any) -> None:
    masked = Mask(DEFAULT).applied(json.dumps({"token": [secret], "to": "ann"}))

    text = masked.hide(f"ValueError: {written(secret)} is no good for ann")

    assert secret not in text
    assert written(secret).strip("'\"") not in text
    assert MASKED in text
    assert text.startswith("ValueError: ")
    assert text.endswith(" is no good for ann")


def test_a_secret_is_hidden_in_addresses() -> None:
    masked = Mask(DEFAULT).applied(json.dumps({"password": "p@ss/w ord"}))

    assert masked.hide("postgres://ann:p%40ss%2Fw%20ord@db") == f"postgres://ann:{MASKED}@db"
    assert masked.hide("?key=p%40ss%2Fw+ord") == f"?key={MASKED}"


@pytest.mark.parametrize("unit", ["bytes", "characters"])
def test_a_part_of_a_secret_is_hidden_where_a_text_was_cut(unit: str) -> None:
    masked = Mask(DEFAULT).applied(json.dumps({"password": "correct horse"}))
    cut = f"\n[… 37,242 {unit} left out …]\n"

    assert masked.hide(f"with correct h{cut}t horse, it said") == f"with {MASKED}{cut}{MASKED}, it said"
    assert masked.hide(f"as cor{cut}rse") == f"as cor{cut}rse"
    assert masked.hide("as correct h") == "as correct h"


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden_in_the_lines_of_a_log(secret: str) -> None:
    from bgjob.logs import _value

    masked = Mask(DEFAULT).applied(json.dumps({"token": secret}))

    for message in (f"no good: {secret[:300]}", f"no good: {secret!r}"[:400]):
        line = f"2026 ERROR fail job=1 error={_value(message)}"
        if len(secret) < 300:
            assert MASKED in masked.hide(line)
            assert _value(secret).strip('"') not in masked.hide(line)


def test_each_line_of_a_key_is_hidden_where_lines_are_told_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n"
    masked = Mask(["key"]).applied(json.dumps({"key": key}))

    assert [masked.hide(f"\t{line}") for line in key.splitlines()] == [f"\t{MASKED}"] * 4


def test_numbers_are_hidden_and_what_is_too_short_to_be_told_from_other_text_is_not() -> None:
    masked = Mask(DEFAULT).applied('{"token": 1234567, "password": "abc", "secret": [true, null, 1.25]}')

    assert masked.hide("1234567 abc True None 1.25") == f"{MASKED} abc True None {MASKED}"


def test_of_two_secrets_the_longer_one_goes_first() -> None:
    masked = Mask(DEFAULT).applied('{"token": "hunter", "password": "hunter22"}')

    assert masked.hide("hunter22 hunter") == f"{MASKED} {MASKED}"


@pytest.mark.parametrize("odd", ["{", "", "[1,", b"\xff", 5, 1.5, "[" * 100_000, '{"a": ' * 5_000, "1" * 5_000, b""])
def test_of_what_is_no_json_nothing_is_shown_unless_nothing_is_masked(odd: object) -> None:
    masked, plain = Mask(DEFAULT).applied(odd), Mask([]).applied(odd)

    assert (masked.line, masked.block, masked.is_json) == (MASKED, MASKED, False)
    assert plain.line == str(odd)
    assert masked.hide("text") == "text"


def test_what_is_nested_very_deep_is_masked_whole() -> None:
    masked = Mask(DEFAULT).applied("[" * 400 + '{"token": "hunter22"}' + "]" * 400)

    assert masked.is_json
    assert "hunter22" not in masked.line
    assert MASKED in masked.block


@pytest.mark.parametrize("text", [None, "", b"\xffhunter22", 5, "hunter22"])
def test_texts_of_any_kind_are_hidden_in(text: Any) -> None:
    masked = Mask(DEFAULT).applied('{"token": "hunter22"}')

    assert "hunter22" not in masked.hide(text)
    assert (masked.hide(text) == "") == (not text)


def test_no_params_are_told_as_none() -> None:
    masked = Mask(DEFAULT).applied(None)

    assert (masked.params, masked.line, masked.block) == (None, "", "")
