"""A backend for Django's tasks: `django.tasks` of Django 6, or the package django-tasks with an older Django.

Only tasks that `approved_tasks` in its OPTIONS names are queued and run; config/jobs.yaml approves TaskJob, below.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections, connections
from django.utils import timezone
from django.utils.module_loading import import_string

import bgjob
from bgjob.errors import BgjobError, GiveUp, JobTimeout, NotApprovedError, RetryLater

if django.VERSION >= (6,):
    from django.tasks import TaskContext, TaskResult, TaskResultStatus, base, signals, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.exceptions import TaskResultDoesNotExist
else:
    from django_tasks import TaskContext, TaskResult, TaskResultStatus, base, signals, task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.exceptions import TaskResultDoesNotExist

if TYPE_CHECKING:
    import datetime as dt


class Backend(BaseTaskBackend):  # type: ignore[misc]  # Django brings no types
    """Queues tasks as jobs of the class TaskJob, and looks them up; what a task returns is not kept."""

    supports_defer = supports_async_task = supports_get_result = supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        """Read OPTIONS: `approved_tasks`, dotted names, and `database`, the one in whose transactions to queue."""
        super().__init__(alias, params)
        options = dict(self.options)
        self._approved, self._database = options.pop("approved_tasks", ()), options.pop("database", None)
        if options or not isinstance(self._approved, (list, tuple, set, frozenset)):
            raise ImproperlyConfigured(
                f"OPTIONS of TASKS[{alias!r}] may have approved_tasks, a list of dotted names, and database, a name in "
                f"DATABASES; it is {self.options!r}"
            )

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401  # Django brings no types
        """Queue a task and return its result, whose id is that of the job; raises bgjob's errors."""
        self.validate_task(task)
        self.task(task.module_path)
        at = task.run_after
        queue = bgjob.queue_job.with_options(
            priority=task.priority,
            at=timezone.make_aware(at) if at and timezone.is_naive(at) else at,
            connection=connections[self._database] if self._database else None,
        )
        call = {"task": task.module_path, "args": base.normalize_json(args), "kwargs": base.normalize_json(kwargs)}
        job = queue(TaskJob.execute, **call, backend=self.alias, queue_name=task.queue_name)
        result = self._result(task, job)
        signals.task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:  # noqa: ANN401  # as above
        """Return what became of a task, in any process; TaskResultDoesNotExist once its job was pruned."""
        job = bgjob.get_job(int(result_id)) if re.fullmatch(r"[0-9]{1,18}", str(result_id)) else None
        if job is None or job.job_class != _TASK_JOB:
            raise TaskResultDoesNotExist(result_id)
        if not isinstance(job.params, dict) or not job.params.keys() >= _PARAMS or job.params["backend"] != self.alias:
            raise TaskResultDoesNotExist(result_id)  # written by another program, or another backend's
        options = {"queue_name": job.params["queue_name"], "run_after": _time(job.available_at), "backend": self.alias}
        return self._result(self.task(job.params["task"]).using(priority=job.priority, **options), job)

    def task(self, name: str) -> Any:  # noqa: ANN401  # as above
        """Return an approved task by its dotted name; raises NotApprovedError before anything is imported."""
        if name not in self._approved:
            where = f"OPTIONS['approved_tasks'] of TASKS[{self.alias!r}] in Django's settings"
            raise NotApprovedError(f"task {name!a} is not approved. Approved tasks stand in {where}")
        task = import_string(name)
        if not isinstance(task, base.Task):
            raise NotApprovedError(f"{name} is no task but {type(task).__name__}; the decorator @task makes one")
        return task

    def _result(self, task: Any, job: bgjob.Job) -> Any:  # noqa: ANN401  # as above
        begun = job.retry_count + (job.status in ("processing", "completed", "failed"))
        failed = [it for it in job.attempts if it.outcome != "succeeded" and it.verdict != "postponed"] if begun else []
        errors = [base.TaskError(exception_class_path=_class_of(one), traceback=one.traceback or "") for one in failed]
        times = {"started_at": _time(job.started_at), "last_attempted_at": _time(job.started_at)}
        return TaskResult(
            task=task, id=str(job.id), status=_STATUSES[job.status], enqueued_at=_time(job.created_at), **times,
            finished_at=_time(job.finished_at), args=job.params["args"], kwargs=job.params["kwargs"],
            backend=self.alias, errors=errors, worker_ids=["bgjob"] * begun,
        )  # fmt: skip


class TaskJob:
    """Runs one task; the class that config/jobs.yaml approves."""

    def execute(self, task: str, args: list[Any], kwargs: dict[str, Any], backend: str, queue_name: str) -> None:  # noqa: ARG002  # it belongs to the result
        """Call an approved task, and tell Django's signals of it: `task_finished` once no attempt is left."""
        chosen, job = task_backends[backend], bgjob.current_job()
        assert job  # noqa: S101  # this is one
        try:
            found, result = chosen.task(task), chosen.get_result(str(job.id))
        except NotApprovedError as error:
            raise GiveUp(str(error)) from None
        close_old_connections()
        signals.task_started.send(type(chosen), task_result=result)
        try:
            found.call(*([TaskContext(task_result=result)] if found.takes_context else []), *args, **kwargs)
        except BaseException as error:
            if isinstance(error, GiveUp) or (job.is_last_attempt and not isinstance(error, RetryLater)):
                _finish(chosen, result, TaskResultStatus.FAILED)
            raise
        finally:
            close_old_connections()
        _finish(chosen, result, TaskResultStatus.SUCCESSFUL)


_PARAMS = {"task", "args", "kwargs", "backend", "queue_name"}
_TASK_JOB = f"{TaskJob.__module__}.{TaskJob.__qualname__}"
_STATUSES = {
    "pending": TaskResultStatus.READY,
    "processing": TaskResultStatus.RUNNING,
    "completed": TaskResultStatus.SUCCESSFUL,
    "failed": TaskResultStatus.FAILED,
    "cancelled": TaskResultStatus.FAILED,
}


def _finish(backend: Backend, result: Any, status: Any) -> None:  # noqa: ANN401  # as above
    object.__setattr__(result, "status", status)  # frozen, and set so by Django's own backends, too
    object.__setattr__(result, "finished_at", timezone.now())
    signals.task_finished.send(type(backend), task_result=result)


def _time(instant: dt.datetime | None) -> dt.datetime | None:
    return timezone.make_naive(instant) if instant and not settings.USE_TZ else instant


def _class_of(attempt: bgjob.Attempt) -> str:
    """Return the dotted name of the exception, with which the error of an attempt begins."""
    kind = GiveUp if attempt.verdict == "gave up" else JobTimeout if attempt.outcome == "timed out" else BgjobError
    named = re.match(r"[\w.]+(?=:|$)", attempt.error or "") if attempt.outcome == "raised" else None
    if named and kind is not GiveUp:  # of which the reason alone is kept
        return named[0] if "." in named[0] else f"builtins.{named[0]}"
    return f"{kind.__module__}.{kind.__qualname__}"
