"""Who may see the dashboard and change what: host, origin, password, read-only, and what a browser must refuse."""

from __future__ import annotations

import base64
import hmac
import io
from typing import TYPE_CHECKING, Any

import pytest

from bgjob.dashboard import Dashboard, passwords
from bgjob.dashboard.passwords import Passwords, fits, hashed
from bgjob.dashboard.response import Refusal
from tests.visitor import HOST, Page, Visitor, add, config_of, everything_under, look, make_database, one_of_each

if TYPE_CHECKING:
    from tests.conftest import Project

PAGES = ("/", "/jobs", "/jobs?status=failed&text=x", "/jobs/1", "/jobs/4", "/jobs/999", "/jobs/matching?verb=requeue",
         "/ticks", "/health", "/healthz", "/nowhere", "/jobs/matching?verb=burn")  # fmt: skip
EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&<b>\u202e\u2066\x1b[31m\x07\u2028"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def password_hash() -> str:
    return hashed("correct horse")


@pytest.fixture
def locked(project: Project, password_hash: str) -> Visitor:
    make_database(project)
    return Visitor(Dashboard(config_of(project), authenticator=Passwords("ann", password_hash)))


# Password


def test_without_anybody_to_let_people_in_it_is_not_made(project: Project) -> None:
    with pytest.raises(ValueError, match="host_auth=True"):
        Dashboard(config_of(project))


@pytest.mark.parametrize(
    "sent",
    [
        None, "", "Basic", "Basic ", "Bearer abc", "Basic !!!", "Basic " + "A" * 100_000, "Basic é", "Basic =",
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(), "Basic " + base64.b64encode(b"no colon").decode(),
        basic("ann", ""), basic("", "correct horse"), basic("ann", "correct horse "), basic("bob", "correct horse"),
        basic("ann:correct", " horse"), basic("ANN", "correct horse"),
    ],
)  # fmt: skip
def test_without_the_right_password_nothing_is_told(locked: Visitor, sent: str | None) -> None:
    answer = locked.get("/", HTTP_AUTHORIZATION=sent)

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="bgjob", charset="UTF-8"'
    assert "<" not in answer.text


def test_with_the_right_password_the_user_comes_in_and_is_named(locked: Visitor) -> None:
    for scheme in ("Basic", "basic"):
        answer = locked.get("/", HTTP_AUTHORIZATION=basic("ann", "correct horse").replace("Basic", scheme))
        assert (answer.status, " · ann · " in answer.text) == (200, True)

    assert locked.post("/pause", HTTP_AUTHORIZATION=basic("ann", "wrong")).status == 401


def test_a_password_of_any_characters_is_taken(project: Project) -> None:
    make_database(project)
    visitor = Visitor(Dashboard(config_of(project), authenticator=Passwords("jürgen", hashed("pässwörd:💥"))))

    assert visitor.get("/", HTTP_AUTHORIZATION=basic("jürgen", "pässwörd:💥")).status == 200


def test_passwords_and_names_are_compared_in_constant_time(password_hash: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    let_in = Passwords("ann", password_hash)
    monkeypatch.setattr(hmac, "compare_digest", compare)

    assert let_in({"HTTP_AUTHORIZATION": basic("ann", "guess")}) is None
    assert (b"ann", b"ann") in compared
    assert any(len(one) == len(other) == 32 for one, other in compared)
    # A wrong name costs as much as a wrong password, so that names can't be found out.
    compared.clear()
    assert let_in({"HTTP_AUTHORIZATION": basic("bob", "correct horse")}) is None
    assert len(compared) == 2


def test_the_costly_hash_is_computed_once_for_a_browser_that_knows_the_password(
    password_hash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_in = Passwords("ann", password_hash)
    right, wrong = ({"HTTP_AUTHORIZATION": basic("ann", each)} for each in ("correct horse", "wrong"))
    assert let_in(right) == "ann"
    asked: list[str] = []

    def never(password: str, _: str) -> bool:
        asked.append(password)
        return False

    monkeypatch.setattr(passwords, "fits", never)

    assert let_in(right) == "ann"
    assert let_in(wrong) is None
    assert asked == ["wrong"]


def test_who_guesses_in_a_flood_holds_up_nobody_else(password_hash: str, monkeypatch: pytest.MonkeyPatch) -> None:
    let_in = Passwords("ann", password_hash)
    right, wrong = ({"HTTP_AUTHORIZATION": basic("ann", each)} for each in ("correct horse", "wrong"))
    assert let_in(right) == "ann"
    monkeypatch.setattr(passwords, "_PATIENCE", 0.01)

    with let_in._turn:  # as long as another guess is looked at
        assert let_in(right) == "ann"
        with pytest.raises(Refusal) as refused:
            let_in(wrong)

    assert refused.value.status == 429
    assert let_in(wrong) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "no hash"), ("correct horse", "no hash"), ("scrypt:15:8:1:AAAA:BBBB", "no hash"),
     (f"scrypt:99:99:9:{'A' * 24}:{'A' * 44}", "more memory"), (f"scrypt:18:8:1:{'A' * 24}:{'A' * 44}", "more memory"),
     (f"scrypt:15:8:1:{'A' * 23}:{'A' * 44}", "cut off")],
)  # fmt: skip
def test_a_text_that_is_no_hash_or_costs_too_much_is_refused_and_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Passwords("ann", text)


def test_a_hash_says_nothing_of_its_password_and_fits_it_alone(password_hash: str) -> None:
    assert hashed("correct horse") != password_hash
    assert fits("correct horse", password_hash)
    assert not fits("correct horsf", password_hash)


def test_an_authenticator_says_who_it_is_or_keeps_people_out(project: Project) -> None:
    make_database(project)
    seen: list[dict[str, Any]] = []

    def let_in(environ: dict[str, Any]) -> str | None:
        seen.append(environ)
        return {"1": "ann"}.get(environ.get("HTTP_COOKIE", ""))

    visitor = Visitor(Dashboard(config_of(project), authenticator=let_in))

    assert " · ann · " in visitor.get("/", HTTP_COOKIE="1").text
    refused = visitor.get("/", HTTP_COOKIE="2")
    assert (refused.status, "www-authenticate" in refused.headers) == (403, False)
    assert seen[0]["PATH_INFO"] == "/"


def test_the_app_around_it_may_say_who_it_is(project: Project) -> None:
    make_database(project)
    visitor = Visitor(Dashboard(config_of(project), host_auth=True), environ={"REMOTE_USER": "<b>ann</b>"})

    assert "&lt;b&gt;ann&lt;/b&gt;" in visitor.get("/").text
    visitor.post("/pause")
    assert project.sql("SELECT who FROM pause") == [("<b>ann</b> (dashboard)",)]


def test_a_monitor_needs_no_password_and_is_told_no_path(locked: Visitor, project: Project) -> None:
    assert locked.get("/healthz").status in (200, 503)
    project.configure("no_such_key: 5")

    answer = locked.get("/healthz")

    assert (answer.status, answer.text) == (503, '{"status": "unreadable"}\n')


# Host


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "LOCALHOST:8765", "127.0.0.1", "127.0.0.1:80", "[::1]",
                                  "[::1]:8765"])  # fmt: skip
def test_it_answers_under_the_names_of_this_machine(project: Project, host: str) -> None:
    assert look(project).get("/", HTTP_HOST=host).status == 200


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "evil.example:8765", "localhost.evil.example", "localhost:8765.evil.example",
     "127.0.0.1.evil.example", "localhost:", "localhost:\uff18\uff10", "localhost, evil.example", "::1", "[::1",
     "[::1]evil",
     "localhost:80:80", "evil@localhost", "10.0.0.1", "localhost "],
)  # fmt: skip
@pytest.mark.parametrize("address", ["/", "/healthz", "/static/0/style.css"])
def test_another_name_is_misdirected_for_a_site_elsewhere_may_lead_its_own_here(
    project: Project, host: str | None, address: str
) -> None:
    answer = look(project).get(address, HTTP_HOST=host)

    assert answer.status == 421
    assert "<" not in answer.text


def test_it_answers_under_the_address_at_which_it_listens(project: Project) -> None:
    for host, name in (("127.0.0.2", "127.0.0.2:8765"), ("::1", "[::1]:1"), ("localhost", HOST)):
        assert look(project, host=host).get("/", HTTP_HOST=name).status == 200
    assert look(project).get("/", HTTP_HOST="127.0.0.2").status == 421


def test_a_mounted_one_answers_under_the_names_it_was_told(project: Project) -> None:
    dashboard = Dashboard(config_of(project), host_auth=True, allowed_hosts=["Jobs.Example.org"])
    visitor = Visitor(dashboard)

    assert visitor.get("/", HTTP_HOST="jobs.example.org:443").status == 200
    assert visitor.get("/").status == 421


# Origin


ORIGIN = f"http://{HOST}"


@pytest.mark.parametrize(
    ("site", "origin", "status"),
    [
        ("same-origin", None, 303), ("none", None, 303), ("Same-Origin", "null", 303),
        ("cross-site", None, 403), ("same-site", ORIGIN, 403), ("cross-site", ORIGIN, 403), ("", ORIGIN, 403),
        (None, ORIGIN, 303), (None, f"https://{HOST}", 303), (None, ORIGIN.upper(), 303),
        (None, None, 403), (None, "", 403), (None, "null", 403), (None, "http://localhost", 403),
        (None, "http://localhost:8766", 403), (None, "http://evil.example", 403), (None, "http://[", 403),
        (None, f"http://evil@{HOST}", 403), (None, f"{ORIGIN}/", 403), (None, f"file://{HOST}", 403),
        (None, f"//{HOST}", 403), (None, HOST, 403), (None, f"{ORIGIN}, http://evil.example", 403),
    ],
)  # fmt: skip
@pytest.mark.parametrize("address", ["/jobs", "/pause"])
def test_another_site_can_change_nothing(
    project: Project, address: str, site: str | None, origin: str | None, status: int
) -> None:
    one_of_each(project)
    form = {"verb": "requeue", "id": 4}

    answer = look(project).post(address, form, HTTP_SEC_FETCH_SITE=site, HTTP_ORIGIN=origin)

    assert answer.status == status
    changed = project.sql("SELECT 1 FROM pause UNION ALL SELECT 1 FROM custom_jobs WHERE id = 4 AND status = 'pending'")
    assert bool(changed) == (status == 303)


def test_what_came_by_https_came_from_no_page_without_it(project: Project) -> None:
    make_database(project)
    visitor = Visitor(Dashboard(config_of(project), host_auth=True), environ={"wsgi.url_scheme": "https"})

    assert visitor.post("/pause", HTTP_SEC_FETCH_SITE=None, HTTP_ORIGIN=ORIGIN).status == 403
    assert visitor.post("/pause", HTTP_SEC_FETCH_SITE=None, HTTP_ORIGIN=f"https://{HOST}").status == 303


def test_without_a_host_no_origin_is_ours(project: Project) -> None:
    make_database(project)
    visitor = Visitor(Dashboard(config_of(project), host_auth=True))

    for origin in ("null", "", "http://"):
        answer = visitor.post("/pause", HTTP_HOST=None, HTTP_SEC_FETCH_SITE=None, HTTP_ORIGIN=origin)
        assert answer.status == 403


# What a GET may do, and a read-only dashboard


@pytest.mark.parametrize("address", PAGES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_asking_changes_nothing(project: Project, address: str, method: str) -> None:
    one_of_each(project)
    visitor = look(project)
    before = everything_under(project.folder)

    visitor.ask(method, address, HTTP_SEC_FETCH_SITE="cross-site")

    assert everything_under(project.folder) == before


def test_asking_makes_no_database(project: Project) -> None:
    visitor = look(project)

    for address in PAGES:
        assert visitor.get(address).status < 500 or address == "/healthz"
    for address in ("/resume", "/prune", "/jobs", "/jobs/matching"):
        visitor.post(address, {"verb": "requeue", "id": 1, "upto": 5})

    assert not project.database.exists()


@pytest.mark.parametrize("address", ["/pause", "/resume", "/prune", "/jobs/matching", "/jobs"])
def test_what_changes_something_can_not_be_asked_for(project: Project, address: str) -> None:
    one_of_each(project)
    before = everything_under(project.folder)

    answer = look(project).get(f"{address}?verb=delete&id=1&sure=1&upto=99&reason=x")

    assert answer.status in (200, 405)
    assert everything_under(project.folder) == before


FORMS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/jobs", {"verb": "delete", "id": 1, "sure": 1}), ("/jobs/matching", {"verb": "requeue", "upto": 9}),
    ("/pause", {}), ("/resume", {}), ("/prune", {}), ("/health", {}),
)  # fmt: skip


@pytest.mark.parametrize(("address", "form"), FORMS)
def test_a_read_only_one_changes_nothing(project: Project, address: str, form: dict[str, Any]) -> None:
    one_of_each(project)
    before = everything_under(project.folder)

    answer = look(project, read_only=True).post(address, form)

    assert answer.status == 403
    assert "read-only" in answer.text
    assert everything_under(project.folder) == before


def test_a_read_only_one_offers_nothing_that_it_would_refuse(project: Project) -> None:
    one_of_each(project)
    add(project, {"id": 1, "since": "2026-11-24 12:00:00.000000"}, table="pause")
    visitor, other = look(project, read_only=True), look(project)

    for address in ("/", "/jobs", "/jobs/4", "/health"):
        assert "post" not in {form.attributes["method"] for form, _ in Page(visitor.get(address).text).forms}
        assert "post" in {form.attributes["method"] for form, _ in Page(other.get(address).text).forms}


def test_pages_are_read_over_a_connection_that_can_not_write(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    one_of_each(project)
    opened: list[bool] = []
    from bgjob.store import connection

    whole = connection.Database._open

    def watched(database: connection.Database, *, read_only: bool) -> Any:
        opened.append(read_only)
        return whole(database, read_only=read_only)

    monkeypatch.setattr(connection.Database, "_open", watched)
    visitor = look(project)
    for address in ("/", "/jobs", "/jobs/1", "/ticks", "/healthz", "/jobs/matching?verb=delete"):
        visitor.get(address)

    assert set(opened) == {True}


def test_a_database_in_a_place_where_nothing_can_be_written_is_shown(project: Project) -> None:
    one_of_each(project)
    storage = project.database.parent
    for path in (*storage.iterdir(), storage):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for folder in project.folder.parents[:4]:
        folder.chmod(folder.stat().st_mode | 0o055)

    # Another user than root can't read everything that Python imports, so first all is imported.
    done = project.python("""
import os
from tests.visitor import Visitor
from bgjob.dashboard import Dashboard
looks, changes = (Visitor(Dashboard.on_loopback("config/jobs.yaml", read_only=each)) for each in (True, False))
for path in ("/", "/jobs", "/jobs/1", "/ticks", "/jobs/matching?verb=delete", "/nowhere"):
    looks.get(path)
changes.post("/jobs", {"verb": "burn"})
if os.geteuid() == 0:
    for left in ("-wal", "-shm"):
        os.unlink(f"storage/jobs.sqlite3{left}")
    os.setgid(65534)
    os.setuid(65534)
print(*[looks.get(path).status for path in ("/", "/jobs", "/jobs/1", "/ticks")])
answers = [changes.post("/pause"), changes.post("/jobs", {"verb": "requeue", "id": 4})]
print(*[answer.status for answer in answers], "jobs.sqlite3" in answers[0].text)
""")

    assert done.stdout.split() == ["200", "200", "200", "200", "503", "503", "True"]


# What pages are made of


@pytest.mark.parametrize("address", [*PAGES, "/static/0/style.css", "/static/0/none.css", "/healthz"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
def test_every_answer_tells_the_browser_what_it_must_not_do(project: Project, address: str, method: str) -> None:
    one_of_each(project)

    headers = look(project).ask(method, address).headers

    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert {value for name, value in policy.items() if name.endswith("-src") and name != "default-src"} == {"'self'"}
    assert policy["form-action"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"].startswith(("no-store", "private"))
    assert "server" not in headers


def hostile(project: Project) -> None:
    """Insert rows whose every text is hostile, also some that no CHECK lets through."""
    at = "2026-11-24 12:00:00.000000"
    texts: tuple[Any, ...] = (EVIL, "\ud800<script>".encode("utf-8", "surrogatepass"), b"\xff\xfe<script>\0", 5, "")
    for number, text in enumerate(texts, 1):
        add(project, {
            "job_class": text, "method": text, "params": text, "status": "failed", "error": text,
            "created_at": at, "finished_at": at, "started_at": at, "retry_count": text, "priority": text,
        })  # fmt: skip
        add(project, {"job_id": number, "attempt": text, "outcome": "raised", "started_at": text, "finished_at": text,
                      "error": text, "traceback": text, "output": text, "verdict": text}, table="attempts")  # fmt: skip
        add(project, {"pid": 1, "process": text, "version": text, "lingers": 0, "started": text, "last_seen": text,
                      "ended": text}, table="runners")  # fmt: skip
        add(project, {"kind": "no tick", "raised_at": text, "told": text}, table="alarms")
    for status in ("pending", "processing", "completed", EVIL, b"\xff"):
        add(project, {"status": status, "runner": EVIL, "worker": b"\xff", "params": f'{{"a": "{EVIL[:30]}"}}',
                      "available_at": EVIL, "started_at": EVIL, "updated_at": b"\xff", "created_at": 7.5})  # fmt: skip
    add(
        project, {"job_id": 7, "started_at": EVIL, "fraction": EVIL, "text": EVIL, "updated_at": EVIL}, table="progress"
    )
    add(project, {"id": 1, "since": EVIL, "who": b"\xff", "reason": EVIL}, table="pause")
    logs = project.folder / "storage" / "logs"
    logs.mkdir(exist_ok=True)
    line = f"2026-11-24 12:00:00.000000 INFO complete job=1 {EVIL}\n".encode() + b"\xff\xfe\n"
    (logs / "background_jobs.log").write_bytes(line)


ODD_QUERY = (
    "?class=%3Cscript%3E%22%27&text=%22%3E%3Cscript%3E&status=%3Cb%3E&sort=%3Cb%3E&priority=%3Cb%3E&since=%3Cb%3E"
)
HOSTILE_PAGES = ("/", "/jobs", f"/jobs{ODD_QUERY}", "/jobs?text=%22%3E%3Cscript%3E", "/jobs?sort=due",
                 "/jobs?sort=duration", *(f"/jobs/{number}" for number in range(1, 11)), "/ticks", "/health",
                 f"/jobs/matching{ODD_QUERY}&verb=delete", "/jobs/matching?verb=delete&text=%22%3E%3Cscript%3E",
                 "/jobs?did=%3Cscript%3E&n=1&left=%3Cb%3E", "/jobs?did=requeue&n=\uff19&left=1",
                 "/%3Cscript%3E")  # fmt: skip


def test_nothing_that_others_wrote_is_read_as_html_or_turns_a_line_around(project: Project) -> None:
    hostile(project)
    visitor = look(project)

    for address in HOSTILE_PAGES:
        answer = visitor.get(address)

        assert answer.status in (200, 400, 404), address
        page = Page(answer.text)
        assert_harmless(page, address)
        assert not set("\u202e\u2066\x1b\x07\u2028\0").intersection(answer.text), address


def assert_harmless(page: Page, where: str) -> None:
    """Look for what the policy forbids: script or style within the page, handlers, and what comes from elsewhere."""
    for element in page.elements:
        assert element.tag not in ("style", "img", "b", "iframe", "object", "base"), (where, element)
        assert element.tag != "script" or element.attributes.get("src"), (where, element)
        for name in element.attributes:
            assert not name.startswith("on"), (where, element)
            assert name not in ("style", "srcdoc"), (where, element)
    assert all(link.startswith(("/", "#")) and not link.startswith("//") for link in page.links), where


def test_no_deed_needs_what_a_page_must_not_have(project: Project) -> None:
    one_of_each(project)
    answer = look(project).post("/jobs", {"verb": "delete", "id": 1, "back": f"/jobs?text={EVIL}"})

    assert answer.status == 200
    assert_harmless(Page(answer.text), "sure")


@pytest.mark.parametrize(
    "back",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "\\\\evil.example", "/jobs\r\nSet-Cookie: a=b",
     "/jobs?x=%0d%0aSet-Cookie:a", "javascript:alert(1)", "/jobs/1/../../evil", "/jobs/\uff11", "/ticks", "", "/jobs//",
     "/jobs?" + "&".join("abcdef"[n % 6] + "=1" for n in range(80)), "/jobs?did=delete&n=9", "/jobs\n"],
)  # fmt: skip
def test_a_form_leads_back_to_pages_of_ours_only(project: Project, back: str) -> None:
    one_of_each(project)

    answer = look(project).post("/jobs", {"verb": "requeue", "id": 4, "back": back})

    place = answer.headers["location"]
    assert answer.status == 303
    assert place.startswith(("/jobs?", "/?"))
    assert not set("\r\n\\").intersection(place)
    assert place.count("did=") == 1


def test_a_mount_of_odd_characters_stays_in_its_place(project: Project) -> None:
    one_of_each(project)
    for mount in ("/a b", "/ü☃", '/"><script>', "/a%2f?b#c", "//evil.example", "/a\r\nX-Evil: 1"):
        environ = {"SCRIPT_NAME": mount.encode().decode("latin-1")}
        visitor = Visitor(Dashboard(config_of(project), host_auth=True), environ=environ)

        page, sent = visitor.get("/"), visitor.post("/pause")

        assert_harmless(Page(page.text), mount)
        place = sent.headers["location"]
        assert place.startswith("/")
        assert not place.startswith("//")
        assert place.isascii()
        assert not set('\r\n <>"?#').intersection(place)
        assert len({link.rpartition("/static/")[0] for link in Page(page.text).links if "/static/" in link}) == 1


def test_what_cannot_be_read_is_told_and_is_no_bug(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    visitor = look(project)
    project.database.parent.mkdir(exist_ok=True)
    for content in (b"no database at all", b""):
        project.database.write_bytes(content)
        for address in ("/", "/jobs", "/jobs/1", "/ticks", "/healthz", "/jobs/matching?verb=delete", "/health"):
            answer = visitor.get(address)
            assert answer.status == 503, address
            assert address == "/healthz" or str(project.database) in answer.text
        assert visitor.post("/jobs", {"verb": "requeue", "id": 1}).status in (303, 503)
    project.database.unlink(missing_ok=True)
    project.database.mkdir()
    assert visitor.get("/").status == visitor.post("/pause").status == 503
    project.configure("no_such_key: 5")
    assert "no_such_key" in visitor.get("/jobs").text
    (project.folder / "config" / "jobs.yaml").unlink()
    assert visitor.get("/").status == visitor.post("/resume").status == 503

    assert "bug" not in caplog.text


def test_a_bug_of_ours_shows_no_traceback_but_logs_it(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_database(project)
    from bgjob.dashboard import visit

    def burst(_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(visit, "pulse", burst)

    answer = look(project).get("/")

    assert (answer.status, "secret" in answer.text, "Traceback" in answer.text) == (500, False, False)
    assert "KeyError: 'secret'" in caplog.text


def test_a_form_that_is_cut_off_does_nothing(project: Project) -> None:
    """Half of id=21 would be id=2."""
    one_of_each(project)
    body = b"verb=requeue&id=4"

    class Gone(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise OSError("the client is gone")

    for sent in (io.BytesIO(body), Gone()):
        answer = look(project).post("/jobs", (), **{"wsgi.input": sent, "CONTENT_LENGTH": str(len(body) + 1)})
        assert (answer.status, "cut off" in answer.text) == (400, True)

    assert project.sql("SELECT status FROM custom_jobs WHERE id = 4") == [("failed",)]
