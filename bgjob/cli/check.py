"""`--check`: is the config right, and can every approved class and method be found."""

from __future__ import annotations

import contextlib

from bgjob import execution
from bgjob.console import write_line
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
    found: dict[str, set[str]] = {}
    problems = []
    for name in config.classes:
        try:
            found[name] = _methods_of(execution.find_class(name), config.classes[name].methods)
        except execution.NotRunnableError as error:
            problems.append(f"{name}: {error}")
        except BaseException as error:  # noqa: BLE001  # the edge of user code
            problems.append(f"{name} can't be imported: {execution.described(error).error}")
    problems += _not_found(config, found)
    for problem in problems:
        _say(problem)
    if problems:
        _say(f"{len(problems)} not found; jobs that name them would fail. The lists stand in {config.path}")
        return CONFIG_WRONG
    count = len(config.classes)
    _say(f"{config.path} is fine: {count} approved {'class' if count == 1 else 'classes'}, all found with all methods")
    return FINE


def _methods_of(job_class: type, methods: frozenset[str]) -> set[str]:
    found = set()
    for method in methods:
        with contextlib.suppress(execution.NotRunnableError):
            execution.check_method(job_class, method)
            found.add(method)
    return found


def _not_found(config: Config, found: dict[str, set[str]]) -> list[str]:
    """Return a line for each method that a class lists for itself and lacks, or that no class has."""
    problems = []
    for name, methods in found.items():
        own = config.classes[name].methods
        if own != config.methods:
            problems += [f"{name} has no runnable method {method}" for method in sorted(own - methods)]
        elif own and not methods:
            problems.append(f"{name} has none of the approved methods: {', '.join(sorted(own))}")
    sharing = [name for name in found if config.classes[name].methods == config.methods]
    anywhere = set().union(*(found[name] for name in sharing))
    if sharing:
        problems += [
            f"no approved class has a runnable method {method}" for method in sorted(config.methods - anywhere)
        ]
    return problems


def _say(text: str) -> None:
    write_line(1, text)
