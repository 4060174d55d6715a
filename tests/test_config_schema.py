"""The JSON Schema that editors check a config with: it has the validator's keys and defaults, and agrees with it."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from bgjob import config_keys
from bgjob.config import parse_config
from bgjob.config_problems import Problems
from bgjob.config_yaml import read_nodes
from bgjob.errors import ConfigError
from tests.conftest import CODE

SHIPPED = CODE / "bgjob" / "jobs.schema.json"
SCHEMA: dict[str, Any] = json.loads(SHIPPED.read_text())
PATH = "/srv/app/config/jobs.yaml"
LISTS = "approved_classes: [app.jobs.Job]\napproved_methods: [execute]\n"

GOOD = """
    0 1 2 3 1000 1024 1048576 0.5 1.5 10s 1.5h 365d 1500ms 0s 1KB 10MB 1GB 1073741824 1048577 true false full normal
    completed app.jobs app.Job _app.jobs storage/x.sqlite3 /var/log/app [] [1s] [10s,5m] [execute] {} {first: 1m}
    {factor: 1.5, max: 2h} {completed: 0, failed: 1d} "1s" "full" 'execute' [a, b]
"""
BAD = """
    -1 1001 31536001 1000000000000000 1048576.5 10 s 10S 1w ten null ~ ful 10mb 1.5MB 1TB "3" "10" [soon] [[1s]]
    {frist: 1s} {first: soon} {factor: 0.5} {factor: 101} {factor: 2s} {pending: 7d} {completed: ever} [_private] [a.b]
    [execute, 3] app..jobs .Job app.*Job app/jobs app.jobs:Job ~/jobs.sqlite3 '' "a\\tb" [null] {3: 4} 01s -
"""
# What the validator refuses, and a schema lets pass: how a number is written, bounds of what has a unit, Python's own
# words, and texts that YAML 1.1 reads as something else, where editors have 1.2.
UNSAID = """
    +3 0x1F 0o17 017 1e3 5. .5 3.0 True 366d 9999h 1001GB 101GB 2GB 1KB 0s import app.class.Job on No yes
    10s 1500ms "1s"
    2020-01-01 1_000 1:30 [on] [yes] [class] {first: 2h} {first: 1s, max: 0s} {completed: 366d} [366d] "a\\u202eb"
"""
# What the validator lets pass, and the schema does not.
STRICTER = """ "true" 'false' 0o17 1e3 """


def texts(written: str) -> list[str]:
    """Return the YAML values that stand there; blanks within brackets do not part them."""
    return re.findall(r"(?:\[[^\n]*?\](?=\s)|\{[^\n]*?\}|\"[^\"\n]*\"|'[^'\n]*'|\S+)", written)


class EditorLoader(yaml.SafeLoader):
    """Reads values as editors do: by the core schema of YAML 1.2, where PyYAML follows 1.1."""


EditorLoader.yaml_implicit_resolvers = {}
for tag, pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
}.items():
    EditorLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{pattern})\Z"), None)


def as_number(loader: yaml.Loader, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node))
    if text[:2] in ("0o", "0x"):
        return int(text, 0)
    return (
        int(text) if re.fullmatch(r"[-+]?[0-9]+", text) else float(text.replace(".inf", "inf").replace(".nan", "nan"))
    )


for tag in ("int", "float"):
    EditorLoader.add_constructor(f"tag:yaml.org,2002:{tag}", as_number)


def is_fine(text: str) -> bool:
    try:
        parse_config(text.encode(), PATH)
    except ConfigError:
        return False
    return True


def passes(text: str) -> bool:
    return bool(jsonschema.Draft7Validator(SCHEMA).is_valid(yaml.load(text, EditorLoader)))  # noqa: S506  # a safe one


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_the_projects_own_config_has_a_copy_beside_it_and_names_it() -> None:
    config = CODE / "config" / "jobs.yaml"

    assert (CODE / "config" / "jobs.schema.json").read_bytes() == SHIPPED.read_bytes(), "copy bgjob/jobs.schema.json"
    assert config.read_text().startswith("# yaml-language-server: $schema=jobs.schema.json\n")
    assert passes(config.read_text())


def test_the_schema_has_the_keys_of_the_validator_and_no_other() -> None:
    settings = SCHEMA["definitions"]["class_settings"]["properties"]
    grows = SCHEMA["properties"]["retry_delay"]["anyOf"][2]["properties"]

    assert set(SCHEMA["properties"]) == set(config_keys.ALL_KEYS)
    assert set(SCHEMA["required"]) == set(config_keys.REQUIRED_KEYS)
    assert set(settings) == {"methods", *config_keys.CLASS_KEYS}
    assert set(SCHEMA["properties"]["keep"]["properties"]) == set(config_keys.DEFAULT_KEEP)
    assert f"the keys {', '.join(grows)}" in problem_of(f"{LISTS}retry_delay: {{other: 1}}")


def problem_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text.encode(), PATH)
    return str(caught.value)


def test_every_key_has_a_description_for_the_editor() -> None:
    for key, said in SCHEMA["properties"].items():
        assert said["description"].endswith("."), key


@pytest.mark.parametrize("key", [*config_keys.CLASS_KEYS, *config_keys.FILE_KEYS])
def test_a_default_in_the_schema_is_that_of_the_validator(key: str) -> None:
    kind, default = config_keys.ALL_KEYS[key]
    said = SCHEMA["properties"][key].get("default")

    if said is None:
        assert default is None
    else:
        problems = Problems(PATH)
        assert kind(read_nodes(json.dumps(said).strip('"'), problems), key, problems) == default
        problems.raise_if_any()


# That a hook's class must be approved is beyond a schema; on the names themselves the two agree as on those of classes.
@pytest.mark.parametrize("key", sorted(config_keys.ALL_KEYS.keys() - set(config_keys.HOOKS)))
def test_validator_and_schema_agree_on_every_value_of_every_key(key: str) -> None:
    rest = "".join(line + "\n" for line in LISTS.splitlines() if not line.startswith(f"{key}:"))

    assert disagreements(rest + f"{key}: %s\n") == set()


@pytest.mark.parametrize("key", ["methods", *config_keys.CLASS_KEYS])
def test_validator_and_schema_agree_on_every_value_of_every_key_of_a_class(key: str) -> None:
    assert disagreements(f"approved_methods: []\napproved_classes:\n  - app.jobs.Job: {{{key}: %s}}\n") == set()


@pytest.mark.parametrize(
    "place",
    ["approved_classes: [%s]\napproved_methods: []", "approved_classes: [{%s: {fresh: true}}]\napproved_methods: []"],
)
def test_validator_and_schema_agree_on_the_names_of_classes(place: str) -> None:
    assert disagreements(place) == set()


def disagreements(place: str) -> set[str]:
    known = set(texts(UNSAID))
    stricter = set(texts(STRICTER))
    found = set()
    for value in texts(GOOD + BAD + UNSAID + STRICTER):
        text = place.replace("%s", value)
        try:
            passed = passes(text)
        except yaml.YAMLError:
            continue
        if is_fine(text) != passed and value not in (known if passed else stricter):
            found.add(value)
    return found


@pytest.mark.parametrize("key", config_keys.HOOKS)
def test_a_hook_is_the_name_of_a_class_for_both(key: str) -> None:
    assert is_fine(f"{LISTS}{key}: app.jobs.Job")
    assert passes(f"{LISTS}{key}: app.jobs.Job")
    names = {value for value in texts(GOOD + BAD) if value != "-" and passes(f"{LISTS}{key}: {value}")}
    assert names == {"app.jobs", "app.Job", "_app.jobs"}


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("https://hc-ping.com/6c1f1c0e-1d6a-4f0e-9c38-b1b3b3b3b3b3", True),
        ("http://127.0.0.1:8000/ping?create=1&x=%20", True),
        ("https://me:secret@[::1]:8443", True),
        ("https://example.org?x", True),
        ("ftp://example.org", False),
        ("file:///etc/passwd", False),
        ("example.org/ping", False),
        ("https://", False),
        ("https:///ping", False),
        ("https://example.org/a b", False),
        ("https://ex\u00e4mple.org/", False),
        ("'https://example.org/#top'", False),
        ("https://example.org:port/", False),
    ],
)
def test_an_address_to_ping_is_judged_alike(address: str, fine: bool) -> None:  # noqa: FBT001  # a column of the table
    assert (is_fine(f"{LISTS}ping_url: {address}"), passes(f"{LISTS}ping_url: {address}")) == (fine, fine)


@pytest.mark.parametrize(
    ("path", "fine"),
    [("storage/jobs.prom", True), ("/var/jobs.prom", True), ("jobs.txt", False), ("~/jobs.prom", False)],
)
def test_a_path_of_the_metrics_is_judged_alike(path: str, fine: bool) -> None:  # noqa: FBT001  # a column of the table
    assert (is_fine(f"{LISTS}metrics_file: {path}"), passes(f"{LISTS}metrics_file: {path}")) == (fine, fine)


def test_what_the_schema_cannot_say_is_listed_without_a_line_too_many() -> None:
    keys = config_keys.ALL_KEYS.keys() - {"approved_classes", *config_keys.HOOKS}
    unsaid, stricter = texts(UNSAID), texts(STRICTER)

    def differ(value: str) -> bool:
        places = [f"{LISTS}{key}: {value}\n" for key in keys - {"approved_methods"}]
        places += [
            f"approved_classes: [{value}]\napproved_methods: []",
            f"approved_classes: []\napproved_methods: {value}",
        ]
        return any(is_fine(text) != passes(text) for text in places)

    assert [value for value in unsaid + stricter if not differ(value)] == []


@pytest.mark.parametrize(
    "text",
    [
        "approved_methods: []",
        "approved_classes: []",
        LISTS + "max_retrys: 3",
        "approved_classes: [a.B, a.B]\napproved_methods: []",
        "approved_classes: [{}]\napproved_methods: []",
        "approved_classes: [{a.B: {}, a.C: {}}]\napproved_methods: []",
        "approved_classes: [{a.B: }]\napproved_methods: []",
        "approved_classes: [{a.B: {workers: 3}}]\napproved_methods: []",
        "approved_classes: {a.B: {}}\napproved_methods: []",
        "[]",
        "3",
    ],
)
def test_a_wrong_shape_is_seen_by_both(text: str) -> None:
    assert not is_fine(text)
    assert not passes(text)
