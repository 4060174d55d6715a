"""Params that a method can't take are refused when they are queued, if the class is loaded, and never before."""

from __future__ import annotations

import inspect
import sys
import types
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgjob import InvalidJobError, InvalidParamsError, run_background_job, run_background_jobs, signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Project

JOB = "app.loaded.Job"
SOURCE = """
import functools

def kept(function):
    @functools.wraps(function)
    def wrapper(self, *args, **kwargs):
        return function(self, *args, **kwargs)
    return wrapper

class Base:
    def inherited(self, month): pass

class Job(Base):
    def build(self, month, sheets=3, title="a", *, draft=False): pass
    def by_name(self, *, month, year=2026): pass
    def both(self, sheets=3, *, month): pass
    def by_place(self, month, /, year): pass
    def takes_all(self, *args, **kwargs): pass
    def named(self, month, **more): pass
    def selfless(): pass
    def odd_default(self, at=object(), text="x" * 99): pass
    @staticmethod
    def static(month): pass
    @classmethod
    def made(cls, month): pass
    @kept
    def decorated(self, month): pass
    attribute = property(lambda self: None)
"""
METHODS = (
    "build, both, by_name, by_place, takes_all, named, selfless, odd_default, static, made, decorated, attribute, "
    "inherited, biuld"
)


@pytest.fixture
def job(project: Project, monkeypatch: pytest.MonkeyPatch) -> type:
    """Return the class that the config approves, in a module that is loaded."""
    project.configure(methods=METHODS, classes=JOB)
    module = types.ModuleType("app.loaded")
    exec(SOURCE, module.__dict__)  # noqa: S102  # the module above
    monkeypatch.setitem(sys.modules, "app.loaded", module)
    found: type = module.Job
    return found


FITTING: list[tuple[str, Any]] = [
    ("build", {"month": "2026-11"}),
    ("build", {"month": "2026-11", "draft": True, "title": "b"}),
    ("build", ["2026-11", 4]),
    ("build", ("2026-11",)),
    ("by_name", {"month": 1}),
    ("by_place", ["2026-11", 1]),
    ("takes_all", None),
    ("takes_all", [1, 2, 3]),
    ("takes_all", {"any": 1}),
    ("named", {"month": 1, "any": 2}),
    ("odd_default", None),
    ("static", [1]),
    ("static", {"month": 1}),
    ("made", {"month": 1}),
    ("inherited", {"month": 1}),
    ("decorated", {"any": 1}),
    ("attribute", {"any": 1}),
]


@pytest.mark.parametrize(("method", "params"), FITTING)
@pytest.mark.usefixtures("job")
def test_params_that_fit_are_queued(project: Project, method: str, params: Any) -> None:
    assert run_background_job(JOB, method, params)
    assert run_background_jobs([(JOB, method, params)])

    assert len(project.jobs()) == 2


MISFITS: list[tuple[str, Any, str]] = [
    ("build", None, "build(month, sheets=3, title='a', *, draft=False): 'month' is missing"),
    ("build", {}, "'month' is missing"),
    ("build", [], "'month' is missing"),
    ("build", {"mont": 1}, "'month' is missing; it takes no 'mont' (did you mean 'month'?)"),
    ("build", {"month": 1, "colour": 2}, ": it takes no 'colour'"),
    ("build", {"month": 1, "self": 2}, ": it takes no 'self'"),
    ("build", [1, 2, 3, 4, 5], ": it takes 3 by their place, not 5"),
    ("build", {f"no{n}": n for n in range(7)}, "it takes no 'no4'; and 2 more that it does not take"),
    ("by_name", None, "by_name(*, month, year=2026): 'month' is missing"),
    ("by_name", {"year": 1}, ": 'month' is missing"),
    ("by_name", [1], ": 'month' is missing; it takes 0 by their place, not 1"),
    (
        "by_place",
        {"month": 1, "year": 1},
        "'month' is missing; 'month' is taken by its place only: hand params over as a",
    ),
    ("by_place", None, "by_place(month, /, year): 'month', 'year' are missing"),
    ("takes_all", {"self": 1}, "takes_all(*args, **kwargs): it takes no 'self'"),
    ("named", [1, 2], "named(month, **more): it takes 1 by their place, not 2"),
    ("named", {"any": 2}, "named(month, **more): 'month' is missing"),
    ("selfless", None, "selfless(): it takes no self"),
    ("odd_default", {"in": 1}, "odd_default(at=…, text=…): it takes no 'in'"),
    ("static", None, "static(month): 'month' is missing"),
    ("made", {"month": 1, "cls": 1}, "made(month): it takes no 'cls'"),
    ("inherited", [], "app.loaded.Job.inherited(month): 'month' is missing"),
    ("decorated", {"self": 1}, "decorated(*args, **kwargs): it takes no 'self'"),
]


@pytest.mark.parametrize(("method", "params", "told"), MISFITS)
@pytest.mark.usefixtures("job")
def test_params_that_do_not_fit_are_refused_with_the_signature(
    project: Project, method: str, params: Any, told: str
) -> None:
    with pytest.raises(InvalidParamsError) as refused:
        run_background_job(JOB, method, params)
    with pytest.raises(InvalidParamsError) as one_of_many:
        run_background_jobs([(JOB, method, params)])

    assert f"params don't fit {JOB}.{method}(" in str(refused.value)
    assert told in str(refused.value)
    assert str(one_of_many.value) == f"jobs[0]: {refused.value}"
    assert not project.database.exists()


def test_a_method_that_the_loaded_class_lacks_is_refused(job: type) -> None:
    with pytest.raises(InvalidJobError, match=r"app\.loaded\.Job has no method 'biuld'; did you mean 'build'"):
        run_background_job(job, "biuld")


def test_nothing_is_imported_for_the_check_and_what_is_not_loaded_is_let_through(project: Project) -> None:
    project.write_jobs("class Job:\n    def execute(self): pass\n")

    assert run_background_job("app.jobs.Job", "execute", {"none such": 1})
    assert "app.jobs" not in sys.modules


@pytest.mark.usefixtures("job")
def test_a_stand_in_of_a_test_takes_anything() -> None:
    with mock.patch.object(sys.modules["app.loaded"], "Job"):
        assert run_background_job(JOB, "build", {"none such": 1})
    with mock.patch.object(sys.modules["app.loaded"], "Job", mock.MagicMock(spec=type)):
        assert run_background_job(JOB, "build", {"none such": 1})
    with mock.patch.object(sys.modules["app.loaded"].Job, "build"):
        assert run_background_job(JOB, "build", {"none such": 1})
    with pytest.raises(InvalidParamsError):
        run_background_job(JOB, "build", {"none such": 1})


def test_a_method_that_is_replaced_is_checked_as_it_now_is(job: type) -> None:
    assert run_background_job(job, "build", {"month": 1})

    job.build = lambda self, year: None  # type: ignore[attr-defined]  # noqa: ARG005  # names count

    with pytest.raises(InvalidParamsError, match="'year' is missing"):
        run_background_job(job, "build", {"month": 1})


def test_the_check_runs_no_code_of_the_class(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.configure(classes="app.hostile.Job")
    module = types.ModuleType("app.hostile")
    exec(HOSTILE, module.__dict__)  # noqa: S102  # the module below
    monkeypatch.setitem(sys.modules, "app.hostile", module)

    assert run_background_job("app.hostile.Job", "execute")
    with pytest.raises(InvalidParamsError, match=r"execute\(at=…\): it takes no 'b'"):
        run_background_job("app.hostile.Job", "execute", {"b": 1})


HOSTILE = """
class Trap(type):
    def __getattribute__(cls, name): raise SystemExit("asked")
    def __instancecheck__(cls, other): raise SystemExit("asked")
    def __hash__(cls): raise SystemExit("asked")

class Default:
    def __repr__(self): raise SystemExit("shown")

class Job(metaclass=Trap):
    def __new__(cls): raise SystemExit("made")
    def execute(self, at=Default()): pass
"""


# Whatever the parameters are, the check says what Python says.


names = st.sampled_from(["a", "b", "c", "d", "self"])


@st.composite
def functions(draw: st.DrawFn) -> Callable[..., None]:
    """Return a function of any kinds of parameters, the first of which may be for the instance."""
    chosen = draw(st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, max_size=4))
    first = draw(st.sampled_from(["self", "self", None]))
    by_place = ([first] if first else []) + chosen[: draw(st.integers(0, 4))]
    by_name = [name for name in chosen if name not in by_place]
    preset = draw(st.integers(0, len(by_place)))
    parts = [f"{name}=1" if at >= preset else name for at, name in enumerate(by_place)]
    slash = draw(st.integers(0, len(by_place)))
    if slash:
        parts.insert(slash, "/")
    star = draw(st.booleans())
    if star or by_name:
        parts.append("*args" if star else "*")
    parts += [f"{name}=1" if draw(st.booleans()) else name for name in by_name]
    if draw(st.booleans()):
        parts.append("**kwargs")
    return eval(f"lambda {', '.join(parts)}: None")  # type: ignore[no-any-return]  # noqa: S307  # of the parts above


@settings(max_examples=300)
@given(
    function=functions(),
    params=st.one_of(st.none(), st.lists(st.integers(), max_size=5), st.dictionaries(names, st.integers(), max_size=5)),
    is_static=st.booleans(),
)
def test_the_check_agrees_with_python(function: Callable[..., None], params: Any, is_static: bool) -> None:  # noqa: FBT001
    module = types.ModuleType("app.drawn")
    module.Job = type("Job", (), {"run": staticmethod(function) if is_static else function})  # type: ignore[attr-defined]
    bound = () if is_static else (None,)
    try:
        if isinstance(params, dict):
            function(*bound, **params)
        else:
            function(*bound, *(params or ()))
        fits = True
    except TypeError:
        fits = False

    told = said_by_the_check(module, params)

    assert (told is None) is fits
    if told is not None:
        assert told.partition("Job.run(")[2].partition("): ")[0] == shown_by_inspect(function, is_static=is_static)


def said_by_the_check(module: types.ModuleType, params: Any) -> str | None:
    with mock.patch.dict(sys.modules, {"app.drawn": module}):
        try:
            signature.check("app.drawn.Job", "run", params)
        except InvalidParamsError as error:
            return str(error)
    return None


def shown_by_inspect(function: Callable[..., None], *, is_static: bool) -> str:
    try:
        bound = function if is_static else types.MethodType(function, object())
        return str(inspect.signature(bound))[1:-1]
    except ValueError:  # there is no place for self
        return str(inspect.signature(function))[1:-1]
