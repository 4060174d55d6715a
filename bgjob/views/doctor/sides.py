"""What those who queue and the ticks must share: user, Python, bgjob, zone, approved lists and environment."""

from __future__ import annotations

import shlex

from bgjob import files, fingerprint, users
from bgjob.config import VARIABLE, read_config
from bgjob.errors import ConfigError
from bgjob.views.doctor.finding import NOTE, PROBLEM, WARNING, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bgjob.views.doctor.finding import Case, Side


def one_user(case: Case) -> Iterator[Finding]:
    """Both sides run as one user, or leave files that the other can write."""
    for app, ticks in _pairs(case, "uid"):
        who, others = users.name_of(int(app.facts["uid"])), users.name_of(int(ticks.facts["uid"]))
        mend = f"put the crontab line into that user's crontab: crontab -u {who} -e"
        yield Finding(WARNING, f"jobs are queued as {who}, and run as {others}", mend)
        for name, side in (("the app", app), ("the ticks", ticks)):
            umask = side.text("umask")
            if side.facts.get("uid") != 0 and umask and not _lets_group_write(umask):
                what = f"{name} run with umask {umask}: files that they make can't be written by the other side"
                yield Finding(
                    WARNING, what.replace("the app run", "the app runs").replace("they make", _MADE[name]), _UMASK
                )


_MADE = {"the app": "it makes", "the ticks": "they make"}
_UMASK = "run both as one user; or set umask 002 on both sides (docs/deploying.md, Users)"


def _lets_group_write(umask: str) -> bool:
    try:
        return not int(umask, 8) & 0o020
    except ValueError:
        return True


def one_python(case: Case) -> Iterator[Finding]:
    """Both sides use one Python environment, and so the same packages."""
    for app, ticks in _pairs(case, "prefix", same=lambda path: files.at(path) or path):
        what = (
            f"jobs are queued by Python {_python(app)}, and run by {_python(ticks)}: other packages, maybe older ones"
        )
        yield Finding(WARNING, what, f"name {app.text('python')} in the crontab line, or start the app with the other")


def _python(side: Side) -> str:
    return f"{side.text('python_version')} in {side.text('prefix')}"


def one_bgjob(case: Case) -> Iterator[Finding]:
    """Both sides use one version of bgjob."""
    for app, ticks in _pairs(case, "bgjob"):
        what = f"jobs are queued by bgjob {app.text('bgjob')}, and run by bgjob {ticks.text('bgjob')}"
        mend = "restart the app, if it was updated; else install the same version in both places: "
        yield Finding(WARNING, what, mend + f"{app.text('bgjob_at')}, {ticks.text('bgjob_at')}")
    for app, ticks in _pairs(case, "sqlite"):
        what = f"jobs are queued with SQLite {app.text('sqlite')}, and run with SQLite {ticks.text('sqlite')}"
        yield Finding(NOTE, what, "none is needed: both read the same file")


def one_zone(case: Case) -> Iterator[Finding]:
    """Both sides have one local time; the queue's own times are UTC, but jobs may ask for the local one."""
    for app, ticks in _pairs(case, "zone"):
        what = f"the app's local time is {_zone(app)}, that of jobs is {_zone(ticks)}"
        zone = app.facts.get("clear", {}).get("TZ")
        mend = f"write TZ={shlex.quote(zone)} above the crontab line" if zone else "set the same TZ for both"
        yield Finding(_unless_boot_sets_it(case), what, mend)


def _unless_boot_sets_it(case: Case) -> str:
    """Return how grave it is that a tick's environment differs: `boot` may set in each worker what the tick lacks."""
    return NOTE if case.config.boot else WARNING


def _zone(side: Side) -> str:
    return "/".join(dict.fromkeys(side.text("zone").split("/")))


def one_list(case: Case) -> Iterator[Finding]:
    """Both sides approve the same, for what is approved only where it is queued fails where it runs."""
    for app, ticks in _pairs(case, "config", same=files.at):
        there, here = _approved(app), _approved(ticks)
        if there and here and there != here:
            what = (
                f"two configs use this queue and approve different classes or methods: {app.text('config')} (the app's)"
                f" and {ticks.text('config')} (the ticks'); a job that the ticks' config does not approve fails"
            )
            yield Finding(PROBLEM, what, "approve the same in both, or set BGJOB_CONFIG to one of them on both sides")


def _approved(side: Side) -> str:
    """Return the hash of what a side's config approves now, or what it did then."""
    try:
        return fingerprint.approved(read_config(side.text("config")))
    except ConfigError:
        return side.text("approved")


# Where another value says that jobs may not find what the app finds.
_WEIGHTY = ("DJANGO_SETTINGS_MODULE", "FLASK_APP", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "BGJOB_CONFIG")
_MOST_NAMED = 12


def one_environment(case: Case) -> Iterator[Finding]:
    """Jobs see the variables that the app sees."""
    if case.ticks is None:
        return
    theirs, their_hashes = _variables(case.ticks)
    lacking: set[str] = set()
    other: set[str] = set()
    for app in case.queueing:
        clear, hashes = _variables(app)
        for name in _WEIGHTY:
            # `bgjob queue` sets BGJOB_CONFIG itself; two ways that lead to one config are no difference.
            if name == VARIABLE and app.text("config") == case.ticks.text("config"):
                continue
            if name in clear and clear[name] != theirs.get(name):
                there = repr(theirs[name]) if name in theirs else "not set"
                what = f"{name} is {clear[name]!r} where jobs are queued, and {there} where they run"
                yield Finding(
                    _unless_boot_sets_it(case), what, f"write {name}={shlex.quote(clear[name])} above the crontab line"
                )
        other |= {name for name in hashes.keys() & their_hashes.keys() if hashes[name] != their_hashes[name]}
        lacking |= hashes.keys() - their_hashes.keys()
    if other:
        what = f"variables with one value where jobs are queued and another where they run: {_named(other)}"
        yield Finding(
            WARNING, what, "set them in one place that both read, such as the module `boot` (docs/deploying.md)"
        )
    if lacking:
        what = f"variables that the app has and jobs have not: {_named(lacking)}"
        yield Finding(NOTE, what, "if jobs need one, set it in the module `boot` or above the crontab line")


def _variables(side: Side) -> tuple[dict[str, str], dict[str, str]]:
    return side.facts.get("clear") or {}, side.facts.get("hashed") or {}


def _named(names: set[str]) -> str:
    shown = sorted(names)[:_MOST_NAMED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _pairs(case: Case, fact: str, same: Callable[[str], object] = str) -> Iterator[tuple[Side, Side]]:
    """Yield who queues and the ticks where they differ in a fact, once for each value of it."""
    if case.ticks is None or fact not in case.ticks.facts:
        return
    told = {same(case.ticks.text(fact))}
    for app in case.queueing:
        value = same(app.text(fact))
        if fact in app.facts and value not in told:
            told.add(value)
            yield app, case.ticks
