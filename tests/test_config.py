"""The config: where it is found, what it may say, and how all that is wrong with it is told at once."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bgjob import config_keys, config_kinds, config_texts, config_values, config_yaml
from bgjob.config import ClassRules, Config, RetryDelay, find_config, parse_config, read_config
from bgjob.config_keys import DEFAULT_MASK
from bgjob.config_problems import MOST_PROBLEMS, Problems
from bgjob.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/srv/app/config/jobs.yaml"
LISTS = "approved_classes: [app.jobs.Job]\napproved_methods: [execute]\n"


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the C parser and with the Python one, which differ in what they let pass."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(config_yaml, "LOADER", getattr(yaml, request.param))


def parsed(text: str | bytes) -> Config:
    return parse_config(text.encode() if isinstance(text, str) else text, PATH)


def with_lists(text: str) -> Config:
    return parsed(LISTS + text)


def problems_of(text: str | bytes) -> list[str]:
    """Return the problems of a config that is wrong, without the path in front, which they all must have."""
    with pytest.raises(ConfigError) as caught:
        parsed(text)

    problems = caught.value.problems
    assert all(problem.startswith(PATH + ":") for problem in problems)
    assert all(problem.isprintable() for problem in problems), "each problem is one line"
    return [problem.removeprefix(PATH + ":") for problem in problems]


def only_problem_of(text: str | bytes) -> str:
    problems = problems_of(text)
    assert len(problems) == 1, problems
    return problems[0]


# What a config may say


@pytest.mark.usefixtures("either_parser")
def test_the_two_lists_are_enough_and_all_else_has_its_default() -> None:
    config = with_lists("")

    growing = RetryDelay(delays=None, first=10.0, factor=4.0, maximum=3600.0)
    rules = ClassRules(
        methods=frozenset({"execute"}),
        max_retries=3,
        retry_delay=growing,
        max_crashes=2,
        max_postponements=100,
        retry_on=frozenset(),
        fail_on=frozenset(),
        timeout=3600.0,
        max_memory=None,
        fresh=False,
    )
    assert config == Config(
        path=PATH,
        content=LISTS.encode(),
        root="/srv/app",
        warnings=(),
        classes={"app.jobs.Job": rules},
        timeout_grace=5.0,
        shutdown_grace=4.0,
        workers=1,
        linger=0.0,
        methods=frozenset({"execute"}),
        keep={"completed": 7 * 86400.0, "failed": 30 * 86400.0, "cancelled": 7 * 86400.0},
        boot=None,
        database="/srv/app/storage/jobs.sqlite3",
        durability="full",
        max_params_size=1024**2,
        log_directory="/srv/app/storage/logs",
        log_max_size=10 * 1024**2,
        log_files=5,
        alarm_after=300.0,
        on_alarm=None,
        on_failure=None,
        metrics_file=None,
        ping_url=None,
        mask=DEFAULT_MASK,
        report_file=None,
        dashboard_password_hash=None,
    )


@pytest.mark.usefixtures("either_parser")
def test_every_key_of_the_file_is_read() -> None:
    config = parsed(
        """
        approved_classes: [a.B, a.Tell: {methods: [execute]}]
        approved_methods: [run, "on", execute]
        max_retries: 0
        retry_delay: 5m
        max_crashes: 7
        timeout: 10m
        timeout_grace: 1s
        max_memory: 512MB
        fresh: true
        workers: 3
        linger: 75s
        shutdown_grace: 0.5
        keep: {failed: 90d, completed: 0}
        boot: app.boot
        database: data/jobs.sqlite3
        durability: normal
        max_params_size: 64KB
        log_directory: /var/log/app
        log_max_size: 2048
        log_files: 1
        alarm_after: 10m
        on_alarm: a.Tell
        on_failure: a.B
        metrics_file: data/jobs.prom
        ping_url: https://example.org/ping?to=me
        mask: ['*secret*', iban]
        report_file: public/jobs.html
        dashboard_password_hash: scrypt:15:8:1:c2FsdHNhbHRzYWx0c2FsdA==:a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V=
        """
    )

    rules = config.classes["a.B"]
    assert (rules.methods, rules.max_retries, rules.max_crashes) == (frozenset({"run", "on", "execute"}), 0, 7)
    assert rules.retry_delay.delays == (300.0,)
    assert (rules.timeout, rules.max_memory, rules.fresh) == (600, 512 * 1024**2, True)
    assert (config.timeout_grace, config.shutdown_grace, config.workers, config.linger) == (1, 0.5, 3, 75)
    assert config.keep == {"completed": 0, "failed": 90 * 86400, "cancelled": 7 * 86400}
    assert (config.boot, config.durability) == ("app.boot", "normal")
    assert (config.database, config.log_directory) == ("/srv/app/data/jobs.sqlite3", "/var/log/app")
    assert (config.max_params_size, config.log_max_size, config.log_files) == (65536, 2048, 1)
    assert (config.alarm_after, config.on_alarm, config.on_failure) == (600, "a.Tell", "a.B")
    assert (config.metrics_file, config.ping_url) == ("/srv/app/data/jobs.prom", "https://example.org/ping?to=me")
    assert (config.mask, config.report_file) == (("*secret*", "iban"), "/srv/app/public/jobs.html")
    assert config.dashboard_password_hash is not None
    assert config.dashboard_password_hash.startswith("scrypt:15:8:1:")


def test_a_class_brings_its_own_settings_and_takes_the_others_from_the_file() -> None:
    config = parsed(
        """
        approved_classes:
          - app.Plain
          - app.Own:
              methods: [rebuild]
              max_retries: 5
              retry_delay: [1s, 2s]
              max_crashes: 1
              timeout: 2h
              max_memory: 1GB
              fresh: true
          - app.Partly: {max_retries: 0, fresh: false}
        approved_methods: [execute]
        max_retries: 9
        """
    )

    assert list(config.classes) == ["app.Plain", "app.Own", "app.Partly"]
    plain, own, partly = config.classes.values()
    assert (plain.methods, plain.max_retries, plain.max_crashes) == (frozenset({"execute"}), 9, 2)
    assert (own.methods, own.max_retries, own.max_crashes) == (frozenset({"rebuild"}), 5, 1)
    assert own.retry_delay.delays == (1.0, 2.0)
    assert (own.timeout, own.max_memory, own.fresh) == (7200, 1024**3, True)
    assert (plain.timeout, plain.max_memory, plain.fresh) == (3600, None, False)
    assert (partly.methods, partly.max_retries, partly.fresh) == (frozenset({"execute"}), 0, False)
    assert partly.retry_delay == plain.retry_delay


def test_both_lists_may_be_empty() -> None:
    assert parsed("approved_classes: []\napproved_methods: []").classes == {}


def test_a_class_may_stand_without_any_method() -> None:
    config = parsed("approved_classes: [a.B, {a.C: {methods: []}}]\napproved_methods: []")

    assert [rules.methods for rules in config.classes.values()] == [frozenset(), frozenset()]


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbf" + LISTS.encode(), LISTS.replace("\n", "\r\n").encode(), b"# \xc3\xa4\n---\n" + LISTS.encode()],
    ids=["byte order mark", "CRLF", "comment and start of document"],
)
def test_the_bytes_an_editor_leaves_are_fine_and_kept_exactly(content: bytes) -> None:
    config = parsed(content)

    assert list(config.classes) == ["app.jobs.Job"]
    assert config.content == content


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("90", RetryDelay(delays=(90.0,), first=90.0, factor=1.0, maximum=90.0)),
        ("[10s, 1.5m, 0]", RetryDelay(delays=(10.0, 90.0, 0.0), first=10.0, factor=1.0, maximum=90.0)),
        ("{first: 1m}", RetryDelay(delays=None, first=60.0, factor=4.0, maximum=3600.0)),
        ("{factor: 1.5, max: 500ms, first: 0}", RetryDelay(delays=None, first=0.0, factor=1.5, maximum=0.5)),
        ("{}", RetryDelay(delays=None, first=10.0, factor=4.0, maximum=3600.0)),
    ],
)
def test_a_retry_delay_is_one_duration_or_a_list_or_grows(text: str, delay: RetryDelay) -> None:
    assert with_lists(f"retry_delay: {text}").classes["app.jobs.Job"].retry_delay == delay


# Delays


def test_a_growing_delay_is_multiplied_up_to_its_maximum() -> None:
    delay = RetryDelay(delays=None, first=10.0, factor=4.0, maximum=3600.0)

    assert [delay.seconds(retry) for retry in range(1, 8)] == [10, 40, 160, 640, 2560, 3600, 3600]


def test_a_list_of_delays_repeats_its_last() -> None:
    delay = RetryDelay(delays=(5.0, 1.0), first=5.0, factor=1.0, maximum=5.0)

    assert [delay.seconds(retry) for retry in (-9, 0, 1, 2, 3, 10**400)] == [5, 5, 5, 1, 1, 1]


@given(
    first=st.floats(0, config_texts.LONGEST_DURATION),
    factor=st.floats(1, 100),
    maximum=st.floats(0, config_texts.LONGEST_DURATION),
    retry=st.integers(-5, 10**400),
)
def test_a_growing_delay_never_shrinks_passes_its_maximum_or_overflows(
    first: float, factor: float, maximum: float, retry: int
) -> None:
    delay = RetryDelay(delays=None, first=first, factor=factor, maximum=maximum)

    assert 0 <= delay.seconds(retry) <= delay.seconds(retry + 1) <= maximum
    if first == 0 or factor == 1:
        assert delay.seconds(retry) == min(first, maximum)


# Values


def test_a_config_never_changes() -> None:
    config = with_lists("")

    with pytest.raises(AttributeError, match="never changes"):
        config.boot = "other"
    with pytest.raises(AttributeError, match="never changes"):
        del config.boot


def test_a_value_is_made_of_exactly_its_parts() -> None:
    with pytest.raises(TypeError, match="factor, first, maximum, speed"):
        RetryDelay(delays=None, speed=3)


def test_values_are_equal_by_their_parts() -> None:
    one = RetryDelay(delays=None, first=1.0, factor=1.0, maximum=1.0)
    same = RetryDelay(delays=None, first=1.0, factor=1.0, maximum=1.0)
    other = RetryDelay(delays=None, first=1.0, factor=1.0, maximum=2.0)

    assert one == same
    assert hash(one) == hash(same)
    assert one not in (other, None)
    assert repr(one) == "RetryDelay(delays=None, factor=1.0, first=1.0, maximum=1.0)"


@pytest.mark.parametrize("kind", [Config, ClassRules, RetryDelay])
def test_each_part_of_a_value_has_its_type(kind: type[config_values.Value]) -> None:
    assert set(kind.__slots__) == set(kind.__annotations__)


def test_every_key_of_the_tables_ends_up_in_a_value() -> None:
    assert config_keys.FILE_KEYS.keys() <= set(Config.__slots__)
    assert set(ClassRules.__slots__) == {"methods", *config_keys.CLASS_KEYS}


# Numbers, durations, sizes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1500ms", 1.5), ("2.5s", 2.5), ("1m", 60), ("1.5h", 5400), ("365d", 31536000), ("0.1", 0.1)],
)
def test_a_duration_is_seconds_or_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert config_texts.parse_duration(text) == seconds


NO_DURATIONS = "s -1 +1 1S 1w 1sm 1e3 nan inf .5 5. 1.2.3 01s 1_0 366d 8760.1h 1:30"


@pytest.mark.parametrize("text", NO_DURATIONS.split())
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is never shown
        config_texts.parse_duration(text)


@pytest.mark.parametrize(
    "text",
    ["", "1 s", "1s\n", "\u0661s", pytest.param("9" * 31, id="31 digits"), pytest.param("0." + "1" * 5000, id="long")],
)
def test_digits_of_other_alphabets_and_endless_ones_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is never shown
        config_texts.parse_duration(text)


@given(number=st.integers(0, 365), unit=st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_durations_round_trip(number: int, unit: str) -> None:
    milliseconds = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[unit] * number

    assert config_texts.parse_duration(f"{number}{unit}") == milliseconds / 1000
    assert config_texts.parse_duration(f"{milliseconds}ms") == config_texts.parse_duration(f"{number}{unit}")
    assert config_texts.parse_duration(f"{number}.0{unit}") == config_texts.parse_duration(f"{number}{unit}")


@given(st.integers(0, 10**20))
def test_sizes_round_trip(size: int) -> None:
    assert config_texts.parse_size(config_texts.size_text(size)) == size


@pytest.mark.parametrize(("text", "size"), [("1KB", 1024), ("3MB", 3 * 1024**2), ("1GB", 1024**3), ("12", 12)])
def test_a_size_is_bytes_or_a_number_with_a_unit(text: str, size: int) -> None:
    assert config_texts.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "KB", "1.5MB", "1mb", "1 MB", "1TB", "1B", "-1KB", "01KB", "1_0KB", "1KBKB"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is never shown
        config_texts.parse_size(text)


@given(st.integers(0, 10**30 - 1))
def test_whole_numbers_round_trip(number: int) -> None:
    assert config_texts.parse_integer(str(number)) == number


NO_INTEGERS = "1_000 0o17 017 0x1F 1:30 -1 +1 3.0 1001 many on null ~ 2020-01-01 .inf .nan [3] '3' \u0663"


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize("text", [*NO_INTEGERS.split(), "", "{a: 3}", '"3"', pytest.param("9" * 5000, id="long")])
def test_a_whole_number_stands_in_plain_digits(text: str) -> None:
    problem = only_problem_of(f"{LISTS}max_retries: {text}")

    assert problem.startswith("3:")
    assert "max_retries is " in problem
    assert "a whole number from 0 to 1000, plain digits" in problem


@pytest.mark.parametrize(
    ("key", "least", "most"),
    [
        ("max_retries", "0", "1000"),
        ("max_crashes", "1", "1000"),
        ("log_files", "1", "1000"),
        ("log_max_size", "1KB", "100GB"),
        ("max_params_size", "1", "1GB"),
        ("retry_delay", "0", "365d"),
        ("timeout", "1ms", "365d"),
        ("linger", "0", "365d"),
        ("alarm_after", "2m", "365d"),
        ("workers", "1", "1000"),
        ("max_memory", "1MB", "1000GB"),
    ],
)
def test_a_number_has_a_range_with_its_ends(key: str, least: str, most: str) -> None:
    below = {"0": "-1", "1": "0", "1KB": "1023", "1ms": "0", "2m": "119s", "1MB": "1023KB"}[least]
    beyond = {"1000": "1001", "100GB": "101GB", "1000GB": "1001GB", "1GB": "1073741825", "365d": "366d"}[most]

    for text in (least, most):
        with_lists(f"{key}: {text}")
    for text in (below, beyond):
        assert f"{key} is '{text}'" in only_problem_of(f"{LISTS}{key}: {text}")


def test_a_duration_may_have_a_least_value() -> None:
    problems = Problems(PATH)
    at_least_a_second = config_kinds.duration(1)

    assert at_least_a_second(config_yaml.read_nodes("1s", problems), "timeout", problems) == 1.0
    problems.raise_if_any()
    at_least_a_second(config_yaml.read_nodes("0.9s", problems), "timeout", problems)
    with pytest.raises(ConfigError, match=r"timeout is '0.9s'; allowed: .*at least 1s"):
        problems.raise_if_any()


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("max_retries: 1_000", "1000"),
        ("max_retries: '3'", "3"),
        ("retry_delay: 10 S", "10s"),
        ("retry_delay: '10'", "10"),
        ("log_max_size: 10mb", "10MB"),
        ("log_max_size: 10 M", "10MB"),
        ("durability: ful", "full"),
        ("durability: Normal", "normal"),
        ("max_retrys: 3", "max_retries"),
        ("retry_delay: {frist: 3}", "first"),
        ("boot: on", '"on"'),
    ],
)
def test_a_slip_gets_a_did_you_mean(line: str, meant: str) -> None:
    assert only_problem_of(f"{LISTS}{line}").endswith(f"; did you mean '{meant}'?")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "3:14: retry_delay is an empty list"),
        ("[10s, soon]", "3:20: the delay is 'soon'"),
        ("[[1s]]", "3:15: the delay is a list"),
        ("soon", "3:14: retry_delay is 'soon'"),
        ("{factor: 0.5}", "3:23: factor is '0.5'; allowed: a number from 1 to 100"),
        ("{factor: 101}", "3:23: factor is '101'"),
        ("{first: 2h}", "3:14: retry_delay: first (7200s) is longer than max (3600s)"),
        ("{max: null}", "3:20: max is 'null'"),
        ("", "3:13: retry_delay is empty"),
    ],
)
def test_a_retry_delay_of_another_shape_is_an_error(text: str, problem: str) -> None:
    assert only_problem_of(f"{LISTS}retry_delay: {text}\n").startswith(problem)


@pytest.mark.parametrize("text", ["yes", "on", "True", "1", "null", "[]", ""])
def test_a_yes_or_no_is_true_or_false(text: str) -> None:
    problem = only_problem_of(f"{LISTS}fresh: {text}\n")

    assert "fresh is " in problem
    assert "allowed: true or false" in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("7d", "3:7: keep is '7d'; allowed: a mapping with the keys completed, failed, cancelled"),
        ("{failed: ever}", "3:16: failed is 'ever'"),
        ("{pending: 7d}", "3:8: 'pending' is no key of keep"),
    ],
)
def test_what_to_keep_is_a_duration_for_each_finished_status(text: str, problem: str) -> None:
    assert only_problem_of(f"{LISTS}keep: {text}").startswith(problem)


# Hooks and the address to ping


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("on_alarm: app.job.Job", "3:11: on_alarm: app.job.Job is not approved"),
        ("on_failure: mail.Failure", "3:13: on_failure: mail.Failure is not approved"),
        ("on_failure: Job", "3:13: on_failure 'Job' names no module"),
        ("on_failure: [app.jobs.Job]", "3:13: on_failure is a list"),
        ("metrics_file: jobs.txt", "3:15: metrics_file 'jobs.txt' does not end in .prom, so node_exporter would not"),
        ("metrics_file: ~/jobs.prom", "3:15: metrics_file '~/jobs.prom' begins with '~'"),
        ("ping_url: example.org", "3:11: ping_url 'example.org' does not begin with http:// or https://"),
        ("ping_url: file:///etc/passwd", "3:11: ping_url 'file:///etc/passwd' does not begin with http"),
        ("ping_url: https://", "3:11: ping_url 'https://' is no address"),
        ("ping_url: 3", "3:11: ping_url is '3'"),
        ("mask: secret", "3:7: mask is 'secret'"),
        ("mask: ['']", "3:8: the pattern '' is empty"),
        ("report_file: jobs.txt", "3:14: report_file 'jobs.txt' does not end in .html, so no browser would show"),
        ("dashboard_password_hash: letmein", "3:26: dashboard_password_hash 'letmein' is no hash of a password, and a"),
    ],
)
def test_a_hook_or_an_address_that_is_wrong_is_an_error(text: str, problem: str) -> None:
    assert only_problem_of(f"{LISTS}{text}\n").startswith(problem)


def test_a_slip_in_the_name_of_a_hook_gets_a_did_you_mean() -> None:
    assert only_problem_of(f"{LISTS}on_alarm: app.job.Job\n").endswith("did you mean 'app.jobs.Job'?")


def test_the_method_of_a_hook_must_be_approved_for_its_class() -> None:
    classes = "approved_classes: [a.B, a.Own: {methods: [%s]}]\napproved_methods: [%s]\non_failure: a.%s\n"

    parsed(classes % ("execute", "run", "Own"))
    parsed(classes % ("run", "execute", "B"))
    for wrong in (classes % ("run", "execute", "Own"), classes % ("execute", "run", "B")):
        assert "the method execute of a." in only_problem_of(wrong)


# Names and paths


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Job", "names no module"),
        ("__main__.Job", "stands in the script that was started"),
        ("app._Job", "is private"),
        ("app.__Job__", "is private"),
        ("app.class.Job", "Python's own word 'class'"),
        ("app.None", "Python's own word 'None'"),
        ("app..Job", "is no name in Python"),
        (".Job", "is no name in Python"),
        ("app.", "is no name in Python"),
        ("app.*", "is no name in Python"),
        ("app.1Job", "is no name in Python"),
        ("app.jobs:Job", "is no name in Python"),
        ("app/jobs.Job", "is no name in Python"),
        ("app.J\u043eb", "a character beyond ASCII"),
        ("app.\uff2aob", "a character beyond ASCII"),
    ],
)
def test_a_class_is_named_by_ascii_identifiers_with_a_module(name: str, reason: str) -> None:
    problem = only_problem_of(f"approved_classes: [{name}]\napproved_methods: []")

    assert problem.startswith(f"1:20: the class {name!a} ")
    assert reason in problem


def test_a_private_module_is_a_fine_place_for_a_class() -> None:
    assert list(parsed("approved_classes: [_app.__init__.Job]\napproved_methods: []").classes) == ["_app.__init__.Job"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("__init__", "private or one of Python's own"),
        ("_hidden", "private or one of Python's own"),
        ("import", "Python's own word"),
        ("a.b", "is no name"),
        ("a b", "is no name"),
        ("''", "is no name"),
        ('"run\\n"', "is no name"),
        ("ex\u00e9cute", "beyond ASCII"),
    ],
)
def test_a_method_is_a_public_ascii_identifier(name: str, reason: str) -> None:
    problem = only_problem_of(f"approved_classes: []\napproved_methods: [{name}]")

    assert problem.startswith("2:20: the method ")
    assert reason in problem


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize("name", ["on", "Off", "yes", "No", "true", "null", "1_000", "2020-01-01", "1:30", "017", "~"])
def test_a_name_that_yaml_reads_as_something_else_must_be_quoted(name: str) -> None:
    problem = only_problem_of(f"approved_classes: []\napproved_methods: [{name}]")

    assert problem.startswith(f"2:20: the method is '{name}', which YAML does not read as text; put it in quotes")


@pytest.mark.parametrize(("item", "column"), [("", 4), ("[a.B]", 5), ("{}", 5)])
def test_a_list_of_names_holds_only_names(item: str, column: int) -> None:
    problem = only_problem_of(f"approved_methods:\n  - {item}\napproved_classes: []")

    assert problem.startswith(f"2:{column}: the method is ")


@pytest.mark.parametrize("name", ["app.Job", "a.b.c.D", "match.case.Type", "app.J\u00f6b"])
def test_boot_is_a_dotted_name(name: str) -> None:
    if name.isascii():
        assert with_lists(f"boot: {name}").boot == name
    else:
        assert "3:7: boot 'app.J\\xf6b' holds a character beyond ASCII" in only_problem_of(f"{LISTS}boot: {name}")


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("~/jobs.sqlite3", "another folder for cron"),
        ("''", "is empty"),
        ('"a\\0b"', "can't be seen"),
        ('"a\\nb"', "can't be seen"),
        ("~", "does not read as text"),
        ("2024", "put it in quotes"),
        ("null", "put it in quotes"),
        ("[a]", "is a list"),
        ("", "is empty"),
    ],
)
def test_a_path_is_written_out(text: str, reason: str) -> None:
    problem = only_problem_of(f"{LISTS}database: {text}\n")

    assert problem.startswith("3:")
    assert reason in problem


# Keys and shapes


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LISTS + "a: 1", "3:1: 'a' is no key of the file; allowed: the keys approved_classes, approved_methods, "),
        (LISTS + "max_retries: 1\nmax_retries: 1", "4:1: 'max_retries' stands here twice, first in line 3"),
        (LISTS + "boot: a\n'boot': a", "4:1: 'boot' stands here twice, first in line 3"),
        (LISTS + "retry_delay: {max: 1h, max: 2h}", "3:24: 'max' stands here twice, first in line 3"),
        (LISTS + "? [a]\n: b", "3:3: a list or mapping stands where a key is wanted"),
        ("approved_methods: []", "1:1: approved_classes is missing"),
        ("\n\napproved_classes: []", "3:1: approved_methods is missing"),
        ("approved_methods: []\napproved_classes: [a.B, a.C, a.B]", "2:30: a.B is approved twice"),
        ("approved_methods: []\napproved_classes: [a.B, {a.B: {max_retries: 1}}]", "2:26: a.B is approved twice"),
        ("approved_methods: []\napproved_classes:\n- a.B: {methods: [a], methods: [b]}", "3:23: 'methods' stands here"),
        ("approved_methods: []\napproved_classes:\n- a.B: {workers: 3}", "3:9: 'workers' is no key of the class"),
        ("approved_methods: []\napproved_classes:\n- a.B:\n", "3:7: the class a.B is empty; allowed: a mapping"),
        ("approved_methods: []\napproved_classes:\n- a.B:\n  methods: [a]", "3:3: a class has one name and its sett"),
        ("approved_methods: []\napproved_classes:\n- {}", "3:3: a class has one name and its settings"),
        ("approved_methods: []\napproved_classes:\n- [a.B]", "3:3: the class is a list"),
        ("approved_methods: []\napproved_classes: {a.B: {}}", "2:19: approved_classes is a mapping; allowed: a list"),
        ("approved_methods: []\napproved_classes: a.B", "2:19: approved_classes is 'a.B'; allowed: a list"),
        ("approved_methods: []\napproved_classes:", "2:18: approved_classes is empty; allowed: a list"),
        ("[a]", "1:1: the file is a list; allowed: a mapping"),
        ("approved_classes", "1:1: the file is 'approved_classes'; allowed: a mapping"),
    ],
)
def test_a_wrong_shape_is_told_with_its_place(text: str, problem: str) -> None:
    assert only_problem_of(text).startswith(problem)


@pytest.mark.parametrize("text", ["methods: execute", "methods: 'execute'", "methods: on", "methods: {execute: 1}"])
def test_methods_as_plain_text_approve_nothing_and_no_letters(text: str) -> None:
    problem = only_problem_of(f"approved_classes: [a.B: {{{text}}}]\napproved_methods: []")

    assert "methods is " in problem
    assert "allowed: a list such as [execute]" in problem
    assert ("did you mean '[execute]'?" in problem) == (text[:16] in ("methods: execute", "methods: 'execut"))


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    problems = problems_of(
        "approved_classes:\n"
        "  - app.Job: {timout: 3, methods: execute}\n"
        "  - Job\n"
        "approved_methods: [on, &a run, _x]\n"
        "boot: !!str x\n"
        "max_retries: many\n"
        "max_retries: 3\n"
        "linger: *a\n"
    )

    places = [problem.split(": ")[0] for problem in problems]
    assert places == ["2:15", "2:35", "3:5", "4:20", "4:24", "4:32", "5:7", "6:14", "7:1", "8:9"]


def test_hopelessly_many_problems_are_cut_off() -> None:
    problems = problems_of("".join(f"key{number}: 1\n" for number in range(1000)))[:-1]

    assert len(problems) == MOST_PROBLEMS
    assert problems[0].startswith("1:1: 'key0' is no key")


def test_texts_in_messages_are_short_and_on_one_line() -> None:
    problem = only_problem_of(LISTS + '"a\\nb' + "c" * 500 + '": 1')

    assert "'a\\nbccc" in problem
    assert len(problem) < 500


# What YAML offers beyond


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("boot: &a x", "3:7: an anchor (&a) is not allowed"),
        ("retry_delay: &a [1s]", "3:14: an anchor (&a) is not allowed"),
        ("boot: *a", "3:7: an alias (*a) is not allowed"),
        ("*a : x", "3:1: an alias (*a) is not allowed"),
        ("<<: {boot: x}", "3:1: a merge key (<<) is not allowed"),
        ("boot: !!str x", "3:7: a tag ('tag:yaml.org,2002:str') is not allowed"),
        ("boot: !mine x", "3:7: a tag ('!mine') is not allowed"),
        ("boot: ! x", "3:7: a tag ('!') is not allowed"),
        ("retry_delay: !!set {max}", "3:14: a tag"),
        ("retry_delay: !!python/object/apply:os.system [1s]", "3:14: a tag"),
    ],
)
def test_anchors_aliases_merge_keys_and_tags_are_refused(line: str, problem: str) -> None:
    assert problems_of(LISTS + line)[0].startswith(problem)


@pytest.mark.parametrize("line", ["boot: *a", "linger: *a", "fresh: *a", "keep: *a", "retry_delay: *a", "*a : 1"])
def test_what_is_refused_is_told_once(line: str) -> None:
    assert "an alias (*a) is not allowed" in only_problem_of(LISTS + line)


def test_a_refused_list_is_told_once() -> None:
    assert "an alias (*a) is not allowed" in only_problem_of("approved_classes: *a\napproved_methods: []")


def test_two_refused_keys_are_not_one_key_twice() -> None:
    problems = problems_of(LISTS + "*a : 1\n*b : 2\nrefused: 3")

    assert [problem.split(" ")[1:3] for problem in problems] == [["an", "alias"], ["an", "alias"], ["'refused'", "is"]]


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize("merge", ["", "<<: "])
def test_a_bomb_of_aliases_costs_nothing(merge: str) -> None:
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {{{merge}[{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30)]
    start = time.perf_counter()

    problems = problems_of("\n".join(lines))

    assert time.perf_counter() - start < 1
    assert "1:5: an anchor (&a0) is not allowed" in problems[0]


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[{a: "])
@pytest.mark.parametrize("levels", [25, 100_000])
def test_deep_nesting_is_an_error_and_no_recursion(opening: str, levels: int) -> None:
    start = time.perf_counter()

    problem = problems_of(opening * levels)[0]

    assert time.perf_counter() - start < 5
    assert "more than 20 deep" in problem


def test_twenty_levels_are_read() -> None:
    assert "more than" not in problems_of("[" * 20 + "]" * 20)[0]
    assert "more than" in problems_of("[" * 21 + "]" * 21)[0]


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize("text", ["", "\n\n", "# only this\n", "---\n", "--- ''\n", "\ufeff"])
def test_an_empty_file_is_an_error(text: str) -> None:
    assert only_problem_of(text).startswith("1:1: the file is empty")


@pytest.mark.usefixtures("either_parser")
def test_a_second_document_is_an_error_beside_those_of_the_first() -> None:
    problems = problems_of("a: 1\n" + LISTS + "---\nb: 1\n---\n")

    assert [problem.split(";")[0] for problem in problems] == [
        "1:1: 'a' is no key of the file",
        "4:1: a second document begins here",
    ]


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1", "1:4: a '[' opens here"),
        ("a: [1}\n", "1:4: a '[' opens here"),
        ("a: {b", "1:4: a '{' opens here"),
        ("a: 'b\nc: d\n", "1:4: a quote opens here and is not closed"),
        ("a: b: c", "1:5: no ':' can stand here"),
        ("a: 1\n  b: 2\n", "2:4: no ':' can stand here"),
        ("a:\n\tb: 1", "2:1: a tab stands where only blanks can indent"),
        ("a: @b", "1:4: a text that begins with '@' must stand in quotes"),
        ("a: `b", "1:4: a text that begins with '`' must stand in quotes"),
        ("a: %b", "1:4: a text that begins with '%' must stand in quotes"),
        ("- *\n", "1:3: a text that begins with '*' must stand in quotes"),
        ("- & b\n", "1:3: a text that begins with '&' must stand in quotes"),
        ("a: ]", "1:4: a text that begins with ']' must stand in quotes"),
        ("a: 1\nb\nc: 1", "2:1: a ':' is missing after this key"),
        ("a: 1\n- b", "2:1: this line is not indented like the lines before it"),
        ("a:\n    - b\n  - c", "3:3: this line is not indented like the lines before it"),
        ('a: "\\q"', "1:5: YAML knows no such escape"),
        ("a: |b\n", "1:4: the text after '|' or '>'"),
        ("a: 1\n...\nb", "3:1: nothing more can stand here"),
        ("\u00e4: [b\n\n", "1:4: a '[' opens here"),
        ("a: [\n\n", "3:1: a '[' or '{' that opens before here is not closed"),
    ],
)
def test_a_slip_of_syntax_is_told_in_plain_words(text: str, problem: str) -> None:
    if "escape" in problem and config_yaml.LOADER is yaml.SafeLoader:
        problem = "1:6: YAML knows no such escape"  # the Python parser points at the letter, not at the backslash

    assert only_problem_of(text).startswith(problem)


@pytest.mark.usefixtures("either_parser")
def test_what_a_parser_stumbles_over_is_still_an_error_of_ours() -> None:
    for text in ('a: "\\U99999999"', "%YAML 1." + "1" * 5000 + "\n--- a", "%YAML 2.0\n--- a", "a: !<%ff> b"):
        assert len(problems_of(text)) > 0


@pytest.mark.usefixtures("either_parser")
def test_control_characters_are_told_with_their_place() -> None:
    assert (
        only_problem_of("a: 1\nb: \x00") == "2:4: the character '\\x00' can't stand in YAML; allowed: text without it"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: 1\nb: \xe4\n", "2:4: byte 0xe4 is not UTF-8"),
        (b"\xef\xbb\xbfa\xff", "1:2: byte 0xff is not UTF-8"),
        ("a: 1".encode("utf-16"), "1:1: byte 0xff is not UTF-8"),
        (b"# \xed\xa0\x80", "1:3: byte 0xed is not UTF-8"),
    ],
)
def test_a_file_that_is_not_utf_8_is_an_error(content: bytes, problem: str) -> None:
    assert only_problem_of(content).startswith(problem)


def test_a_file_may_have_one_megabyte_and_no_byte_more() -> None:
    full = LISTS.encode() + b"#" * (1024**2 - len(LISTS))

    assert list(parsed(full).classes) == ["app.jobs.Job"]
    assert only_problem_of(full + b"#").startswith("1:1: the file is larger than 1 MB")


# Any bytes at all

WORDS = "methods first max app.Job execute on ~ 10s 1_0 3 1MB true '' [ ] { } &a *a << | > ' \" \\ # @ % \ufeff \u00e9"
MARKS = [
    ": ",
    ":",
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    ", ",
    "? ",
    "!!str ",
    "\t",
    "---\n",
    "...\n",
    "\x00",
    "\u2028",
    "\x85",
]
FRAGMENTS = st.sampled_from([*config_keys.ALL_KEYS, *WORDS.split(" "), *MARKS, '"\\ud800"'])


@pytest.mark.parametrize("loader", [getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader])
@settings(deadline=None, max_examples=150)
@given(content=st.one_of(st.binary(max_size=200), st.lists(FRAGMENTS, max_size=60).map("".join).map(str.encode)))
def test_any_bytes_give_a_config_or_a_config_error(loader: Any, content: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(ConfigError):
        patch.setattr(config_yaml, "LOADER", loader)
        assert isinstance(parse_config(content, PATH), Config)


@settings(deadline=None, max_examples=150)
@given(key=st.sampled_from(sorted(config_keys.ALL_KEYS)), value=st.lists(FRAGMENTS, max_size=8).map("".join))
def test_any_value_of_any_key_gives_a_config_or_a_config_error(key: str, value: str) -> None:
    lines = {"approved_classes": "[a.B]", "approved_methods": "[run]", key: value}

    with contextlib.suppress(ConfigError):
        config = parsed("".join(f"{name}: {text}\n" for name, text in lines.items()))
        assert all(rules.retry_delay.seconds(1) >= 0 for rules in config.classes.values())
        assert config.database.startswith("/")
        assert "\0" not in config.database + config.log_directory


# Reading the file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "jobs.yaml"
    file.write_text(LISTS)
    file.chmod(0o644)
    return file


def test_a_config_is_read_from_its_file(file: Path, tmp_path: Path) -> None:
    config = read_config(str(file))

    assert config.path == str(file)
    assert config.content == LISTS.encode()
    assert config.root == str(tmp_path)
    assert config.database == str(tmp_path / "storage" / "jobs.sqlite3")
    assert config.warnings == ()


def test_relative_paths_start_above_the_config_wherever_one_stands(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)

    config = read_config("jobs.yaml")

    assert config.path == str(file)
    assert config.log_directory == str(tmp_path / "storage" / "logs")


def test_a_config_that_everyone_can_write_is_read_with_a_warning(file: Path) -> None:
    file.chmod(0o664)
    assert read_config(str(file)).warnings == ()

    file.chmod(0o666)
    (warning,) = read_config(str(file)).warnings
    assert str(file) in warning
    assert "chmod o-w" in warning


def problem_of_reading(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_config(str(path))

    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}: ")
    return problem


def test_a_missing_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    assert "no such file; create it" in problem_of_reading(tmp_path / "jobs.yaml")


def test_a_folder_in_its_place_is_an_error(tmp_path: Path) -> None:
    assert "this is a folder" in problem_of_reading(tmp_path)


def test_a_named_pipe_in_its_place_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert "no regular file" in problem_of_reading(tmp_path / "pipe")


def test_a_device_or_a_socket_in_its_place_is_an_error(tmp_path: Path) -> None:
    assert "no regular file" in problem_of_reading("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        short = os.path.relpath(tmp_path / "s")  # the path of a socket has at most 108 bytes
        listener.bind(short)
        assert "can't be read" in problem_of_reading(tmp_path / "s")


def test_a_link_that_leads_to_itself_or_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("missing")

    assert "can't be read" in problem_of_reading(tmp_path / "loop")
    assert "no such file" in problem_of_reading(tmp_path / "nowhere")


def test_a_path_that_can_be_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_config(f"{tmp_path}/a\0b")
    assert "can't be read" in problem_of_reading(tmp_path / ("x" * 300))


def test_a_file_that_may_not_be_read_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root may read everything

        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    file.chmod(0)

    assert "this user may not read it" in problem_of_reading(file)


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 40)

    assert "larger than 1 MB" in problem_of_reading_with_place(path)


def problem_of_reading_with_place(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_config(str(path))
    (problem,) = caught.value.problems
    return problem


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - a generator would hold one more open


def test_no_descriptor_is_left_open(file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = open_descriptors()

    for path in (file, tmp_path / "pipe", tmp_path, tmp_path / "missing"):
        with contextlib.suppress(ConfigError):
            read_config(str(path))

    assert open_descriptors() == before


# Finding the file


def test_a_named_config_comes_first(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent.parent)
    monkeypatch.setenv("BGJOB_CONFIG", "/etc/other.yaml")

    assert find_config("mine.yaml") == str(file.parent.parent / "mine.yaml")


def test_the_environment_comes_second(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent.parent)
    monkeypatch.setenv("BGJOB_CONFIG", "other.yaml")

    assert find_config() == str(file.parent.parent / "other.yaml")


def test_else_the_nearest_config_at_or_above_the_working_directory_is_found(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BGJOB_CONFIG", "")
    deep = file.parent.parent / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert find_config() == str(file)

    (deep.parent / "config").mkdir()
    (deep.parent / "config" / "jobs.yaml").symlink_to("missing")
    assert find_config() == str(deep.parent / "config" / "jobs.yaml"), "a broken link is an error, not another config"


def test_where_there_is_none_the_error_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BGJOB_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError) as caught:
        find_config()

    assert f"no config/jobs.yaml in {tmp_path} or a folder above it" in str(caught.value)
    assert "--config" in str(caught.value)


def test_a_working_directory_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BGJOB_CONFIG", raising=False)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    for find in (find_config, lambda: find_config("mine.yaml"), lambda: read_config("mine.yaml")):
        with pytest.raises(ConfigError):
            find()


# Start-up


def test_reading_a_good_config_imports_nothing_heavy_beside_yaml(file: Path) -> None:
    code = (
        "import sys, yaml; before = set(sys.modules); import bgjob.config; bgjob.config.read_config(sys.argv[1]);"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('bgjob')))"
    )

    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) <= {"__future__", "keyword"}
