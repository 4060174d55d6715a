"""The keys of a config: a row for each, with its kind and its default.

A new key is a row here and a part of `Config` (or of `ClassRules`, for a key that may also stand under a class).
"""

from __future__ import annotations

import yaml

from bgjob.config_kinds import choice, decimal, duration, integer, items, read_keys, size, text_of, yes_or_no
from bgjob.config_problems import closest
from bgjob.config_texts import (
    GB,
    KB,
    MB,
    OWN_EXCEPTIONS,
    wrong_class_name,
    wrong_exception_name,
    wrong_method_name,
    wrong_metrics_path,
    wrong_module_name,
    wrong_password_hash,
    wrong_path,
    wrong_pattern,
    wrong_report_path,
    wrong_web_address,
)
from bgjob.config_values import ClassRules, RetryDelay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bgjob.config_kinds import Table
    from bgjob.config_problems import Problems

DEFAULT_RETRY_DELAY = RetryDelay(delays=None, first=10.0, factor=4.0, maximum=3600.0)

DAY = 86_400.0
DEFAULT_KEEP = {"completed": 7 * DAY, "failed": 30 * DAY, "cancelled": 7 * DAY}

DEFAULT_MASK = (
    "*password*", "*passwd*", "*secret*", "*token*", "*api*key*", "*access*key*", "*private*key*", "*credential*",
    "*authorization*", "*cookie*",
)  # fmt: skip

class_name = text_of(wrong_class_name, "a dotted name such as app.custom_jobs.ExampleJob")
method_name = text_of(wrong_method_name, "a name such as execute")
module_name = text_of(wrong_module_name, "a dotted name such as app.boot")
exception_name = text_of(
    wrong_exception_name,
    "a dotted name such as app.errors.BadInput, or one of Python's own such as ConnectionError",
    words=OWN_EXCEPTIONS,
)
path_text = text_of(wrong_path, "a path; a relative one starts at the folder above the one of this file")
metrics_path = text_of(wrong_metrics_path, "a path that ends in .prom, such as storage/bgjob.prom")
report_path = text_of(wrong_report_path, "a path that ends in .html, such as storage/report.html")
password_hash = text_of(wrong_password_hash, "what `bgjob dashboard --hash-password` prints")
pattern = text_of(wrong_pattern, "a name of params, in which * stands for anything, such as '*password*'")
web_address = text_of(wrong_web_address, "a web address such as https://hc-ping.com/your-uuid")
one_duration = duration()


def methods(node: yaml.Node, name: str, problems: Problems) -> frozenset[str]:
    """Read a list of method names."""
    children = items(node, name, problems, "a list such as [execute], or [] for none")
    return frozenset(method_name(child, "the method", problems) for child in children)


def exceptions(node: yaml.Node, name: str, problems: Problems) -> frozenset[str]:
    """Read a list of exceptions, as full dotted names."""
    children = items(node, name, problems, "a list such as [ConnectionError, app.errors.BadInput], or [] for none")
    names = [exception_name(child, "the exception", problems) or "" for child in children]
    return frozenset(each if "." in each else f"builtins.{each}" for each in names)


def patterns(node: yaml.Node, name: str, problems: Problems) -> tuple[str, ...]:
    """Read a list of patterns that names of params are held against."""
    children = items(node, name, problems, "a list such as ['*password*', iban], or [] for none")
    return tuple(pattern(child, "the pattern", problems) or "" for child in children)


def retry_delay(node: yaml.Node, name: str, problems: Problems) -> RetryDelay | None:
    """Read one duration, a list of at least one, or how delays grow."""
    if isinstance(node, yaml.MappingNode):
        return _growing_delay(node, name, problems)
    if isinstance(node, yaml.SequenceNode):
        delays = [one_duration(child, "the delay", problems) for child in node.value]
        if not delays:
            problems.add(node, f"{name} is an empty list", allowed="at least one duration, such as [10s, 5m]")
    else:
        delays = [one_duration(node, name, problems)]
    if not delays or None in delays:
        return None
    return RetryDelay(delays=tuple(delays), first=delays[0], factor=1.0, maximum=max(delays))


def _growing_delay(node: yaml.Node, name: str, problems: Problems) -> RetryDelay | None:
    default = DEFAULT_RETRY_DELAY
    table: Table = {
        "first": (one_duration, default.first),
        "factor": (decimal(1, 100), default.factor),
        "max": (one_duration, default.maximum),
    }
    parts = _defaults(table) | read_keys(node, name, problems, table)
    first, factor, maximum = parts["first"], parts["factor"], parts["max"]
    if None in (first, factor, maximum):
        return None
    if first > maximum:
        problems.add(node, f"{name}: first ({first:g}s) is longer than max ({maximum:g}s)", allowed="first up to max")
    return RetryDelay(delays=None, first=first, factor=factor, maximum=maximum)


def keep(node: yaml.Node, name: str, problems: Problems) -> dict[str, float]:
    """Read how long finished rows are kept, by status; a status that is left out keeps its default."""
    table: Table = {status: (one_duration, seconds) for status, seconds in DEFAULT_KEEP.items()}
    return _defaults(table) | read_keys(node, name, problems, table)


# These may also stand under a class, and then hold for it alone.
CLASS_KEYS: Table = {
    "max_retries": (integer(0, 1000), 3),
    "retry_delay": (retry_delay, DEFAULT_RETRY_DELAY),
    "retry_on": (exceptions, frozenset()),
    "fail_on": (exceptions, frozenset()),
    "max_crashes": (integer(1, 1000), 2),
    "max_postponements": (integer(0, 1_000_000), 100),
    "timeout": (duration(0.001), 3600.0),
    "max_memory": (size(MB, 1000 * GB), None),
    "fresh": (yes_or_no, False),
}
FILE_KEYS: Table = {
    "timeout_grace": (one_duration, 5.0),
    "shutdown_grace": (one_duration, 4.0),
    "workers": (integer(1, 1000), 1),
    "linger": (one_duration, 0.0),
    "keep": (keep, DEFAULT_KEEP),
    "boot": (module_name, None),
    "database": (path_text, "storage/jobs.sqlite3"),
    "durability": (choice("full", "normal"), "full"),
    "max_params_size": (size(1, GB), MB),
    "log_directory": (path_text, "storage/logs"),
    "log_max_size": (size(KB, 100 * GB), 10 * MB),
    "log_files": (integer(1, 1000), 5),
    "alarm_after": (duration(120), 300.0),  # cron's minute may be late; half of it is no outage
    "on_alarm": (class_name, None),
    "on_failure": (class_name, None),
    "metrics_file": (metrics_path, None),
    "ping_url": (web_address, None),
    "mask": (patterns, DEFAULT_MASK),
    "report_file": (report_path, None),
    "dashboard_password_hash": (password_hash, None),
}
HOOKS = ("on_alarm", "on_failure")
HOOK_METHOD = "execute"


def approved_classes(node: yaml.Node, name: str, problems: Problems) -> dict[str, dict[str, Any]]:
    """Read the list of approved classes: name -> what is set for that class alone."""
    allowed = "a list such as [app.custom_jobs.ExampleJob], or [] for none"
    classes: dict[str, dict[str, Any]] = {}
    for item in items(node, name, problems, allowed):
        name_node, settings_node = _name_and_settings(item, problems)
        approved = class_name(name_node, "the class", problems) if name_node else None
        if name_node is None or approved is None:
            continue
        if approved in classes:
            problems.add(name_node, f"{approved} is approved twice", allowed="each class once")
        classes[approved] = {}
        if settings_node:
            settings = f"the class {approved}"
            classes[approved] = read_keys(settings_node, settings, problems, {"methods": (methods, None), **CLASS_KEYS})
    return classes


def _name_and_settings(item: yaml.Node, problems: Problems) -> tuple[yaml.Node | None, yaml.Node | None]:
    if not isinstance(item, yaml.MappingNode):
        return item, None
    if len(item.value) == 1:
        name_node, settings_node = item.value[0]
        return name_node, settings_node
    what = "a class has one name and its settings below it, deeper indented than the name"
    problems.add(item, what, allowed="- app.custom_jobs.ExampleJob: {methods: [execute]}")
    return None, None


REQUIRED_KEYS: Table = {
    "approved_classes": (approved_classes, None),
    "approved_methods": (methods, None),
}
ALL_KEYS: Table = REQUIRED_KEYS | CLASS_KEYS | FILE_KEYS


def read_settings(root: yaml.Node, problems: Problems) -> dict[str, Any]:
    """Return the values of FILE_KEYS, `classes` (name -> ClassRules) and `methods`; or raise ConfigError with all."""
    given = read_keys(root, "the file", problems, ALL_KEYS)
    if isinstance(root, yaml.MappingNode):
        for key in REQUIRED_KEYS:
            if key not in given:
                problems.add(root, f"{key} is missing", allowed=f"'{key}:' with a list, or with [] for none")
        _check_hooks(root, given, problems)
    problems.raise_if_any()
    values = _defaults(ALL_KEYS) | given
    of_all = {key: values[key] for key in CLASS_KEYS} | {"methods": values["approved_methods"]}
    classes = {name: ClassRules(**(of_all | own)) for name, own in values["approved_classes"].items()}
    return {key: values[key] for key in FILE_KEYS} | {"classes": classes, "methods": values["approved_methods"]}


def _check_hooks(root: yaml.MappingNode, given: dict[str, Any], problems: Problems) -> None:
    """Note a hook whose class or method is not approved: its job would fail just when it is needed."""
    classes = given.get("approved_classes") or {}
    for key, node in root.value:
        name = given.get(key.value) if key.value in HOOKS else None
        if name is None or wrong_class_name(name):
            continue
        if name not in classes:
            what = f"{key.value}: {name} is not approved"
            problems.add(node, what, allowed="a class of approved_classes", meant=closest(name, classes))
        elif HOOK_METHOD not in (classes[name].get("methods", given.get("approved_methods")) or ()):
            what = f"{key.value}: the method {HOOK_METHOD} of {name} is not approved"
            problems.add(node, what, allowed=f"a class whose methods hold {HOOK_METHOD}")


def _defaults(table: Table) -> dict[str, Any]:
    return {key: default for key, (_, default) in table.items()}
