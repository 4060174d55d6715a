"""Approval: which class and method may run, decided by the lists of config/jobs.yaml alone."""

from __future__ import annotations

import sys

from bgjob.errors import InvalidJobError, NotApprovedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.config import ClassRules, Config


def approve(config: Config, job_class: object, method: object) -> ClassRules:
    """Return the rules of an approved class whose method is approved; raise NotApprovedError otherwise.

    Names are compared as exact text with the lists as written; nothing is imported or looked up.
    """
    if type(job_class) is not str or job_class not in config.classes:
        raise NotApprovedError(_class_refused(config, job_class))
    rules = config.classes[job_class]
    if type(method) is not str or method not in rules.methods:
        raise NotApprovedError(_method_refused(config, job_class, method))
    return rules


def approved(config: Config, job_class: object, method: object) -> tuple[str, str]:
    """Return the approved names of a class (an object or a dotted name) and a method, without importing anything.

    Raises InvalidJobError for what is no class or no name, or stands in `__main__`; NotApprovedError for what is not
    on the lists.
    """
    name = job_class if type(job_class) is str and job_class in config.classes else approved_name(config, job_class)
    if type(method) is not str:
        message = f"method must be the name of a method as text, such as 'execute', not {type(method).__name__}"
        raise InvalidJobError(message)
    approve(config, name, method)
    return name, method


def approved_name(config: Config, job_class: object) -> str:
    """Return the approved name for a class object or a dotted name, without importing anything.

    A class is queued under its own dotted name, or under another approved name that leads to it in a module that is
    loaded already (a package that re-exports its classes).
    Raises InvalidJobError for what is neither, or for a class of `__main__`.
    """
    if type(job_class) is str:
        name = job_class
    elif issubclass(type(job_class), type):
        name = _name_of_class(config, job_class)  # type: ignore[arg-type]  # a class, as just seen
    else:
        message = (
            f"job_class must be a class or its dotted name such as 'app.custom_jobs.ExampleJob', "
            f"not {type(job_class).__name__}"
        )
        raise InvalidJobError(message)
    if name.startswith(("__main__.", "__mp_main__.")):  # the latter in children of multiprocessing
        message = (
            f"{_shown(name)} stands in the script that was started, which the runner would not find under that name; "
            "move the class into a module of its own, approve it there and queue it by that name"
        )
        raise InvalidJobError(message)
    return name


def _name_of_class(config: Config, job_class: type) -> str:
    # Read past the class's own metaclass, whose code is not ours to run.
    module, qualname = vars(type)["__module__"].__get__(job_class), vars(type)["__qualname__"].__get__(job_class)
    own = f"{module}.{qualname}" if type(module) is str else f"?.{qualname}"
    if own in config.classes:
        return own
    for name in config.classes:
        module, _, attribute = name.rpartition(".")
        if getattr(sys.modules.get(module), "__dict__", {}).get(attribute) is job_class:
            return name
    return own


def _class_refused(config: Config, job_class: object) -> str:
    where = f"Approved classes stand in {config.path}"
    if not config.classes:
        return f"{_shown(job_class)} is not approved: no class is. {where}"
    return f"{_shown(job_class)} is not approved{_did_you_mean(job_class, list(config.classes)) or '.'} {where}"


def _method_refused(config: Config, job_class: str, method: object) -> str:
    methods = sorted(config.classes[job_class].methods)
    return (
        f"method {_shown(method)} is not approved{_did_you_mean(method, methods) or '.'} "
        f"Approved for {job_class}: {', '.join(methods) or 'none'}. The lists stand in {config.path}"
    )


def _did_you_mean(name: object, names: list[str]) -> str:
    if type(name) is not str or len(name) > _LONGEST_COMPARED:
        return ""
    import difflib  # noqa: PLC0415  # only an error needs it

    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


_LONGEST_COMPARED = 200


def _shown(name: object) -> str:
    return ascii(name[:200]) if type(name) is str else f"a value of type {type(name).__name__}"
