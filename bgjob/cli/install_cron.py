"""`bgjob install-cron`: the crontab line (or systemd's units), and the proof that ticks come."""

from __future__ import annotations

import os
import sys

from bgjob import clock
from bgjob.cli import crontab, first_tick, page
from bgjob.cli.exits import FINE, NoMatchError
from bgjob.cli.tick_command import owner, tick_command, user_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import datetime as dt

    from bgjob.cli.tick_command import TickCommand
    from bgjob.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take what is to be installed, and whether to wait for the proof."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="print the lines, and change nothing")
    how.add_argument("--no-wait", action="store_true", help="don't wait for the first tick")
    how.add_argument(
        "--systemd",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="print a systemd timer and its service instead, or write them into a folder",
    )


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Install the line and wait for its first tick; NoMatchError when none comes."""
    command = tick_command(config.path)
    if arguments.systemd is not None:
        from bgjob.cli import systemd

        systemd.install(command, config, folder=arguments.systemd, as_json=arguments.json)
        return FINE
    lines = crontab.block(command)
    if arguments.dry_run:
        if arguments.json:
            page.document(_document(command, lines, changed=None, seconds=None))
        else:
            page.lines(os.fsdecode(lines))
        return FINE
    installed = clock.now()
    changed = _install(command, lines)
    user = user_name(os.getuid())
    if not arguments.json:
        page.say(f"{'installed in' if changed else 'it stands already in'} the crontab of {user}:")
        page.lines(os.fsdecode(lines))
        sys.stdout.flush()
    if whose := owner(command, config):
        page.remark(f"warning: the jobs will run as {user}, but the project's files are {whose}'s; install it as him")
    seconds = None if arguments.no_wait else _wait(config, installed)
    if arguments.json:
        page.document(_document(command, lines, changed=changed, seconds=seconds))
    if arguments.no_wait:
        return FINE
    if seconds is None:
        raise NoMatchError(_no_tick(crontab.shell_text(command), user))
    if not arguments.json:
        page.say(f"the first tick came after {seconds:.0f} s, as user {user} with {command.python}")
    return FINE


def _install(command: TickCommand, lines: bytes) -> bool:
    """Write the block where it is not there yet; return whether anything changed."""
    before = crontab.read()
    after = crontab.with_block(before, command.name, lines)
    for line in crontab.other_lines(after, command):
        page.remark(f"warning: another line starts the same project's ticks; one is enough (crontab -e): {line}")
    if after != before:
        crontab.write(after)
    return after != before


def _wait(config: Config, installed: dt.datetime) -> float | None:
    if first_tick.is_cron_running() is False:
        page.remark(f"warning: {first_tick.NO_CRON}")
    try:
        return first_tick.wait_for_first_tick(config.database, installed)
    except KeyboardInterrupt:
        page.remark("waited no longer; the line stays in the crontab (bgjob uninstall-cron takes it out)")
        raise


def _no_tick(shell_text: str, user: str) -> str:
    first, *more = first_tick.what_to_look_at(shell_text, user)
    return "\n".join(
        [f"no tick came within {first_tick.LONGEST:g} s. The line stays in the crontab. Look at:", first, *more]
    )


def _document(command: TickCommand, lines: bytes, *, changed: bool | None, seconds: float | None) -> dict[str, object]:
    return {
        "command": "install-cron",
        "lines": os.fsdecode(lines).splitlines(),
        "user": user_name(os.getuid()),
        "python": command.python,
        "changed": changed,
        "first_tick_after": seconds,
    }
