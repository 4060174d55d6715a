"""One look at one page: what was asked for, of which queue, at which instant; and how its pages are made."""

from __future__ import annotations

import contextlib
import re
import urllib.parse

from bgjob import steering
from bgjob.console import counted
from bgjob.dashboard import paper
from bgjob.dashboard.response import Response
from bgjob.store import reading
from bgjob.views.masks import Mask
from bgjob.views.pulse import NONE, pulse

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from bgjob.config import Config
    from bgjob.dashboard.request import Request
    from bgjob.in_force import Configs
    from bgjob.store.reading import ReadStore


_TELLING = ("did", "n", "left")
_COUNT = re.compile(r"[0-9]{1,12}")
_BACK = re.compile(r"/(jobs(/[1-9][0-9]{0,18})?)?")
_MOST_FIELDS = 50


class Visit:
    """One request on its way to its page."""

    def __init__(self, request: Request, configs: Configs, now: dt.datetime, *, read_only: bool) -> None:
        """Read nothing yet."""
        self.request = request
        self.now = now
        self.read_only = read_only
        self._configs = configs

    @property
    def config(self) -> Config:
        """The config as it stands in its file now; raises ConfigError."""
        return self._configs.current()

    @property
    def fields(self) -> dict[str, str]:
        """The fields of the query; of one that stands there twice, the last."""
        return dict(self.request.query)

    @property
    def here(self) -> str:
        """Path and query of this page, below the mount, for a form to lead back to."""
        kept = [(name, value) for name, value in self.request.query if name not in _TELLING]
        return f"{self.request.path}{'?' if kept else ''}{urllib.parse.urlencode(kept)}"

    def back_to(self, back: str) -> str:
        """Return the address of the page of ours that a form wants to lead back to."""
        path, _, query = back.partition("?")
        if not _BACK.fullmatch(path):
            return self.link("/jobs")
        try:
            fields = urllib.parse.parse_qsl(query, max_num_fields=_MOST_FIELDS)
        except ValueError:
            fields = []
        return self.link(path, [(name, value) for name, value in fields if name not in _TELLING])

    @property
    def done(self) -> str:
        """What was just done, in words; empty where nothing was."""
        fields = self.fields
        verb, count, left = (fields.get(name, "") for name in _TELLING)
        past = "pruned" if verb == "prune" else steering.VERBS[verb].past if verb in steering.VERBS else ""
        if not past or not all(_COUNT.fullmatch(text) for text in (count, left)):
            return ""
        told = f"{past.capitalize()}: {counted(int(count), 'job')}."
        if int(left):
            told += f" {counted(int(left), 'job')} left alone: not in a status for it, or gone."
        return told

    @property
    def example(self) -> str:
        """A class that may be queued."""
        return next(iter(self.config.classes), "app.custom_jobs.ExampleJob")

    @property
    def mask(self) -> Mask:
        """What hides secrets."""
        return Mask(self.config.mask)

    @contextlib.contextmanager
    def store(self) -> Iterator[ReadStore | None]:
        """Open the database for a `with` block, to be read only; None where no job was ever queued."""
        if not reading.exists(self.config.database):
            yield None
            return
        with reading.ReadStore(self.config.database) as store:
            yield store

    def link(self, path: str, query: Mapping[str, object] | Iterable[tuple[str, object]] = ()) -> str:
        """Return the address of a page of ours, without what is empty in its query."""
        pairs = query.items() if hasattr(query, "items") else query
        told = urllib.parse.urlencode([(name, value) for name, value in pairs if value not in (None, "")])
        return f"{self.request.mount}{path}{'?' if told else ''}{told}"

    def page(self, template: str, *, store: ReadStore | None, **values: Any) -> Response:  # noqa: ANN401  # what its template wants
        """Return a page made from a template; on top of it stands whether background work is alive."""
        beat = pulse(store) if store else NONE
        told = paper.rendered(
            template, visit=self, pulse=beat, state=beat.state(self.now), now=self.now, link=self.link, **values
        )
        return Response(told)

    def told(self, status: int, told: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
        """Return a page that says only this; it reads nothing, for what can't be read may be the reason."""
        page = paper.rendered("told.html", visit=self, told=told, status=status, now=self.now, link=self.link)
        return Response(page, status=status, headers=headers)
