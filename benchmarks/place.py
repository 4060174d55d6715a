"""A folder of one system's own, and the processes that work in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIMIT, GRACE = 120.0, 10.0
LAUNCH = Path(__file__).with_name("launch.py")


class Failed(Exception):  # noqa: N818  # it says what a system did, not what we did wrong
    """A system did not do what was asked; the rest is measured without it."""


class Took(NamedTuple):
    """What a whole process took."""

    wall: float
    cpu: float
    memory: float
    """MiB, of the largest process in it."""
    code: int


class Running:
    """A program that was started through launch.py."""

    def __init__(self, launcher: subprocess.Popen[str], folder: Path) -> None:
        """Wait until it runs."""
        self._launcher = launcher
        self._folder = folder
        self._lines = cast("IO[str]", launcher.stdout)
        if not (line := self._lines.readline()):
            raise Failed("did not start")
        pid, start = line.split()
        self.pid = int(pid)
        self.start = float(start)

    def is_running(self) -> bool:
        """Return whether it has not ended."""
        return self._launcher.poll() is None

    def stop(self) -> None:
        """Ask it to end, by its number."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def give_up(self) -> None:
        """End it, by force if need be; nobody wants to know any more what it took."""
        self.stop()
        try:
            self._launcher.wait(GRACE)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, signal.SIGKILL)
            self._launcher.wait()

    def end(self, *, stopped: bool = False) -> Took:
        """Wait for its end and return what it took; unless it was `stopped`, an exit code other than 0 is a failure."""
        try:
            self._launcher.wait(LIMIT)
        except subprocess.TimeoutExpired as error:
            os.kill(self.pid, signal.SIGKILL)
            self._launcher.wait()
            raise Failed(f"did not end within {LIMIT:g} s") from error
        finally:
            line = self._lines.readline()
            self._lines.close()
        wall, cpu, memory, code = map(float, line.split())
        if code and not stopped:
            raise Failed(f"ended with {code:g}: {said_at_last(self._folder)}")
        return Took(wall, cpu, memory / 1024, int(code))


class Place:
    """The folder, in which one system's database lies."""

    def __init__(self, system: str, folder: Path) -> None:
        """Prepare the system there."""
        self.system = system
        self.folder = folder
        self._running: list[Running] = []
        # Bytecode files are used as on a server.
        kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        self.environment = {
            **kept,
            "BENCH_VARIANT": system.partition(":")[2],
            "PYTHONPATH": str(LAUNCH.parent.parent),  # this checkout, whichever is installed
            "PYTHONWARNINGS": "ignore",
        }
        self.operate("prepare")

    def operate(self, operation: str, *arguments: object) -> dict[str, Any]:
        """Do one operation (see operation.py) in a fresh process, and return what it says."""
        return finish(self.begin(operation, *arguments))

    def begin(self, operation: str, *arguments: object) -> subprocess.Popen[str]:
        """Start an operation and return at once."""
        with (self.folder / "stderr").open("a") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "benchmarks.operation", self.system, operation, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=self.folder,
                env=self.environment,
            )

    def command(self, name: str, *arguments: object) -> Any:
        """Return the command, or commands, that a system names for `tick`, `cold`, `drain` or `daemon`."""
        return self.operate("command", name, *arguments)["command"]

    def launch(self, command: Sequence[str]) -> Running:
        """Start a program."""
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCH), *command],
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )
        self._running.append(Running(launcher, self.folder))
        return self._running[-1]

    def close(self) -> None:
        """End what a workload that failed has left running."""
        for one in self._running:
            one.give_up()

    def lines(self, name: str) -> list[float]:
        """Return what jobs wrote down."""
        path = self.folder / name
        return [float(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, name: str, count: int, *running: Running) -> list[float]:
        """Return what jobs wrote down as soon as there are `count` lines, or fail: too late, or none is `running`."""
        deadline = time.monotonic() + LIMIT
        while len(lines := self.lines(name)) < count:
            if time.monotonic() > deadline or not any(one.is_running() for one in running):
                if len(lines := self.lines(name)) >= count:
                    break
                raise Failed(f"{len(lines)} of {count} jobs came: {said_at_last(self.folder)}")
            time.sleep(0.01)
        return lines

    def forget(self, name: str) -> None:
        """Remove what jobs wrote down."""
        (self.folder / name).unlink(missing_ok=True)


UNWANTED = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONDEVMODE", "BGJOB_CONFIG"}


def finish(operation: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the end of an operation, and return what it says."""
    try:
        said, _ = operation.communicate(timeout=10 * LIMIT)
    except subprocess.TimeoutExpired as error:
        operation.kill()
        operation.communicate()
        raise Failed("an operation did not end") from error
    if operation.returncode:
        raise Failed(f"{' '.join(map(str, operation.args[3:]))} ended with {operation.returncode}")  # type: ignore[index]
    return dict(json.loads(said.splitlines()[-1]))


def wait_until_ready(operation: subprocess.Popen[str]) -> None:
    """Wait until an operation that waits for us is ready; one that failed is told by `finish`."""
    if operation.stdout is not None:
        operation.stdout.readline()


def let_go(operation: subprocess.Popen[str]) -> None:
    """Let an operation go on that is ready."""
    with contextlib.suppress(BrokenPipeError):
        if operation.stdin is not None:
            operation.stdin.write("\n")
            operation.stdin.flush()


def said_at_last(folder: Path) -> str:
    """Return the last line that a process in the folder complained with."""
    lines = (folder / "stderr").read_text(errors="replace").splitlines() if (folder / "stderr").exists() else []
    return lines[-1] if lines else "it said nothing"


@contextlib.contextmanager
def place(system: str, scratch: Path) -> Iterator[Place]:
    """Have a fresh folder of a system in the block, removed afterwards."""
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=scratch))
    made = None
    try:
        made = Place(system, folder)
        yield made
    finally:
        if made is not None:
            made.close()
        shutil.rmtree(folder, ignore_errors=True)
