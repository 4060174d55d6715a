"""The options of `background_runner.py`, and its --help."""

from __future__ import annotations

import argparse

from bgjob import version
from bgjob.cli.kinds import job_id, span
from bgjob.config import SCRIPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgjob.cli.run import Options

DESCRIPTION = "Run all due background jobs by priority, then exit; cron starts it each minute."

_EXIT_CODES = """\
exit codes:
  0        done; nothing was due; another runner is at work; or stopped by a
           signal with every job finished or handed back
  1        with --exit-code: a job failed for good; with --job: no such job,
           or it is not pending
  2        wrong usage
  69       the database or the lock can't be used
  70       a bug in bgjob
  78       the config is wrong, or `boot` can't be imported; with --check also:
           a class or method can't be found
  130/143  stopped by SIGINT/SIGTERM at its start, or forced by a second one

On a terminal a tick tells what it does; anywhere else it is silent unless a
person must act, so cron mails only that.
"""


def parse(arguments: list[str], options: Options, *, program: str = SCRIPT) -> None:
    """Fill `options` from the command line; argparse ends the process with 2 on wrong usage, 0 after --help."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    parser.parse_args(arguments, namespace=options)
    if options.config == "":
        parser.error("--config is empty (an unset variable?); name the file, or leave the option out")
    if options.at is not None and not options.dry_run:
        parser.error("--at goes with --dry-run")
    if options.in_process and (options.check or options.dry_run or options.loop):
        parser.error("--in-process goes with a plain tick or with --job")
    if options.exit_code and (options.check or options.dry_run or options.loop):
        parser.error("--exit-code goes with a plain tick or with --job")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take what a tick can be asked for."""
    place = (
        "config/jobs.yaml beside this script" if parser.prog == SCRIPT else "the nearest config/jobs.yaml here or above"
    )
    parser.add_argument("--config", metavar="PATH", help=f"the config (default: $BGJOB_CONFIG, or {place})")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--check",
        action="store_true",
        help="validate the config and look for every approved class and method; run nothing",
    )
    what.add_argument(
        "--dry-run",
        action="store_true",
        help="show what would run, in order, and why the other jobs would not; run nothing",
    )
    what.add_argument("--job", type=job_id, metavar="ID", help="run this pending job now, without waiting for its time")
    what.add_argument(
        "--loop",
        action="store_true",
        help="be cron: start a tick at once and each minute, in the foreground, until stopped",
    )
    parser.add_argument(
        "--at", metavar="TIME", help="with --dry-run: what would run at that time (ISO 8601 or a plain date)"
    )
    parser.add_argument(
        "--in-process",
        action="store_true",
        help="run the jobs in the runner's own process, for breakpoint() and debuggers; a crash then ends the runner",
    )
    parser.add_argument(
        "--workers", type=_workers, metavar="N", help="run so many jobs at once (default: `workers` of the config)"
    )
    parser.add_argument(
        "--linger",
        type=span,
        metavar="TIME",
        help="stay so long after the drain and pick new jobs up at once, such as 75s (default: `linger` of the config)",
    )
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="tell about each job, and let the jobs' output through instead of keeping it",
    )
    loudness.add_argument(
        "-q", "--quiet", action="store_true", help="say nothing, even on a terminal, unless a person must act"
    )
    loudness.add_argument("--tell", action="store_true", help=argparse.SUPPRESS)  # what --loop passes on
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 if a job failed for good")
    parser.add_argument("--version", action="version", version=f"bgjob {version.__version__}")


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):  # noqa: PLR2004  # as in the config
        message = f"{text!r} is no number of workers; 1 to 1000"
        raise argparse.ArgumentTypeError(message)
    return int(text)
