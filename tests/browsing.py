"""Fixtures of the tests of the dashboard: a browser, visitors, servers; `pytest_plugins = ["tests.browsing"]`."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import HOW_TO_INSTALL, Server, Visitor, chromium, path_of_chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from tests.conftest import Project


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a file of tests: its event loop would be in the way of other files'."""
    if path_of_chromium() is None:
        if os.environ.get("CI") == "true":  # where a skip would go unseen
            pytest.fail(HOW_TO_INSTALL)
        pytest.skip(HOW_TO_INSTALL)
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Open pages; when the test ends, none may have said anything on the console or asked anybody else."""
    visitors: list[Visitor] = []

    def opened(url: str, **context: Any) -> Visitor:
        visitors.append(Visitor(browser, url, **context))
        return visitors[-1]

    yield opened
    for visitor in visitors:
        visitor.context.close()
    assert [visitor.wrong for visitor in visitors if visitor.wrong] == []


@pytest.fixture
def serve(project: Project) -> Iterator[Callable[..., Server]]:
    """Start dashboards of the test's project, which end with the test."""
    servers: list[Server] = []

    def started(*arguments: str, port: int = 0) -> Server:
        servers.append(Server(project.folder, *arguments, port=port))
        return servers[-1]

    yield started
    said = "".join([server.stop() for server in servers])
    assert re.sub(r"Canceling \d+ pending task\(s\)\n", "", said) == ""  # waitress, of what a page had just asked for
