"""`bgjob check` and `--check`: is the config right, and can all that it names be found."""

from __future__ import annotations

from bgjob.cli import page
from bgjob.cli.colours import GREEN, RED, YELLOW, painted
from bgjob.cli.exits import CONFIG_WRONG, FINE
from bgjob.cli.imports import BOOT, EXCEPTION, find_all
from bgjob.console import shown, write_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.cli.imports import Imported
    from bgjob.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments but those of all commands."""


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Check the config, as `background_runner.py --check` does; return the exit code."""
    if not arguments.json:
        return check(config)
    findings = find_all(config)
    problems = _problems(config, findings)
    page.document(
        {
            "config": config.path,
            "classes": list(config.classes),
            "methods": {name: findings[name].methods if name in findings else None for name in config.classes},
            "warnings": [*config.warnings],
            "problems": problems,
        }
    )
    return CONFIG_WRONG if problems else FINE


def check(config: Config) -> int:
    """Import all that the config names as a worker does and say what can't be found; return the exit code."""
    for warning in config.warnings:
        _say(painted(page.fitted(f"warning: {warning}"), YELLOW))
    findings = find_all(config)
    problems = _problems(config, findings)
    for problem in problems:
        _say(painted(page.fitted(shown(problem)), RED))
    if problems and problems[0].startswith(_BOOT):
        return CONFIG_WRONG
    if problems:
        told = f"{len(problems)} not found; jobs fail, or are not tried again as meant"
        _say(page.fitted(f"{told}. The lists stand in {config.path}"))
        return CONFIG_WRONG
    for name in config.classes:
        _say(f"  {name}: {', '.join(findings[name].methods) or 'no method'}")
    count = len(config.classes)
    told = f"{config.path} is fine: {count} approved {'class' if count == 1 else 'classes'}, all found with all methods"
    _say(painted(page.fitted(told), GREEN))
    return FINE


_BOOT = "boot: "


def _problems(config: Config, findings: dict[str, Imported]) -> list[str]:
    """Return a line for `boot`, if that can't be imported, else for each class, method and exception not found."""
    if findings[BOOT].problem:
        return [f"{_BOOT}{config.boot}{findings[BOOT].problem}"]
    problems = [f"{name}{finding.problem}" for name, finding in findings.items() if finding.problem]
    exceptions = [problem for problem in problems if problem.startswith(EXCEPTION)]
    classes = [problem for problem in problems if problem not in exceptions]
    found = {name: set(findings[name].methods) for name in config.classes if not findings[name].problem}
    return classes + _not_found(config, found) + exceptions


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
