"""`bgjob doctor`: what is wrong with the queue and its surroundings, and what mends it."""

from __future__ import annotations

from bgjob import clock
from bgjob.cli import colours, page
from bgjob.cli.exits import FINE
from bgjob.console import counted
from bgjob.views.doctor.examination import CHECKS, examine
from bgjob.views.doctor.finding import NOTE, PROBLEM, SEVERITIES, WARNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.config import Config
    from bgjob.views.doctor.examination import Told

SOMETHING_IS_WRONG = 1
_INDENT = 9


_COLOURS = {PROBLEM: colours.RED, WARNING: colours.YELLOW, NOTE: colours.GREY}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take what the command line may ask for."""
    parser.add_argument("--notes", action="store_true", help="tell also what is only good to know")


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Make all checks and tell what they found; return FINE unless there is a problem."""
    found = examine(config, clock.now())
    counts = {severity: sum(told.finding.severity == severity for told in found) for severity in SEVERITIES}
    if arguments.json:
        page.document(_document(found, counts))
    else:
        _show(found, counts, notes=arguments.notes)
    return SOMETHING_IS_WRONG if counts[PROBLEM] else FINE


def _show(found: list[Told], counts: dict[str, int], *, notes: bool) -> None:
    for _, finding in found:
        if finding.severity != NOTE or notes:
            page.told(finding.severity, finding.what, indent=_INDENT, name_colour=_COLOURS[finding.severity])
            if finding.mend:
                page.told("", f"mend: {finding.mend}", indent=_INDENT)
    bad = {severity: count for severity, count in counts.items() if count and severity != NOTE}
    told = ", ".join(counted(count, severity) for severity, count in bad.items())
    unseen = "" if notes or not counts[NOTE] else f" ({counted(counts[NOTE], 'note')}: bgjob doctor --notes)"
    made = f"{len(CHECKS)} checks"
    if told:
        page.say(f"{told} in {made}{unseen}")
    else:
        page.say(f"healthy: {made}, nothing to mend{unseen}", colour=colours.GREEN)


def _document(found: list[Told], counts: dict[str, int]) -> dict[str, object]:
    return {
        "healthy": not any(count for severity, count in counts.items() if severity != NOTE),
        "checks": len(CHECKS),
        "findings": [{"check": told.check, **told.finding._asdict()} for told in found],
    }
