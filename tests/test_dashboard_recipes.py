"""The recipes of docs/dashboard.md, run as they stand there: mounted, every link and form stays below the mount."""

from __future__ import annotations

import re
import urllib.parse
from typing import TYPE_CHECKING

import pytest

from tests.conftest import CODE
from tests.test_dashboard_guard import assert_harmless, basic
from tests.visitor import Page, one_of_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Project

    Ask = Callable[
        [str, str, dict[str, str] | None], tuple[int, str, str]
    ]  # method, address, form → status, where, text

USER = basic("ann", "correct horse")
# What each recipe is run with, and a function `ask` that its framework's own test client stands behind.
BEFORE = {
    "flask": ("from flask import Flask\nFlask.default_config = {**Flask.default_config, 'JOBS_PASSWORD_HASH': HASH}\n"),
    "fastapi": "PASSWORD_HASH = HASH\n",
    "django": """
import sys, types
import django
from django.conf import settings
settings.configure(
    ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], INSTALLED_APPS=["django.contrib.admin",
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "app.sqlite3"}},
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware"],
)
django.setup()
""",
}
AFTER = {
    "flask": """
client = app.test_client()
def ask(method, address, form):
    answer = client.open(address, method=method, data=form, headers=HEADERS)
    return answer.status_code, answer.headers.get("Location", ""), answer.get_data(as_text=True)
""",
    "fastapi": """
from fastapi.testclient import TestClient
client = TestClient(app, base_url="http://localhost", follow_redirects=False)
def ask(method, address, form):
    answer = client.request(method, address, data=form, headers=HEADERS)
    return answer.status_code, answer.headers.get("location", ""), answer.text
""",
    "django": """
from django.contrib import admin
from django.urls import path
urlpatterns.append(path("admin/", admin.site.urls))
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
from django.test import Client
client = Client(enforce_csrf_checks=True, headers=HEADERS)
client.force_login(User.objects.create_user("ann", is_staff=True))
stranger = Client()
assert stranger.get("/jobs/").status_code == 302
from urllib.parse import urlencode
def ask(method, address, form):
    body = urlencode(form or {})
    answer = client.generic(method, address, body, content_type="application/x-www-form-urlencoded")
    return answer.status_code, answer.headers.get("Location", ""), answer.content.decode()
""",
}
WALK = """
import json
from tests.test_dashboard_recipes import walk
walk(ask)
print("walked")
"""


def recipes() -> dict[str, str]:
    """Return the examples in Python of the page, by the framework that they name first."""
    found = {}
    for block in re.findall(r"```py\n(.*?)```", (CODE / "docs" / "dashboard.md").read_text(), re.DOTALL):
        named = re.search(r"from (flask|fastapi|django)", block)
        assert named, block
        found[named[1]] = block
    return found


def walk(ask: Ask) -> None:
    """Follow every link and send every form of what is mounted at /jobs, from its first page on."""
    waiting, seen = ["/jobs/"], set()
    forms: dict[tuple[str, str], dict[str, str]] = {}
    while waiting:
        address = waiting.pop()
        seen.add(address)
        status, _, text = ask("GET", address, None)
        assert status == 200 or address == "/jobs/healthz", (address, status, text[:500])
        if not text.startswith("<!doctype html>"):
            continue
        page = Page(text)
        assert_harmless(page, address)
        posts = {form.attributes["action"] for form, _ in page.forms if form.attributes.get("method") == "post"}
        for link in page.links:
            whole = urllib.parse.urljoin(address, link)
            assert link.startswith(("#", "/jobs/")), (address, link)
            if (
                not link.startswith("#")
                and link not in posts
                and whole not in seen
                and whole not in waiting
                and len(seen) < 150
            ):
                waiting.append(whole)
        for element, fields in page.forms:
            if element.attributes.get("method") != "post":
                continue
            action = str(element.attributes["action"])
            values = {str(field.attributes["name"]): str(field.attributes.get("value") or "")
                      for field in fields if "name" in field.attributes and field.tag != "button"}  # fmt: skip
            buttons = [field.attributes for field in fields if field.tag == "button"]
            for verb in {str(button.get("value") or "") for button in buttons} - {"delete"}:
                forms.setdefault((action, verb), {**values, **({"verb": verb} if verb else {})})
    for (action, _), form in forms.items():
        status, place, text = ask("POST", action, form)
        assert (status, place.startswith("/jobs/")) == (303, True), (action, status, place, text[:500])
    kinds = {re.sub(r"[0-9a-f]{12}|\d+", "N", address.partition("?")[0]) for address in seen}
    assert kinds >= {"/jobs/", "/jobs/jobs", "/jobs/jobs/N", "/jobs/ticks", "/jobs/health", "/jobs/healthz",
                     "/jobs/jobs/matching", "/jobs/static/N/style.css", "/jobs/static/N/live.js"}, kinds  # fmt: skip
    assert {action for action, _ in forms} >= {"/jobs/pause", "/jobs/prune", "/jobs/jobs", "/jobs/health"}
    status, _, text = ask("GET", "/jobs/%3Cscript%3E/..%2f", None)
    assert (status, "<script>" in text) == (404, False)
    status, _, text = ask("POST", "/jobs/jobs", {"verb": "requeue", "id": "x", "name": "jürgen"})
    assert status == 400


def test_these_are_all_recipes() -> None:
    assert set(recipes()) == {"flask", "fastapi", "django"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flask", "fastapi", "django"])
def test_the_recipe_runs_as_it_stands_and_leads_nowhere_else(project: Project, name: str) -> None:
    one_of_each(project)
    headers = {"Authorization": USER, "Sec-Fetch-Site": "same-origin", "Host": "localhost"}
    script = (
        "from bgjob.dashboard.passwords import hashed\nHASH = hashed('correct horse')\n"
        f"HEADERS = {headers!r}\n{BEFORE[name]}\n{recipes()[name]}\n{AFTER[name]}\n{WALK}"
    )
    (project.folder / "recipe.py").write_text(script)

    done = project.python("import recipe", options=["-W", "error::DeprecationWarning:bgjob"])

    assert done.stdout.endswith("walked\n")
    assert project.sql("SELECT who FROM pause WHERE who <> 'ann (dashboard)'") == []
    assert 'who="ann (dashboard)"' in project.log()


def test_without_the_right_password_the_recipe_lets_nobody_in(project: Project) -> None:
    one_of_each(project)
    script = (
        "from bgjob.dashboard.passwords import hashed\nHASH = hashed('correct horse')\nHEADERS = {}\n"
        f"{BEFORE['flask']}\n{recipes()['flask']}\n{AFTER['flask']}\nprint(ask('GET', '/jobs/', None)[0])"
    )

    assert project.python(script).stdout == "401\n"
