"""`bgjob install-cron`: the crontab line (or systemd's units), and the proof that ticks come."""

from __future__ import annotations

import os
import sys

from bgjob import clock, users
from bgjob.cli import crontab, first_tick, page
from bgjob.cli.exits import FINE, NoMatchError
from bgjob.cli.tick_command import owner, tick_command
from bgjob.views import signs

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
    elif arguments.dry_run and arguments.json:
        page.document(_document(command, changed=None, seconds=None))
    elif arguments.dry_run:
        page.lines(os.fsdecode(crontab.block(command)))
    else:
        _install_and_prove(command, config, as_json=arguments.json, wait=not arguments.no_wait)
    return FINE


def _install_and_prove(command: TickCommand, config: Config, *, as_json: bool, wait: bool) -> None:
    installed_at = clock.now()
    with crontab.alone():
        changed = _install(command)
    user = users.name_of(os.getuid())
    if not as_json:
        page.say(f"{'installed in' if changed else 'it stands already in'} the crontab of {user}:")
        page.lines(os.fsdecode(crontab.block(command)))
        sys.stdout.flush()
    if whose := owner(command, config):
        page.remark(
            f"warning: the jobs will run as {user}, but the project's files are {whose}'s; install it as {whose}"
        )
    seconds = _wait(config, installed_at) if wait else None
    if as_json:
        page.document(_document(command, changed=changed, seconds=seconds))
    if wait and seconds is None:
        raise NoMatchError(_no_tick(crontab.shell_text(command), user))
    if wait and not as_json:
        page.say(f"the first tick came after {seconds:.0f} s, as user {user} with {command.python}")


def _install(command: TickCommand) -> bool:
    """Write the block where it is not there yet; return whether anything changed."""
    before = crontab.read()
    after = crontab.with_block(before, command.name, crontab.block(command))
    for line in crontab.other_lines(after, command):
        page.remark(f"warning: another line starts the same project's ticks; one is enough (crontab -e): {line}")
    if after != before:
        crontab.write(after)
    return after != before


def _wait(config: Config, installed_at: dt.datetime) -> float | None:
    if signs.is_cron_running() is False:
        page.remark(f"warning: {first_tick.NO_CRON}")
    try:
        return first_tick.wait_for_first_tick(config.database, installed_at)
    except KeyboardInterrupt:
        page.remark("waited no longer; the line stays in the crontab (bgjob uninstall-cron takes it out)")
        raise


def _no_tick(shell_text: str, user: str) -> str:
    head = f"no tick came within {first_tick.LONGEST:g} s. The line stays in the crontab. Look at:"
    return "\n".join([head, *first_tick.what_to_look_at(shell_text, user)])


def _document(command: TickCommand, *, changed: bool | None, seconds: float | None) -> dict[str, object]:
    return {
        "command": "install-cron",
        "lines": os.fsdecode(crontab.block(command)).splitlines(),
        "user": users.name_of(os.getuid()),
        "python": command.python,
        "changed": changed,
        "first_tick_after": seconds,
    }
