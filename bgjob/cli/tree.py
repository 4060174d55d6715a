"""The whole command line as one parser, of which completion files and the man page are made when the wheel is built.

`bgjob` itself never makes it, for each command imports only what it needs.
"""

from __future__ import annotations

import argparse

from bgjob import version
from bgjob.cli import arguments
from bgjob.cli.main import COMMANDS, DESCRIPTION, RUN, RUN_TOLD, add_common, sentence


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser of `bgjob` with all commands below it."""
    parser = argparse.ArgumentParser(prog="bgjob", description=DESCRIPTION, allow_abbrev=False)
    add_common(parser)
    parser.add_argument("--version", action="version", version=f"bgjob {version.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name, (find_module, told) in COMMANDS.items():
        command = commands.add_parser(name, help=told, description=sentence(told), allow_abbrev=False)
        find_module().add_arguments(command)
        add_common(command)
    run = commands.add_parser(RUN, help=RUN_TOLD, description=arguments.DESCRIPTION, allow_abbrev=False)
    arguments.add_arguments(run)
    return parser
