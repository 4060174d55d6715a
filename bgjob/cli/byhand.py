"""What `requeue`, `cancel` and `delete` share: which jobs are meant, the question before many, and what is told."""

from __future__ import annotations

from bgjob import clock
from bgjob.cli import journal, page
from bgjob.cli.bar import Bar
from bgjob.cli.consent import MANY, ask
from bgjob.cli.exits import FINE, NO_MATCH, NoMatchError, WrongUsageError
from bgjob.cli.kinds import job_id, text
from bgjob.console import counted
from bgjob.job import PROCESSING
from bgjob.moments import read_past
from bgjob.store import reading
from bgjob.store.byhand import AT_ONCE, ByHand, Wanted
from bgjob.store.connection import Database

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from bgjob.config import Config
    from bgjob.job import Seen
    from bgjob.steering import Verb


def add_arguments(parser: argparse.ArgumentParser, verb: Verb) -> None:
    """Let ids or filters say which jobs are meant."""
    parser.add_argument("ids", nargs="*", type=job_id, metavar="ID", help="these jobs")
    usual = _listed(verb.unless_told, "and")
    parser.add_argument("--all", action="store_true", help=f"every {_listed(verb.unless_told, 'or')} job")
    parser.add_argument("--class", dest="job_class", type=text, metavar="CLASS", help="those of this class")
    parser.add_argument("--method", type=text, metavar="METHOD", help="those of this method")
    parser.add_argument(
        "--error", type=text, metavar="TEXT", help="those whose error contains this text, such as ConnectionError"
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        help="those last changed then or later: a time, or a span such as 2h for two hours ago",
    )
    if verb.leaves[1:]:
        parser.add_argument(
            "--status", choices=verb.leaves, help=f"with --all or a filter: those of this status, not {usual}"
        )
    else:
        parser.set_defaults(status=None)
    parser.add_argument("--dry-run", action="store_true", help="say how many jobs it would be; change nothing")
    parser.add_argument("--yes", action="store_true", help=f"don't ask before touching more than {MANY} jobs")


def run(verb: Verb, arguments: argparse.Namespace, config: Config) -> int:
    """Do what is asked to the jobs that are meant; return the exit code.

    Raises WrongUsageError where ids and filters contradict or nobody can be asked, NoMatchError where no job is meant.
    """
    wanted = _wanted(verb, arguments)
    if not reading.exists(config.database):
        raise NoMatchError(f"no job was ever queued: there is no database yet ({config.database})")
    database = Database(config.database, durability="full", read_only=arguments.dry_run)
    try:
        errand = _Errand(verb, arguments, config, ByHand(database))
        if wanted is None:
            errand.on_ids(list(dict.fromkeys(arguments.ids)))
        else:
            errand.on_all_that_match(wanted)
    finally:
        database.close()
    errand.report()
    return errand.exit_code()


def _wanted(verb: Verb, arguments: argparse.Namespace) -> Wanted | None:
    """Return the filters, or None where ids are given."""
    filters = (arguments.job_class, arguments.method, arguments.error, arguments.since)
    is_filtered = any(value is not None for value in filters)
    if arguments.ids and (is_filtered or arguments.all or arguments.status):
        raise WrongUsageError(f"name ids or filters, not both: bgjob {verb.name} --help")
    if arguments.all and is_filtered:
        raise WrongUsageError("--all means every job, so no filter goes with it; leave one of them out")
    if arguments.ids:
        return None
    if not (arguments.all or is_filtered or arguments.status):
        raise WrongUsageError(f"which jobs? Name ids, a filter such as --class, or --all: bgjob {verb.name} --help")
    if "" in filters:
        raise WrongUsageError("a filter is empty (an unset variable?); give it a text, or leave it out")
    return Wanted(
        statuses=(arguments.status,) if arguments.status else verb.unless_told,
        job_class=arguments.job_class,
        method=arguments.method,
        error=arguments.error,
        since=read_past(arguments.since, clock.now(), option="--since") if arguments.since else None,
    )


class _Errand:
    """One call of one verb: what it did, and what it had to leave alone."""

    def __init__(self, verb: Verb, arguments: argparse.Namespace, config: Config, store: ByHand) -> None:
        self._verb = verb
        self._arguments = arguments
        self._config = config
        self._store = store
        self._is_on_ids = False
        self._done = 0
        self._only: Seen | None = None
        self._unknown: list[int] = []
        self._left: list[Seen] = []
        self._processing = 0
        self._changed_meanwhile = 0

    def on_ids(self, ids: list[int]) -> None:
        """Do it to the jobs with these ids; remember which are not there, or not in a status for it."""
        self._is_on_ids = True
        found = [(job_id, self._store.find(job_id)) for job_id in ids]
        self._unknown = [job_id for job_id, job in found if job is None]
        jobs = [job for _, job in found if job is not None and job.status in self._verb.leaves]
        self._left = [job for _, job in found if job is not None and job.status not in self._verb.leaves]
        if len(jobs) == 1:
            self._only = jobs[0]
        self._do(len(jobs), (jobs[start : start + AT_ONCE] for start in range(0, len(jobs), AT_ONCE)))

    def on_all_that_match(self, wanted: Wanted) -> None:
        """Do it to all jobs that are as wanted; those that are processing are counted and left alone."""
        counted_at = clock.now()
        found = self._store.count(wanted)
        if self._verb.tells_processing and not self._arguments.status:
            self._processing = self._store.count(wanted._replace(statuses=(PROCESSING,))).jobs
        if not found.jobs:
            self._tell_left()
            raise NoMatchError(f"no {_listed(wanted.statuses, 'or')} job {_described(wanted)}".rstrip())
        if self._must_ask(found.jobs):
            # Who is asked is told so many jobs; what comes to match before the answer was not meant.
            wanted = wanted._replace(as_of=counted_at)
        self._do(found.jobs, self._store.matching(wanted, upto=found.last))

    def _must_ask(self, count: int) -> bool:
        return count > MANY and not (self._arguments.yes or self._arguments.dry_run)

    def _do(self, count: int, batches: Iterable[Sequence[Seen]]) -> None:
        if self._arguments.dry_run:
            self._done = count
            return
        if self._must_ask(count):
            ask(f"{self._verb.name} {counted(count, 'job')}")
        with journal.opened(self._config) as logs:
            try:
                with Bar(self._verb.doing, count, wanted=not self._arguments.json) as bar:
                    for batch in batches:
                        now = clock.now()
                        done = self._verb.act(self._store, batch, now)
                        self._done += len(done)
                        self._changed_meanwhile += len(batch) - len(done)
                        for job in done:
                            self._verb.tell(logs, job, now)
                        bar.advance(len(batch))
            except KeyboardInterrupt:
                page.remark(f"bgjob: stopped: {self._verb.past} {self._done:,} of {counted(count, 'job')}")
                raise

    def report(self) -> None:
        """Say what was done, and on standard error what was not."""
        if self._arguments.json:
            page.document(
                {
                    "command": self._verb.name,
                    "dry_run": self._arguments.dry_run,
                    "jobs": self._done,
                    "unknown": self._unknown,
                    "left_alone": [{"id": job.id, "status": job.status} for job in self._left],
                    "processing": self._processing,
                    "changed_meanwhile": self._changed_meanwhile,
                }
            )
        elif self._done or not self._is_on_ids:
            verb = f"would {self._verb.name}" if self._arguments.dry_run else self._verb.past
            only = self._only
            named = f"job {only.id} {only.job_class}.{only.method}" if only else counted(self._done, "job")
            page.say(f"{verb} {named}")
        self._tell_left()

    def _tell_left(self) -> None:
        for unknown in self._unknown:
            page.remark(f"bgjob: there is no job {unknown} in {self._config.database}")
        takes = _listed(self._verb.leaves, "and")
        for job in self._left:
            why = "" if job.status == PROCESSING else f", and {self._verb.name} takes {takes} jobs"
            page.remark(f"bgjob: job {job.id} is {job.status}{why}; it was left alone")
        if self._processing:
            page.remark(f"bgjob: processing, and left alone: {counted(self._processing, 'job')}")
        if self._changed_meanwhile:
            page.remark(f"bgjob: changed meanwhile, and left alone: {counted(self._changed_meanwhile, 'job')}")

    def exit_code(self) -> int:
        """Return 1 where a job that was named was not there or left alone, else 0."""
        is_all_done = not (self._unknown or self._left or (self._is_on_ids and self._changed_meanwhile))
        return FINE if is_all_done and self._done else NO_MATCH


def _described(wanted: Wanted) -> str:
    words = [f"of class {wanted.job_class}"] if wanted.job_class is not None else []
    words += [f"of method {wanted.method}"] if wanted.method is not None else []
    words += [f"with {wanted.error!r} in its error"] if wanted.error is not None else []
    words += [f"changed since {clock.to_text(wanted.since)[:19]} UTC"] if wanted.since is not None else []
    return ", ".join(words) or "is there"


def _listed(words: Sequence[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if words[1:] else words[0]
