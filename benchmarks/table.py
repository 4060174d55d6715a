"""The results as a Markdown table, each figure a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import FIGURES, REFERENCE, shown
from benchmarks.registry import COLUMNS, SYSTEMS

if TYPE_CHECKING:
    from benchmarks.figures import Figure, Results

WEAKER = "°"  # a power cut may lose jobs that were accepted


def table(machine: dict[str, str], results: Results) -> str:
    """Return the table, each figure a line, with the machine below it."""
    head = ["", "bgjob", "beside", "bgjob ÷ beside", *COLUMNS[1:]]
    measured = [figure for figure in FIGURES if any(results.summary(figure.key, column) for column in COLUMNS)]
    rows = [head, ["---"] * len(head), *(_cells(figure, machine, results) for figure in measured)]
    notes = (
        "Medians, with least and most in brackets; ratios are taken run by run. "
        f"{WEAKER}: a power cut may lose jobs that were accepted. –: the system has no such thing, or was not measured."
    )
    where = f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}, SQLite {machine['sqlite']}"
    below = ["", notes, "", f"{machine['date']}: {where}; {machine['disk']}.", ""]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), *below])


def _cells(figure: Figure, machine: dict[str, str], results: Results) -> list[str]:
    measured = {column: _cell(figure, column, results) for column in COLUMNS}
    reference = results.summary(figure.key, REFERENCE) if figure.reference else None
    ratio = results.ratio(figure.key) if figure.reference else None
    return [
        figure.text.format(**machine),
        measured["bgjob"],
        f"{figure.reference}: {reference}" if reference else "–",
        f"**{shown(ratio.median)}** ({shown(ratio.least)}–{shown(ratio.most)})" if ratio else "–",
        *(measured[column] for column in COLUMNS[1:]),
    ]


def _cell(figure: Figure, column: str, results: Results) -> str:
    summary = results.summary(figure.key, column)
    if summary is None:
        return "–"
    weaker = WEAKER if SYSTEMS[column].survives == "kill" and figure.key.startswith("four") else ""
    return f"{summary}{weaker}"
