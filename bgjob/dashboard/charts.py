"""Charts as SVG, drawn by the server: they need no script, and their colours are the stylesheet's."""

from __future__ import annotations

import markupsafe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgjob.views.history import Hour

_WIDTH, _HEIGHT = 960, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 4, 10, 24
_GAP = 3
_ROUNDS = (1, 2, 5)
_LEAST = 2.0  # of a bar that is not nothing


def bars(hours: Sequence[Hour]) -> markupsafe.Markup:
    """Return a chart of the jobs that completed, and above them those that failed, hour by hour."""
    top = _round_up(max((hour.completed + hour.failed for hour in hours), default=0))
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(hours), 1)
    parts = [_grid(top)]
    for number, hour in enumerate(hours):
        left = _LEFT + number * step
        parts.append(_bar(hour, left=left, width=step - _GAP, top=top))
        if hour.begins.hour % 6 == 0:
            label = f"{hour.begins:%a %H:%M}" if hour.begins.hour == 0 else f"{hour.begins:%H:%M}"
            parts.append(
                f'<text class="axis" x="{left + step / 2:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{label}</text>'
            )
    completed, failed = sum(hour.completed for hour in hours), sum(hour.failed for hour in hours)
    told = f"In the last {len(hours)} hours {completed:,} jobs completed and {failed:,} failed."
    drawn = "".join(parts)
    return markupsafe.Markup(  # noqa: S704  # numbers and hours only
        f'<svg class="bars" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{told}">{drawn}</svg>'
    )


def _round_up(most: int) -> int:
    """Return the next number of the form 1, 2 or 5 times a power of ten, at least 4: the top of the scale."""
    power = 1
    while True:
        for lead in _ROUNDS:
            if lead * power >= max(most, 4):
                return lead * power
        power *= 10


def _grid(top: int) -> str:
    lines = []
    for part in (0.0, 0.5, 1.0):
        y = _y(part * top, top)
        label = f"{part * top:,.0f}" if top * part == int(top * part) else ""
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="axis" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    return "".join(lines)


def _y(value: float, top: int) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value / top


def _bar(hour: Hour, *, left: float, width: float, top: int) -> str:
    begins = f"{hour.begins:%a %d %b %H:%M} UTC"
    told = f"{begins}: {hour.completed:,} completed, {hour.failed:,} failed"
    base = _y(0, top)
    drawn = [f"<title>{told}</title>"]
    # A field as high as the chart, so that one need not hit a low bar to be told.
    drawn.append(
        f'<rect class="field" x="{left:.1f}" y="{_TOP}" width="{width + _GAP:.1f}" height="{base - _TOP:.1f}"/>'
    )
    for kind, count in (("completed", hour.completed), ("failed", hour.failed)):
        if count:
            height = max((_HEIGHT - _BOTTOM - _TOP) * count / top, _LEAST)
            base -= height
            drawn.append(
                f'<rect class="bar {kind}" x="{left:.1f}" y="{base:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
            )
    return f"<g>{''.join(drawn)}</g>"


def meter(share: float, kind: str = "") -> markupsafe.Markup:
    """Return a short bar that is filled to a share between 0 and 1; what it means stands beside it as text."""
    filled = share * 100
    return markupsafe.Markup(  # noqa: S704  # numbers, and a word of ours
        f'<svg class="meter {kind}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="6"/><rect class="fill" width="{filled:.1f}" height="6"/></svg>'
    )
