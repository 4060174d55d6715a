"""What may run, and what comes of it: each kind of method, each way to fail, and rows that are nonsense."""

from __future__ import annotations

import importlib
import json
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from bgjob import execution, run_background_job, run_background_jobs
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Project

Row = tuple[str, int, int, str | None]

TRACE = """
import os

def trace(text):
    with open("trace", "a") as file:
        file.write(f"{text}\\n")

"""


def run(project: Project, source: str, *, params: list[Any] | dict[str, Any] | None = None) -> Row:
    """Run app.jobs.Job.execute as `source` has it, with one retry; return its status, retries, crashes and error."""
    project.write_jobs(TRACE + source)
    project.configure("max_retries: 1")
    run_background_job("app.jobs.Job", "execute", params)
    project.tick()
    (row,) = project.jobs("status, retry_count, crash_count, error")
    return row


def run_each(project: Project, sources: Mapping[str, str]) -> dict[str, Row]:
    """Do the same for many sources in one tick, each with a module of its own and an innocent job behind it."""
    modules = {name: f"case_{number}" for number, name in enumerate(sources)}
    for name, source in sources.items():
        project.write_jobs(TRACE + source, modules[name])
    project.write_jobs("class Innocent:\n    def execute(self):\n        pass\n")
    classes = [f"app.{module}.Job" for module in modules.values()]
    project.configure("max_retries: 1", classes=", ".join(["app.jobs.Innocent", *classes]))
    for job_class in classes:
        run_background_jobs([[job_class], ["app.jobs.Innocent"]])
    project.tick()
    rows = project.jobs("status, retry_count, crash_count, error")
    assert set(rows[1::2]) == {("completed", 0, 0, None)}
    return dict(zip(sources, rows[::2], strict=True))


@pytest.mark.parametrize("params", [None, {}, []])
def test_a_class_is_instantiated_without_arguments_and_its_method_called(
    project: Project, params: list[Any] | dict[str, Any] | None
) -> None:
    source = """
class Job:
    def __init__(self):
        self.greeting = "hello"

    def execute(self, to="world"):
        trace(f"{self.greeting} {to}")
"""

    first = run(project, source, params=params)

    assert first == ("completed", 0, 0, None)
    assert project.trace() == ["hello world"]


def test_a_mapping_becomes_keyword_arguments_and_a_list_positional_ones(project: Project) -> None:
    given = {"a": [1, 2.5, None, True, "ü\u2028😀"], "self_": {"é": {}}}
    project.write_jobs(
        "import json\nclass Job:\n    def execute(self, *args, **kwargs):\n"
        "        open('trace', 'a').write(json.dumps([args, kwargs]) + '\\n')\n"
    )
    run_background_job("app.jobs.Job", "execute", given)
    run_background_job("app.jobs.Job", "execute", [given, (1, "x")])

    project.tick()

    assert [json.loads(line) for line in project.trace()] == [[[], given], [[given, [1, "x"]], {}]]


@pytest.mark.parametrize(("kind", "first"), [("staticmethod", ""), ("classmethod", "cls, ")])
def test_static_and_class_methods_need_no_instance(project: Project, kind: str, first: str) -> None:
    source = f"""
class Job:
    def __init__(self):
        raise AssertionError("instantiated")

    @{kind}
    def execute({first}word):
        trace(word)
"""

    assert run(project, source, params=["static"])[0] == "completed"
    assert project.trace() == ["static"]


def test_each_attempt_has_an_instance_of_its_own(project: Project) -> None:
    source = """
class Job:
    seen = ()

    def execute(self):
        trace(self.seen)
        self.seen = 1
        1 / 0
"""

    assert run(project, source)[:2] == ("failed", 1)
    assert project.trace() == ["()", "()"]


def test_an_inherited_method_runs(project: Project) -> None:
    source = "class Base:\n    def execute(self):\n        trace(type(self).__name__)\nclass Job(Base):\n    pass\n"

    assert run(project, source)[0] == "completed"
    assert project.trace() == ["Job"]


def test_an_async_method_is_run_to_its_end(project: Project) -> None:
    source = """
import asyncio

class Job:
    async def execute(self):
        await asyncio.gather(self.part("one"), self.part("two"))
        trace("end")

    async def part(self, name):
        await asyncio.sleep(0.01)
        trace(name)
"""

    assert run(project, source)[0] == "completed"
    assert project.trace() == ["one", "two", "end"]


def test_an_async_method_that_raises_has_failed(project: Project) -> None:
    source = "import asyncio\nclass Job:\n    async def execute(self):\n        await asyncio.sleep(0)\n        1 / 0\n"

    assert run(project, source)[:2] == ("failed", 1)
    assert "ZeroDivisionError" in project.sql("SELECT traceback FROM attempts")[0][0]


GENERATORS = {
    "plain": "class Job:\n    def execute(self):\n        trace('ran')\n        yield\n",
    "async": "class Job:\n    async def execute(self):\n        trace('ran')\n        yield\n",
    "returned": (
        "def steps():\n    trace('ran')\n    yield\nclass Job:\n    def execute(self):\n        return steps()\n"
    ),
    "decorated": (
        "import types\nclass Job:\n    @types.coroutine\n    def execute(self):\n        trace('ran')\n        yield\n"
    ),
}


def test_a_generator_is_refused_since_calling_it_runs_none_of_its_code(project: Project) -> None:
    rows = run_each(project, GENERATORS)

    assert {name: status for name, (status, *_) in rows.items()} == dict.fromkeys(GENERATORS, "failed")
    assert all("generator" in str(error) for *_, error in rows.values())
    assert project.trace() == []


def test_what_a_job_returns_is_never_looked_at(project: Project) -> None:
    source = """
class Hostile:
    def __getattribute__(self, name):
        trace(name)
        raise SystemExit(name)
    __repr__ = __str__ = __eq__ = __bool__ = __hash__ = __len__ = __iter__ = lambda self, *_: os._exit(1)
    __del__ = lambda self: 1 / 0

class Job:
    def execute(self):
        return Hostile()
"""

    assert run(project, source)[0] == "completed"
    assert project.trace() == []


HOSTILE_METHODS = {
    "a property": "    @property\n    def execute(self):\n        trace('ran')\n        return trace\n",
    "a callable instance": (
        "    class Callable:\n        def __call__(self):\n            trace('ran')\n    execute = Callable()\n"
    ),
    "a nested class": "    class execute:\n        def __init__(self):\n            trace('ran')\n",
    "a built-in function": "    execute = breakpoint\n",
    "a partial": "    import functools\n    execute = functools.partial(trace, 'ran')\n",
    "a cached property": (
        "    import functools\n    @functools.cached_property\n    def execute(self):\n        trace('ran')\n"
    ),
    "a descriptor": (
        "    class Descriptor:\n        def __get__(self, *_):\n            trace('ran')\n            return trace\n"
        "    execute = Descriptor()\n"
    ),
    "a class method over a callable": (
        "    class Callable:\n        def __call__(self, *_):\n            trace('ran')\n"
        "    execute = classmethod(Callable())\n"
    ),
    "nothing": "    execute = None\n",
    "missing": "    pass\n",
    "only found by __getattr__": "    def __getattr__(self, name):\n        return lambda: trace('ran')\n",
    "only found by a metaclass": "    pass\nclass Meta(type):\n    def execute(cls):\n        trace('ran')\nclass Job(metaclass=Meta):\n    pass\n",  # noqa: E501
}


def test_only_a_plain_method_of_the_class_runs(project: Project) -> None:
    rows = run_each(project, {name: f"class Job:\n{body}" for name, body in HOSTILE_METHODS.items()})

    assert {name: status for name, (status, *_) in rows.items()} == dict.fromkeys(HOSTILE_METHODS, "failed")
    assert all(re.search(r"app\.case_\d+\.Job\b.*\bexecute", str(error)) for *_, error in rows.values())
    assert project.trace() == []


def test_what_an_instance_puts_in_the_place_of_its_method_is_not_run(project: Project) -> None:
    source = """
class Job:
    def __init__(self):
        object.__setattr__(self, "execute", lambda: trace("a stranger"))

    def __getattribute__(self, name):
        return lambda: trace("a stranger")

    def execute(self):
        trace("the approved one")
"""

    assert run(project, source)[0] == "completed"
    assert project.trace() == ["the approved one"]


METACLASSES = {
    "puts another function in the place of the method": "__dict__ = {'execute': lambda self: trace('a stranger')}",
    "answers nothing": "def __getattribute__(cls, name):\n        raise SystemExit(name)",
}


@pytest.mark.parametrize("body", METACLASSES.values(), ids=METACLASSES)
def test_a_metaclass_is_not_asked_what_is_to_run(project: Project, body: str) -> None:
    source = f"""
class Meta(type):
    {body}

class Job(metaclass=Meta):
    def execute(self):
        trace("the approved one")
"""

    assert run(project, source)[0] == "completed"
    assert project.trace() == ["the approved one"]


NO_CLASSES = {
    "a function": "def Job():\n    trace('ran')\n",
    "an instance": "class Kind:\n    def execute(self):\n        trace('ran')\nJob = Kind()\n",
    "an instance that says it is a class": (
        "class Kind:\n    __class__ = property(lambda self: type)\n    def execute(self):\n        trace('ran')\n"
        "    def __call__(self):\n        trace('ran')\nJob = Kind()\n"
    ),
    "a module": "import os as Job\n",
    "nothing": "Job = None\n",
    "missing": "",
}


def test_a_module_is_asked_for_the_class_alone(project: Project) -> None:
    source = """
def __getattr__(name):
    trace(name)
    raise KeyError(name)

class Job:
    def execute(self):
        trace("ran")
"""

    assert run(project, source) == ("completed", 0, 0, None)
    assert project.trace() == ["ran"]


def test_a_module_that_another_thread_is_just_importing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_slowly.py").write_text(
        f"import pathlib, time\nhere = pathlib.Path({str(tmp_path)!r})\n(here / 'began').touch()\n"
        "while not (here / 'go').exists():\n    time.sleep(0.05)\nclass Job:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    other = threading.Thread(target=importlib.import_module, args=["imported_slowly"])
    other.start()
    wait_until((tmp_path / "began").exists)

    (tmp_path / "go").touch()
    found = execution.find_class("imported_slowly.Job")

    assert found.__name__ == "Job"
    other.join()


def test_an_approved_name_that_leads_to_no_class_fails(project: Project) -> None:
    rows = run_each(project, NO_CLASSES)

    assert {name: status for name, (status, *_) in rows.items()} == dict.fromkeys(NO_CLASSES, "failed")
    assert all("class" in str(error) for name, (*_, error) in rows.items() if "says" not in name)
    assert project.trace() == []


REFUSED = [
    ("app.jobs.Other", "execute"),  # a class of the same module
    ("app.jobs.Alias", "execute"),  # the approved class by another name
    ("app.other.Job", "execute"),
    ("app.jobs.Outer.Job", "execute"),  # attribute paths
    ("app.jobs", "Job.execute"),
    ("app.jobs.Job.execute", "execute"),
    ("app.jobs.Job", "execute.__call__"),
    ("app.jobs.Job", "other"),
    ("app.jobs.Job", "__init__"),
    ("app.jobs.Job", "__class__"),
    ("app.jobs.Job", "_private"),
    ("app.jobs.Job", "_Job__private"),
    ("app.jobs.Job", "execute\n"),
    ("app.jobs.Job", "execute()"),
    ("app.jobs.Job", " execute"),
    ("app.jobs.Job", ""),
    ("app.jobs.Job", "ｅxecute"),  # noqa: RUF001  # Python itself would read this name as `execute`
    ("app.jobs.Job\n", "execute"),
    (" app.jobs.Job", "execute"),
    (".app.jobs.Job", "execute"),
    ("app..jobs.Job", "execute"),
    ("App.jobs.Job", "execute"),
    ("app.jobs.Job\0", "execute"),
    ("app.jobs:Job", "execute"),
    ("app/jobs.Job", "execute"),
    ("", "execute"),
    ("os", "system"),
    ("builtins.exec", "__call__"),
    ("subprocess.Popen", "execute"),
    ("x" * 1_000_000, "execute"),
]


def test_a_row_that_is_not_approved_fails_at_once_and_its_module_is_never_imported(project: Project) -> None:
    project.configure("max_retries: 5", classes="app.jobs.Job, app.innocent.Job")
    project.write_jobs(
        TRACE + "trace('imported')\nclass Job:\n    def execute(self):\n        pass\nAlias = Other = Job\n"
    )
    project.write_jobs(TRACE + "trace('imported')\n", "other")
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n", "innocent")
    run_background_job("app.innocent.Job", priority=-1)
    for name, method in REFUSED:
        project.sql("INSERT INTO custom_jobs (job_class, method) VALUES (?, ?)", (name, method))

    project.tick()

    assert project.trace() == []
    assert project.jobs("status, retry_count") == [("completed", 0)] + [("failed", 0)] * len(REFUSED)
    assert all(
        "is not approved" in error for (error,) in project.sql("SELECT error FROM custom_jobs WHERE status = 'failed'")
    )
    lines = project.log(errors=True).splitlines()
    assert [line for line in lines if " ERROR fail " not in line] == []
    assert len(lines) == len(REFUSED)


def test_a_job_whose_approval_was_taken_back_after_it_was_queued_does_not_run(project: Project) -> None:
    project.write_jobs(TRACE + "trace('imported')\nclass Job:\n    def execute(self):\n        trace('ran')\n")
    run_background_job("app.jobs.Job")
    project.configure(classes="app.jobs.OtherJob")

    project.tick()

    assert project.jobs() == [(1, "failed")]
    assert project.trace() == []


LONGEST_ERROR, LONGEST_TRACEBACK = 1_100, 17_000

RAISING = {
    "an error": "raise ValueError('the cause')",
    "sys.exit()": "import sys; sys.exit()",
    "sys.exit(0)": "import sys; sys.exit(0)",
    "sys.exit with a text": "import sys; sys.exit('the cause')",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "StopIteration": "raise StopIteration",
    "a BaseException": "raise BaseException('the cause')",
    "CancelledError": "import asyncio; raise asyncio.CancelledError",
    "an error of bgjob's own": "import bgjob.errors; raise bgjob.errors.BgjobError('the cause')",
    "a group": "raise ExceptionGroup('many', [ValueError('a'), ExceptionGroup('more', [KeyError('b')])])",
    "a deep recursion": "f = lambda: f(); f()",
    "no memory": "raise MemoryError",
    "__str__ raises": "raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})",
    "__str__ exits": "raise type('E', (Exception,), {'__str__': lambda self: exit(0)})",
    "__str__ is interrupted": (
        "def text(self): raise KeyboardInterrupt\n        raise type('E', (Exception,), {'__str__': text})"
    ),
    "__str__ recurses": "raise type('E', (Exception,), {'__str__': lambda self: str(self)})",
    "__str__ is no text": "raise type('E', (Exception,), {'__str__': lambda self: 5})",
    "__str__ is text with an opinion": (
        "class Text(str):\n            __len__ = __add__ = __str__ = encode = lambda *_: 1 / 0\n"
        "        raise type('E', (Exception,), {'__str__': lambda self: Text('x')})"
    ),
    "hostile notes": "e = ValueError(); e.__notes__ = 5; raise e",
    "notes that raise": (
        "e = ValueError(); e.__notes__ = [type('N', (), {'__str__': lambda self: exit(0)})()]; raise e"
    ),
    "a class with odd names": "raise type('E\\n\\ud800', (Exception,), {'__module__': 5, '__qualname__': 'x\\ny'})",
    "a metaclass": (
        "class Meta(type):\n            def __getattribute__(cls, name): exit(name)\n"
        "        raise Meta('E', (Exception,), {})"
    ),
    "a cause that leads back to itself": (
        "e = ValueError('a'); f = ValueError('b'); e.__cause__ = f; f.__cause__ = e; raise e"
    ),
    "a context that leads back to itself": (
        "e = ValueError('a'); f = ValueError('b'); f.__context__ = e\n        try: raise f\n"
        "        except ValueError: e.__context__ = f; raise e from None"
    ),
    "a very long chain of causes": (
        "e = None\n        for n in range(5000):\n            f = ValueError(n); f.__cause__ = e; e = f\n"
        "        raise e"
    ),
    "10 MB of text": "raise ValueError('long ' * 2_000_000)",
    "10 MB of lines": "raise ValueError('long\\n' * 2_000_000)",
    "10 MB of notes": "e = ValueError(); e.add_note('long ' * 2_000_000); raise e",
    "a lone surrogate": "raise ValueError('\\ud800')",
    "a NUL": "raise ValueError('a\\0b')",
    "a syntax error with odd places": "raise SyntaxError('x', ('f\\ny', 'three', -5, 5, 'four', 2))",
    "an error of the system": "open('/nowhere/\\udcff')",
    "a wrong signature": "self.execute(1, 2, 3)",
}
UNREADABLE = ("a metaclass", "a syntax error with odd places")


def test_whatever_a_job_raises_is_recorded_with_its_traceback_and_tried_again(project: Project) -> None:
    sources = {name: f"class Job:\n    def execute(self):\n        {body}\n" for name, body in RAISING.items()}

    rows = run_each(project, sources)

    assert {name: row[:3] for name, row in rows.items()} == dict.fromkeys(RAISING, ("failed", 1, 0))
    attempts = project.sql("SELECT job_id, attempt, outcome, error, traceback FROM attempts ORDER BY job_id, attempt")
    for number, (name, row) in enumerate(rows.items()):
        first, second = attempts[2 * number : 2 * number + 2]
        assert (first[1:3], second[1:3], second[3]) == ((1, "raised"), (2, "raised"), row[3]), name
        assert 0 < len(second[3]) <= LONGEST_ERROR, name
        if name not in UNREADABLE:
            assert len(second[4]) <= LONGEST_TRACEBACK, name
            assert f"app/case_{number}.py" in second[4], name
            assert "/bgjob/" not in second[4], name
    assert len(project.log(errors=True)) < 2 * len(RAISING) * LONGEST_TRACEBACK


UNIMPORTABLE = {
    "raises": ("raise RuntimeError('at import')", "RuntimeError: at import"),
    "exits": ("raise SystemExit(0)", "SystemExit"),
    "misses a package": ("import a_module_that_is_not_there", "No module named 'a_module_that_is_not_there'"),
    "is no Python": ("def:", "SyntaxError"),
    "is empty": ("", "no class Job"),
}


def test_a_module_that_cannot_be_imported_is_an_error_like_any_other(project: Project) -> None:
    rows = run_each(project, {name: source for name, (source, _) in UNIMPORTABLE.items()})

    assert {name: row[:3] for name, row in rows.items()} == dict.fromkeys(UNIMPORTABLE, ("failed", 1, 0))
    assert {name: told in str(rows[name][3]) for name, (_, told) in UNIMPORTABLE.items()} == dict.fromkeys(rows, True)
    assert project.sql("SELECT count(*) FROM attempts WHERE outcome = 'raised' AND traceback IS NOT NULL") == [
        (2 * len(UNIMPORTABLE),)
    ]


def test_a_module_that_is_no_text_is_an_error_like_any_other(project: Project) -> None:
    (project.folder / "app" / "jobs.py").write_bytes(b"'\xff'")
    run_background_job("app.jobs.Job")

    project.tick()

    assert project.jobs("status, retry_count, crash_count") == [("failed", 3, 0)]


def test_a_module_that_is_not_there_is_an_error_that_names_it(project: Project) -> None:
    project.configure("max_retries: 0", classes="app.nowhere.Job")
    run_background_job("app.nowhere.Job")

    project.tick()

    ((error, traceback),) = project.sql("SELECT error, traceback FROM attempts")
    assert "No module named 'app.nowhere'" in error
    assert "No module named 'app.nowhere'" in traceback


NO_PARAMS = [
    "no json",
    "",
    "5",
    '"text"',
    "true",
    "NaN",
    '{"a": NaN}',
    "[Infinity]",
    "[1",
    "[1] [2]",
    "{'a': 1}",
    "[" * 200_000,
    "[" * 90_000 + "]" * 90_000,
    '{"a":' * 90_000 + "1" + "}" * 90_000,
    "[" + "9" * 5_000 + "]",
    "\ufeff[]",
    '{"no such argument": 1}',
    "[1, 2, 3]",
    b"\xff\xfe",
    b'["\xff"]',
    b"[\x00]",
    '["\\ud800"]',
    '{"self": 1}',
    '{"a": 1, "a": 2}',
]


def test_params_that_are_nonsense_fail_their_own_row_only(project: Project) -> None:
    project.configure("max_retries: 1")
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n")
    run_background_job("app.jobs.Job", priority=-1)
    for params in NO_PARAMS:
        raw = params.encode() if isinstance(params, str) else params
        insert = (
            "INSERT INTO custom_jobs (job_class, method, params) VALUES ('app.jobs.Job', 'execute', CAST(? AS TEXT))"
        )
        project.sql(insert, (raw,))

    project.tick()

    innocent, *rows = project.jobs("status, crash_count")
    assert innocent == ("completed", 0)
    assert list(zip(NO_PARAMS, rows, strict=True)) == [(params, ("failed", 0)) for params in NO_PARAMS]
    errors = project.sql("SELECT error FROM custom_jobs WHERE status = 'failed'")
    assert all(0 < len(error) <= LONGEST_ERROR for (error,) in errors)


def test_null_in_any_shape_means_no_params(project: Project) -> None:
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n")
    run_background_job("app.jobs.Job")
    for params in (None, "null", "{}", "[]", " [ ] "):
        project.sql(
            "INSERT INTO custom_jobs (job_class, method, params) VALUES ('app.jobs.Job', 'execute', ?)", (params,)
        )

    project.tick()

    assert {status for (status,) in project.jobs("status")} == {"completed"}


NONSENSE = [
    "job_class = CAST(x'ff' AS TEXT)",
    "method = CAST(x'6578656375746500' AS TEXT)",
    "job_class = x'ff'",
    "method = 7.5",
    "params = 5",
    "params = x'5b5d'",
    "priority = 'high'",
    "priority = 1.5",
    "priority = x'00'",
    "retry_count = 1.5",
    "retry_count = 9223372036854775807",
    "crash_count = 'many'",
    "available_at = 'soon'",
    "available_at = 0",
    "available_at = '2026-01-01T00:00:00Z'",
    "promoted = 7",
    "promoted = 1",
    "status = 'unknown'",
    "status = ''",
    "status = 5",
    "status = 'processing', runner = -1, worker = ''",
    "status = 'processing', runner = 99, worker = x'00'",
    "status = 'processing', runner = 9223372036854775807, worker = '1 2 3'",
    "runner = 1",
    "worker = 'x'",
    "started_at = 'then'",
    "created_at = x'00'",
    "updated_at = 0",
    "error = 5",
    "id = -3",
    "id = 0",
]


@pytest.mark.parametrize("fails", [False, True], ids=["and its job succeeds", "and its job fails"])
def test_a_row_that_breaks_every_rule_does_not_stop_the_queue(project: Project, *, fails: bool) -> None:
    project.configure("max_retries: 1", classes="app.jobs.Job, app.innocent.Job")
    project.write_jobs(f"class Job:\n    def execute(self):\n        {'1 / 0' if fails else 'pass'}\n")
    project.write_jobs("class Job:\n    def execute(self):\n        pass\n", "innocent")
    run_background_jobs([["app.jobs.Job"], ["app.innocent.Job"]] * len(NONSENSE))
    for number, nonsense in enumerate(NONSENSE):
        project.sql_unchecked(f"UPDATE custom_jobs SET {nonsense} WHERE id = {2 * number + 1}")  # noqa: S608  # as above

    project.tick()
    run_background_job("app.innocent.Job")
    project.tick()

    innocents = project.sql("SELECT status FROM custom_jobs WHERE job_class = 'app.innocent.Job'")
    assert innocents == [("completed",)] * (len(NONSENSE) + 1)
