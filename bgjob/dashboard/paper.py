"""How pages are made of templates: Jinja2, everything escaped, and a few words for times and numbers."""

from __future__ import annotations

import datetime as dt
import functools
import os

import jinja2
import markupsafe

from bgjob import clock, version
from bgjob.console import ago, lasting, shown
from bgjob.dashboard import charts, static
from bgjob.views.overview import STATUSES, instant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jinja2.runtime import Context


_NOTHING = "-"


@functools.cache
def _environment() -> jinja2.Environment:
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        age=_age,
        base=os.path.basename,
        block=_block,
        clock=_clock,
        instant=instant,
        known=_known,
        lasting=lasting,
        number=_number,
        share=_share,
        short=_short,
        visible=_visible,
        zulu=_zulu,
    )
    environment.globals.update(
        asset=static.address,
        bars=charts.bars,
        content=static.content,
        meter=charts.meter,
        statuses=STATUSES,
        version=version.__version__,
    )
    return environment


def rendered(template: str, **values: object) -> str:
    """Return the page that a template makes of `values`."""
    return _environment().get_template(template).render(**values)


@jinja2.pass_context
def _age(context: Context, moment: object, *, since: bool = False) -> markupsafe.Markup | str:
    """Return how long ago an instant, or a time of the database, is; the browser counts on. `since`: only how long."""
    when = moment if isinstance(moment, dt.datetime) else instant(moment)
    if when is None:
        return _NOTHING if moment is None else _visible(moment)
    seconds = (context["now"] - when).total_seconds()
    told = ago(abs(seconds)) if since else f"{ago(seconds)} ago" if seconds >= 0 else f"in {ago(-seconds)}"
    return markupsafe.Markup('<time datetime="{}" title="{} UTC" data-age="{}">{}</time>').format(
        _zulu(when), clock.to_text(when)[:19], "since" if since else "ago", told
    )


def _clock(moment: object) -> str:
    """Return an instant, or a time of the database, for people: to the second, in UTC."""
    when = moment if isinstance(moment, dt.datetime) else instant(moment)
    return clock.to_text(when)[:19] if when else _NOTHING if moment is None else _visible(moment)


def _zulu(when: dt.datetime) -> str:
    return clock.to_text(when).replace(" ", "T") + "Z"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else _visible(value)


def _share(value: object) -> float | None:
    """Return a part of a whole, between 0 and 1; None for what is no number."""
    return min(max(float(value), 0.0), 1.0) if isinstance(value, int | float) else None


def _short(name: object) -> str:
    """Return the class alone of its dotted name."""
    return _visible(str(name).rpartition(".")[2] or name)


def _known(status: object) -> str:
    """Return a status as the name of its colour."""
    return status if isinstance(status, str) and status in STATUSES else "odd"


def _block(text: object) -> str:
    """Return a text of several lines, with everything escaped that can't be seen or turns a line around; tabs stay."""
    lines = str(text).split("\n")
    return "\n".join("\t".join(map(shown, line.split("\t"))) for line in lines)


def _visible(text: object) -> str:
    """Return any value as text in one line, with everything escaped that can't be seen or turns the line around."""
    return shown(str(text))
