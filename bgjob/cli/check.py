"""`--check`: is the config right, and can every approved class and method be found."""

from __future__ import annotations

import sys

from bgjob import execution
from bgjob.cli.run import A_JOB_FAILED
from bgjob.runner import CONFIG_WRONG, FINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.config import Config


def check(config: Config) -> int:
    """Import every approved class as a worker would and say what can't be found; return the exit code."""
    for warning in config.warnings:
        _say(f"warning: {warning}")
    execution.open_the_way(config.root)
    try:
        execution.import_boot(config)
    except BaseException as error:  # noqa: BLE001  # the edge of user code
        _say(f"boot: {config.boot} can't be imported: {execution.described(error).error}")
        return CONFIG_WRONG
    missing = sum(_missing(name, sorted(rules.methods)) for name, rules in config.classes.items())
    if missing:
        _say(f"{missing} not found; jobs that name them would fail. The list stands in {config.path}")
        return A_JOB_FAILED
    _say(f"{config.path} is fine: {len(config.classes)} approved classes, all found with their methods")
    return FINE


def _missing(name: str, methods: list[str]) -> int:
    try:
        job_class = execution.find_class(name)
    except BaseException as error:  # noqa: BLE001  # the edge of user code
        _say(f"{name}: can't be imported: {execution.described(error).error}")
        return 1
    missing = 0
    for method in methods:
        try:
            execution.check_method(job_class, method)
        except execution.NotRunnableError as error:
            _say(f"{name}: {error}")
            missing += 1
    return missing


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
