"""The completion files and the man page that a wheel brings: real shells complete, and man renders the page."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bgjob.cli.main import COMMANDS, RUN
from bgjob.cli.tree import whole_parser
from hatch_build import PLACES, made
from tests.conftest import CODE
from tests.test_cron import give_up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = {*COMMANDS, RUN}


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files, as they lie below an environment or /usr/local."""
    folder = tmp_path_factory.mktemp("prefix")
    for place, text in made().items():
        (folder / place).parent.mkdir(parents=True)
        (folder / place).write_text(text)
    return folder


def program(name: str, package: str = "") -> str:
    found = shutil.which(name)
    if found is None:
        give_up(f"{name} is not installed (Debian and Ubuntu: apt install {package or name})")
    return str(found)


def output(*command: str | Path, **environment: str) -> str:
    env = {**os.environ, **environment}
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=env)
    assert done.stderr == ""
    return done.stdout


def test_the_tree_has_every_command_with_the_options_that_it_takes_itself() -> None:
    [commands] = [action for action in whole_parser()._actions if isinstance(action.choices, dict)]
    assert isinstance(commands.choices, dict)

    assert set(commands.choices) == NAMES
    for name in ("list", "prune", RUN):
        told = output(sys.executable, "-m", "bgjob", name, "--help", PYTHONPATH=str(CODE))
        options = {word for action in commands.choices[name]._actions for word in action.option_strings}
        assert set(re.findall(r"(?<![\w-])--[a-z-]+", told)) <= options | {"--systemd", "--loop"}


IN_BASH = """
. "$1"; shift
complete -p bgjob > /dev/null
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function=$(complete -p bgjob | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
"$function"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["bgjob", "st"], {"status"}),
        (["bgjob", ""], NAMES),
        (["bgjob", "requeue", "--st"], {"--status"}),
        (["bgjob", "list", "--status", "c"], {"completed", "cancelled"}),
        (["bgjob", "run", "--dry"], {"--dry-run"}),
    ],
)
def test_bash_knows_commands_options_and_their_values(share: Path, typed: list[str], meant: set[str]) -> None:
    bash = program("bash")

    told = output(bash, "--norc", "-c", IN_BASH, "bash", share / PLACES["bash"], *typed)

    assert set(told.split()) == meant


@contextlib.contextmanager
def at_the_keys(*shell: str, **environment: str) -> Iterator[int]:
    """Start a shell that a person sits at; give the terminal."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "dumb", "PS1": "$ ", "INPUTRC": "/dev/null", **environment}
    running = subprocess.Popen(shell, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=env)
    os.close(theirs)
    try:
        yield ours
    finally:
        running.kill()
        running.wait()
        os.close(ours)


def test_a_person_at_bash_gets_the_command_by_the_tab_key(share: Path) -> None:
    with at_the_keys(program("bash"), "--norc", "--noprofile", "-i") as terminal:
        os.write(terminal, f". {share / PLACES['bash']}; echo re''ady\n".encode())
        read_until(terminal, b"\nready")
        os.write(terminal, b"echo x; bgjob wait\t--time\t")

        assert b"bgjob wait-idle --timeout " in read_until(terminal, b"--timeout ")


def test_a_person_at_zsh_gets_commands_options_and_their_values_by_the_tab_key(share: Path, tmp_path: Path) -> None:
    with at_the_keys(program("zsh"), "-f", "-i", HOME=str(tmp_path)) as terminal:
        folder = (share / PLACES["zsh"]).parent
        os.write(terminal, f"fpath=({folder} $fpath); autoload -Uz compinit && compinit -D -u; echo re''ady\n".encode())
        read_until(terminal, b"\nready")
        os.write(terminal, b"bgjob lis\t--sta\tpen\t")

        assert b"pending" in read_until(terminal, b"pending")


def read_until(terminal: int, sign: bytes) -> bytes:
    seen, until = b"", time.monotonic() + 30
    while sign not in seen:
        assert select.select([terminal], [], [], max(until - time.monotonic(), 0))[0], seen
        with contextlib.suppress(OSError):
            seen += os.read(terminal, 65_536)
    return seen


IN_ZSH = """
fpath=($1 $fpath)
autoload -Uz compinit && compinit -D -u
print ${_comps[bgjob]} && autoload +X ${_comps[bgjob]}
"""


def test_zsh_reads_the_file_and_takes_it_for_bgjob(share: Path) -> None:
    zsh, place = program("zsh"), share / PLACES["zsh"]
    output(zsh, "-f", "-n", place)

    told = output(zsh, "-f", "-c", IN_ZSH, "zsh", place.parent)

    assert told.strip() == "_bgjob"
    assert {name for name in NAMES if re.search(rf"^ *{name}:'", place.read_text(), re.MULTILINE)} == NAMES


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("bgjob ", NAMES),
        ("bgjob st", {"status"}),
        ("bgjob list --status c", {"completed", "cancelled"}),
        ("bgjob run --dry", {"--dry-run"}),
    ],
)
def test_fish_knows_commands_options_and_their_values(share: Path, tmp_path: Path, typed: str, meant: set[str]) -> None:
    fish, place = program("fish"), share / PLACES["fish"]
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    output(fish, "--no-execute", place, **home)

    told = output(fish, "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", place, typed, **home)

    assert {line.split("\t")[0] for line in told.splitlines()} == meant


def test_man_renders_the_page_without_a_warning(share: Path) -> None:
    man = program("man", "man-db")

    page = output(man, "--warnings", "-l", share / PLACES["man"], MANWIDTH="80", MANPAGER="cat", LC_ALL="C.UTF-8")

    assert "bgjob - look at a queue of background jobs" in page
    for name in NAMES:
        assert re.search(rf"COMMAND.*bgjob {name}\W", page), name
    assert "EXIT STATUS" in page


def test_the_files_are_the_same_each_time() -> None:
    assert made() == made()
