"""The results as a picture, in SVG that is written by hand: four charts of bars, for a light page or a dark one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from benchmarks.figures import REFERENCE, shown
from benchmarks.registry import COLUMNS

if TYPE_CHECKING:
    from benchmarks.figures import Results, Summary


class Panel(NamedTuple):
    """One of the four charts of the picture."""

    figure: str
    title: str
    unit: str
    reference: str


class Colours(NamedTuple):
    """What a picture is drawn with, for a light page or a dark one."""

    text: str
    quiet: str
    ours: str
    others: str


PANELS = (
    Panel("drain 1", "Running jobs, one worker", "jobs a second, more is better", "bare SQLite"),
    Panel("tick wall", "A cron tick with nothing to do", "milliseconds, less is better", "python -c pass"),
    Panel("queue", "Queueing, safe from power cuts", "jobs a second, more is better", "bare SQLite"),
    Panel("queue normal", "Queueing, safe from kills only", "jobs a second, more is better", "bare SQLite"),
)
COLOURS = {
    "light": Colours(text="#1f2328", quiet="#59636e", ours="#0f766e", others="#c2c9d1"),
    "dark": Colours(text="#f0f6fc", quiet="#9198a1", ours="#2dd4bf", others="#48515c"),
}
FONTS = "-apple-system, BlinkMacSystemFont, 'Segoe UI', 'Noto Sans', Helvetica, Arial, 'DejaVu Sans', sans-serif"
TOLD = "Charts of bgjob beside a bare SQLite queue and other job queues; docs/performance.md has the figures"
BELOW = (
    "Medians; thin lines: least and most. Dashed: the floor, without isolation, time-outs, retries and logs.",
    "Huey and django-tasks sync each step of a job as they come; Huey is a daemon and has no tick.",
)
WIDTH, PANEL_WIDTH = 840, 440
LABELS, BARS = 112, 220  # where bars begin, and how long the longest is
HEAD, ROW, BAR, GAP = 52, 24, 14, 26
SMALL, STRONG = 'font-size="12"', 'font-size="12" font-weight="600"'


def picture(results: Results, colours: str) -> str:
    """Return the picture, two rows of two charts, as SVG for a `light` or a `dark` page."""
    paint = COLOURS[colours]
    drawn, down = [], 0
    for pair in (PANELS[:2], PANELS[2:]):
        for number, panel in enumerate(pair):
            drawn += [
                f'<g transform="translate({number * PANEL_WIDTH} {down})">',
                *_chart(panel, results, paint),
                "</g>",
            ]
        down += HEAD + max(len(_bars(panel, results)) for panel in pair) * ROW + GAP
    for line in BELOW:
        drawn.append(_text(0, down, line, paint.quiet, SMALL))
        down += 18
    size = f'width="{WIDTH}" height="{down}" viewBox="0 0 {WIDTH} {down}"'
    opened = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{TOLD}" font-family="{FONTS}">'
    return "\n".join([opened, *drawn, "</svg>", ""])


def _bars(panel: Panel, results: Results) -> list[tuple[str, Summary]]:
    """Return what a chart shows, from the top down: columns that were measured, the reference first."""
    measured = [(column, results.summary(panel.figure, column)) for column in (REFERENCE, *COLUMNS)]
    return [(column, summary) for column, summary in measured if summary]


def _chart(panel: Panel, results: Results, paint: Colours) -> list[str]:
    bars = _bars(panel, results)
    scale = BARS / max((summary.most for _, summary in bars), default=1)
    lines = [
        _text(0, 18, panel.title, paint.text, 'font-size="15" font-weight="600"'),
        _text(0, 36, panel.unit, paint.quiet, SMALL),
    ]
    for number, (column, summary) in enumerate(bars):
        lines += _bar(panel, column, summary, scale=scale, top=HEAD + number * ROW, paint=paint)
    return lines


def _bar(panel: Panel, column: str, summary: Summary, *, scale: float, top: float, paint: Colours) -> list[str]:
    length, least, most = (value * scale for value in summary)
    middle = top + BAR / 2
    name = panel.reference if column == REFERENCE else column
    ink, font = (paint.text, STRONG) if column == "bgjob" else (paint.quiet, SMALL)
    fill = f'fill="{paint.ours if column == "bgjob" else paint.others}"'
    if column == REFERENCE:
        fill = f'fill="none" stroke="{paint.quiet}" stroke-dasharray="3 2"'
    return [
        _text(LABELS - 10, middle + 4, name, ink, f'{font} text-anchor="end"'),
        f'<rect x="{LABELS}" y="{top}" width="{max(length, 1):.1f}" height="{BAR}" rx="2" {fill}/>',
        f'<path d="M{LABELS + least:.1f} {middle}H{LABELS + most:.1f}" stroke="{paint.text}" stroke-opacity="0.5"/>',
        _text(LABELS + most + 8, middle + 4, shown(summary.median), ink, font),
    ]


def _text(across: float, down: float, words: str, colour: str, more: str) -> str:
    return f'<text x="{across:.1f}" y="{down:.1f}" fill="{colour}" {more}>{escape(words)}</text>'
