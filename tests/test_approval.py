"""What may be queued and run: exact names on the lists, and nothing that only looks like them."""

from __future__ import annotations

import sys
import types

import pytest

from bgjob import approval, config
from bgjob.errors import BgjobError, InvalidJobError, NotApprovedError

CONFIG = config.parse_config(
    b"""
approved_classes:
  - app.custom_jobs.ExampleJob
  - app.custom_jobs.ReportJob:
      methods: [rebuild]
  - app.custom_jobs.IdleJob:
      methods: []
approved_methods: [execute, clean_up]
""",
    "/srv/app/config/jobs.yaml",
)
NOTHING = config.parse_config(b"approved_classes: []\napproved_methods: []\n", "/srv/app/config/jobs.yaml")


class Text(str):
    """A text that claims to equal every other one."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


def module_of(name: str, monkeypatch: pytest.MonkeyPatch, **content: object) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def class_of(module: str, name: str) -> type:
    return type(name.rpartition(".")[2], (), {"__module__": module, "__qualname__": name})


@pytest.mark.parametrize(
    ("job_class", "method"),
    [
        ("app.custom_jobs.ExampleJob", "execute"),
        ("app.custom_jobs.ExampleJob", "clean_up"),
        ("app.custom_jobs.ReportJob", "rebuild"),
    ],
)
def test_what_stands_on_the_lists_is_approved_and_its_rules_are_returned(job_class: str, method: str) -> None:
    rules = approval.approve(CONFIG, job_class, method)

    assert rules is CONFIG.classes[job_class]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ExampleJob",
        "app.custom_jobs",
        "app.custom_jobs.examplejob",
        "app.custom_jobs.ExampleJob ",
        "app.custom_jobs.ExampleJob\n",
        "app.custom_jobs.ExampleJob\0",
        "app.custom_jobs.ExampleJob.execute",
        "app.custom_jobs:ExampleJob",
        "app/custom_jobs/ExampleJob",
        ".app.custom_jobs.ExampleJob",
        "app.custom_jobs.EхampleJob",  # noqa: RUF001  # a Cyrillic letter
        "app.custom_jobs.\ud800",
        "os.system",
        Text("os.system"),
        Text("app.custom_jobs.ExampleJob"),
        b"app.custom_jobs.ExampleJob",
        None,
        ["app.custom_jobs.ExampleJob"],
    ],
)
def test_a_name_that_only_resembles_an_approved_one_is_refused(name: object) -> None:
    with pytest.raises(NotApprovedError, match=r"not approved.*/srv/app/config/jobs\.yaml"):
        approval.approve(CONFIG, name, "execute")


@pytest.mark.parametrize(
    "method", ["", "exec", "e", "Execute", "execute ", "execute\n", "__init__", "rebuild", Text("execute"), None, 1]
)
def test_a_method_that_is_not_on_the_list_is_refused_and_the_list_is_told(method: object) -> None:
    with pytest.raises(
        NotApprovedError, match=r"Approved for app\.custom_jobs\.ExampleJob: clean_up, execute\. .*yaml"
    ):
        approval.approve(CONFIG, "app.custom_jobs.ExampleJob", method)


def test_the_methods_of_a_class_replace_those_of_the_file() -> None:
    with pytest.raises(NotApprovedError, match=r"Approved for app.custom_jobs.ReportJob: rebuild"):
        approval.approve(CONFIG, "app.custom_jobs.ReportJob", "execute")
    with pytest.raises(NotApprovedError, match=r"Approved for app.custom_jobs.IdleJob: none"):
        approval.approve(CONFIG, "app.custom_jobs.IdleJob", "execute")


def test_a_slip_is_answered_with_the_name_that_was_probably_meant() -> None:
    with pytest.raises(NotApprovedError) as of_class:
        approval.approve(CONFIG, "app.custom_jobs.ExampelJob", "execute")
    with pytest.raises(NotApprovedError) as of_method:
        approval.approve(CONFIG, "app.custom_jobs.ReportJob", "rebiuld")

    assert str(of_class.value) == (
        "'app.custom_jobs.ExampelJob' is not approved; did you mean 'app.custom_jobs.ExampleJob'? "
        "Approved classes stand in /srv/app/config/jobs.yaml"
    )
    assert "method 'rebiuld' is not approved; did you mean 'rebuild'?" in str(of_method.value)


def test_a_name_that_resembles_nothing_gets_no_advice_and_a_huge_one_costs_no_search() -> None:
    for name in ("x", "app.custom_jobs.ExampleJob" * 100_000):
        with pytest.raises(NotApprovedError) as refusal:
            approval.approve(CONFIG, name, "execute")

        assert "did you mean" not in str(refusal.value)
        assert len(str(refusal.value)) < 400


def test_a_refusal_stays_on_one_line_whatever_the_name_holds() -> None:
    with pytest.raises(NotApprovedError) as refusal:
        approval.approve(CONFIG, "a\nFAKE line\x1b[2J\u2028", "execute")

    assert str(refusal.value).isprintable()


def test_empty_lists_approve_nothing_and_say_so() -> None:
    with pytest.raises(NotApprovedError, match=r"'app.jobs.Job' is not approved: no class is"):
        approval.approve(NOTHING, "app.jobs.Job", "execute")


def test_a_dotted_name_is_taken_as_it_is_and_nothing_is_looked_up() -> None:
    assert approval.approved_name(CONFIG, "no.such.module.Job") == "no.such.module.Job"


def test_a_class_is_known_by_its_own_name() -> None:
    assert approval.approved_name(CONFIG, class_of("app.custom_jobs", "ExampleJob")) == "app.custom_jobs.ExampleJob"


def test_a_class_is_known_by_the_approved_name_that_leads_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    job_class = class_of("app.custom_jobs.example_job", "ExampleJob")
    module_of("app.custom_jobs", monkeypatch, ExampleJob=job_class)

    assert approval.approved_name(CONFIG, job_class) == "app.custom_jobs.ExampleJob"


def test_another_class_of_the_same_name_is_not_taken_for_the_approved_one(monkeypatch: pytest.MonkeyPatch) -> None:
    module_of("app.custom_jobs", monkeypatch, ExampleJob=class_of("app.custom_jobs.example_job", "ExampleJob"))
    impostor = class_of("app.other", "ExampleJob")

    name = approval.approved_name(CONFIG, impostor)

    assert name == "app.other.ExampleJob"
    with pytest.raises(NotApprovedError, match=r"did you mean 'app\.custom_jobs\.ExampleJob'"):
        approval.approve(CONFIG, name, "execute")


def test_a_module_that_makes_its_names_on_demand_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(name: str) -> object:
        raise AssertionError(name)

    module_of("app.custom_jobs", monkeypatch, __getattr__=explode)
    monkeypatch.setitem(sys.modules, "app.custom_jobs.other", None)  # as a failed import leaves it

    name = approval.approved_name(CONFIG, class_of("app.custom_jobs.example_job", "ExampleJob"))

    assert name == "app.custom_jobs.example_job.ExampleJob"


def test_a_class_that_stands_in_a_function_cannot_be_approved() -> None:
    class ExampleJob:
        pass

    name = approval.approved_name(CONFIG, ExampleJob)

    with pytest.raises(NotApprovedError, match="<locals>"):
        approval.approve(CONFIG, name, "execute")


@pytest.mark.parametrize("module", ["__main__", "__mp_main__"])
def test_a_class_of_the_started_script_is_refused_with_the_reason(module: str) -> None:
    for job_class in (class_of(module, "ExampleJob"), f"{module}.ExampleJob"):
        with pytest.raises(InvalidJobError, match=r"the script that was started.*module of its own"):
            approval.approved_name(CONFIG, job_class)


@pytest.mark.parametrize(
    "job_class", [None, 1, b"app.custom_jobs.ExampleJob", object(), Text("app.jobs.Job"), len, sys]
)
def test_what_is_neither_class_nor_name_is_refused_by_its_type(job_class: object) -> None:
    with pytest.raises(
        InvalidJobError, match=rf"job_class must be a class or its dotted name.*{type(job_class).__name__}"
    ):
        approval.approved_name(CONFIG, job_class)


def test_every_refusal_is_an_error_of_ours() -> None:
    assert issubclass(NotApprovedError, BgjobError)
    assert issubclass(InvalidJobError, BgjobError)
