"""The command `bgjob`: which module does what, the options that all share, and how errors reach a person."""

from __future__ import annotations

import argparse
import os
import sys

from bgjob import version
from bgjob.cli import exits, page
from bgjob.cli.colours import RED, painted
from bgjob.cli.parser import Parser
from bgjob.console import shown
from bgjob.errors import BgjobError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import NoReturn


def _init() -> ModuleType:
    from bgjob.cli import init

    return init


def _install_cron() -> ModuleType:
    from bgjob.cli import install_cron

    return install_cron


def _uninstall_cron() -> ModuleType:
    from bgjob.cli import uninstall_cron

    return uninstall_cron


def _status() -> ModuleType:
    from bgjob.cli import status

    return status


def _list() -> ModuleType:
    from bgjob.cli import listing

    return listing


def _show() -> ModuleType:
    from bgjob.cli import show

    return show


def _check() -> ModuleType:
    from bgjob.cli import check

    return check


def _doctor() -> ModuleType:
    from bgjob.cli import doctor

    return doctor


def _queue() -> ModuleType:
    from bgjob.cli import queue

    return queue


def _requeue() -> ModuleType:
    from bgjob.cli import requeue

    return requeue


def _cancel() -> ModuleType:
    from bgjob.cli import cancel

    return cancel


def _delete() -> ModuleType:
    from bgjob.cli import delete

    return delete


def _prune() -> ModuleType:
    from bgjob.cli import prune

    return prune


def _pause() -> ModuleType:
    from bgjob.cli import pause

    return pause


def _resume() -> ModuleType:
    from bgjob.cli import resume

    return resume


def _metrics() -> ModuleType:
    from bgjob.cli import metrics

    return metrics


def _dashboard() -> ModuleType:
    from bgjob.cli import dashboard

    return dashboard


def _report() -> ModuleType:
    from bgjob.cli import report

    return report


def _wait_idle() -> ModuleType:
    from bgjob.cli import wait_idle

    return wait_idle


# What imports a command's module, done only when it is asked for, and what its help says. Each module has
# `add_arguments(parser)`, and `run(arguments, config)` that returns the exit code; `arguments.command` is the name.
COMMANDS: dict[str, tuple[Callable[[], ModuleType], str]] = {
    "init": (_init, "make a config, a runner and an example job, if missing"),
    "install-cron": (_install_cron, "let cron start a tick each minute, and see the first one come"),
    "uninstall-cron": (_uninstall_cron, "take the line out of the crontab that install-cron put there"),
    "status": (_status, "tell how the queue stands, and when it will be done"),
    "list": (_list, "list the jobs that match, the newest first"),
    "show": (_show, "show everything of one job, and why it is not running yet"),
    "check": (_check, "validate the config and look for all approved classes"),
    "doctor": (_doctor, "look for what is wrong around the queue, and what mends it"),
    "queue": (_queue, "queue a job, or many of them from a file of JSON lines"),
    "requeue": (_requeue, "make failed or cancelled jobs pending again, due at once"),
    "retry": (_requeue, "the same as requeue"),
    "cancel": (_cancel, "take pending jobs back, so that they do not run"),
    "delete": (_delete, "remove jobs with their attempts, whatever became of them"),
    "prune": (_prune, "remove finished jobs that are older than `keep` says"),
    "pause": (_pause, "let no job start until resume; what is being run goes on"),
    "resume": (_resume, "let jobs start again"),
    "wait-idle": (_wait_idle, "wait until no job is being run"),
    "dashboard": (_dashboard, "serve the queue as web pages, for this machine"),
    "report": (_report, "write the overview as one HTML file"),
    "metrics": (_metrics, "print the figures of the queue for Prometheus"),
}
# These have `run(arguments)`: they need no config, so it may be missing or wrong.
_WITHOUT_CONFIG = {"init", "uninstall-cron"}
RUN = "run"  # its options are those of background_runner.py and go there as they are
RUN_TOLD = "run what is due: background_runner.py, with its options"
DESCRIPTION = "Look at the queue and steer it by hand."


def program() -> NoReturn:
    """Be the program `bgjob`: do what the command line asks for, and end the process."""
    code = main()
    place = _place_of_command(sys.argv[1:])
    if place is not None and sys.argv[1:][place] == RUN:
        sys.exit(code)  # with --in-process a job may have left something to do at the exit
    sys.stdout.flush()
    sys.stderr.flush()
    # All is closed and written. To tidy up the interpreter takes 8 ms, an eighth of a plain command.
    os._exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line (by default this process's own) asks for; return the exit code."""
    _open_standard_streams()
    page.prepare()
    typed = sys.argv[1:] if arguments is None else arguments
    try:
        code = _dispatch(typed)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_standard_output()  # whoever read along, such as `head`, has seen enough
        return exits.FINE
    except BgjobError as error:
        _warn(str(error))
        return exits.exit_code(error)
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except OSError as error:
        _forget_standard_output()
        what = f"{error.filename} can't be used" if error.filename else "the output can't be written"
        _warn(f"{what}: {error.strerror or error}")
        return exits.STORE_UNUSABLE
    except Exception:  # noqa: BLE001  # the outermost edge: a bug of ours must read as one
        import traceback

        _warn(f"this is a bug in bgjob, please report it:\n{traceback.format_exc()}")
        return exits.OUR_BUG
    return code


def _dispatch(typed: list[str]) -> int:
    place = _place_of_command(typed)
    if place is None:
        _show_help(typed)
    name, rest = typed[place], typed[:place] + typed[place + 1 :]
    if name == RUN:
        return _run(rest)
    if name not in COMMANDS:
        raise exits.WrongUsageError(_unknown(name))
    find_module, told = COMMANDS[name]
    module = find_module()
    parser = Parser(prog=f"bgjob {name}", description=sentence(told), allow_abbrev=False)
    module.add_arguments(parser)
    add_common(parser)
    parser.set_defaults(command=name)
    options = parser.parse_args(rest)
    if options.config == "":
        parser.error("--config is empty (an unset variable?); name the file, or leave the option out")
    code: int
    if name in _WITHOUT_CONFIG:
        code = module.run(options)
        return code
    from bgjob.config import find_config, read_config

    code = module.run(options, read_config(find_config(options.config)))
    return code


def _place_of_command(typed: list[str]) -> int | None:
    """Return where the command stands: --config PATH and --json may come before it."""
    is_value = False
    for place, word in enumerate(typed):
        if not (is_value or word.startswith("-")):
            return place
        is_value = word == "--config" and not is_value
    return None


def _run(rest: list[str]) -> int:
    from bgjob.cli.run import main as run
    from bgjob.config import find_config

    is_named = any(word == "--config" or word.startswith("--config=") for word in rest)
    return run(rest, config_path="" if is_named else find_config(), script="")


def _show_help(typed: list[str]) -> NoReturn:
    names = [*COMMANDS, RUN]
    width = max(map(len, names)) + 2
    lines = [f"  {name:{width}}{told}" for name, (_, told) in COMMANDS.items()]
    lines.append(f"  {RUN:{width}}{RUN_TOLD}")
    parser = Parser(
        prog="bgjob",
        usage="bgjob [--config PATH] [--json] COMMAND ...",
        description=DESCRIPTION,
        epilog="commands (bgjob COMMAND --help tells more):\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_common(parser)
    parser.add_argument("--version", action="version", version=f"bgjob {version.__version__}")
    parser.parse_args(typed)
    parser.error(f"name a command: {', '.join(names)}")


def add_common(parser: argparse.ArgumentParser) -> None:
    """Take what all commands take."""
    parser.add_argument(
        "--config",
        metavar="PATH",
        help="the config (default: $BGJOB_CONFIG, or the nearest config/jobs.yaml here or above)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def sentence(text: str) -> str:
    """Return what the help says of a command as a sentence."""
    return f"{text[0].upper()}{text[1:]}."


def _unknown(name: str) -> str:
    import difflib

    names = [*COMMANDS, RUN]
    close = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"there is no command {name!r}{hint} The commands: {', '.join(names)}"


def _warn(text: str) -> None:
    for line in text.splitlines():
        told = page.fitted(f"{_NAME} {shown(line)}", stream=2)
        sys.stderr.write(painted(_NAME, RED, stream=2) + told.removeprefix(_NAME) + "\n")


_NAME = "bgjob:"


def _open_standard_streams() -> None:
    """Put /dev/null where a standard descriptor is closed, or the database would get its number."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004  # standard error
        pass
    os.close(opened)


def _forget_standard_output() -> None:
    """Send what is still buffered nowhere, so that Python's own flush at exit has nothing to complain of."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
