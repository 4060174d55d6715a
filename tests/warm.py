"""Processes that begin warm, as forks of one in which all of bgjob is imported; under strace, if so told.

Thousands of ticks are needed to kill one at each of its instants and to fail each of its system calls: so a tick costs
20 ms instead of 150. `python -m tests.warm` is the process that forks for `Warm`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn

import bgjob.cli.run
import bgjob.enqueue
from bgjob import BgjobError, memo, run_background_job, tick
from tests.conftest import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 40.0  # more than the 30 s for which bgjob waits for a lock
INJECTED = "(INJECTED)"  # what strace writes behind a call that it let fail

TICK_SCRIPT = "background_runner.py"


def be_a_tick(folder: Path, said: Path) -> NoReturn:
    """Fork's child: be a tick of the project in `folder`, whose standard output and error go to the file `said`."""
    _be(lambda: _tick(folder), said)


class Ended(NamedTuple):
    """How a process ended: its exit code (negative: the signal), what it said, and what strace saw."""

    code: int
    said: str
    seen: str


class Warm:
    """A process whose forks do what they are told."""

    def __init__(self, folder: Path) -> None:
        """Start it; `folder` is for its notes."""
        self._notes = folder
        self._environment = Project(folder / "any").environment()
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=self._notes,
            env=self._environment,
        )

    def tick(self, folder: Path, *strace: str) -> Ended:
        """Run one tick of the project in `folder`; its runner alone is under strace if there are arguments for that."""
        return self._run({"folder": str(folder)}, strace)

    def tick_with_worker(self, folder: Path, *strace: str) -> Ended:
        """Run one tick whose first worker is under strace; the project has GATE in its `boot` module."""
        return self._run({"folder": str(folder)}, strace, gate=Gate(folder))

    def queue(self, folder: Path, names: list[str], *strace: str) -> Ended:
        """Queue a job for each of `names` in a process of its own, which notes in `acks` what was accepted."""
        return self._run({"folder": str(folder), "queue": names}, strace)

    def _run(self, order: dict[str, Any], strace: tuple[str, ...], *, gate: Gate | None = None) -> Ended:
        said, seen = self._notes / "said", self._notes / "seen"
        said.write_text("")
        seen.write_text("")
        pid = int(self._ask(json.dumps({**order, "said": str(said)})))
        try:
            if gate is not None:
                self._tell("go")
                with gate.worker() as worker, attached(worker, seen, *strace):
                    gate.let_go()
                    code = int(self._answer())
            else:
                with attached(pid, seen, *strace) if strace else contextlib.nullcontext():
                    code = int(self._ask("go"))
        except BaseException:
            # What it still does has nobody to tell it to: begin with a new one.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.end()
            self._start()
            raise
        return Ended(code, said.read_text(), seen.read_text(errors="replace"))

    def _ask(self, order: str) -> str:
        self._tell(order)
        return self._answer()

    def _tell(self, order: str) -> None:
        _streams(self._process)[0].write(f"{order}\n")

    def _answer(self) -> str:
        _, stdout = _streams(self._process)
        ready, _, _ = select.select([stdout], [], [], LIMIT)
        assert ready, f"did not end by itself within {LIMIT:g} s"
        return stdout.readline()

    def end(self) -> None:
        """End it, and with it what it has forked and did not end."""
        self._process.kill()
        for stream in _streams(self._process):
            stream.close()
        self._process.wait(LIMIT)


@contextlib.contextmanager
def warm_process() -> Iterator[Warm]:
    """Have a warm process in the block; skip the test, or in CI fail it, where strace is missing."""
    require_strace()
    with in_memory() as folder:
        warm = Warm(folder)
        try:
            yield warm
        finally:
            warm.end()


@contextlib.contextmanager
def in_memory() -> Iterator[Path]:
    """Have a folder on a disk in memory, where there is one: a sweep syncs thousands of times."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # a folder of its own is made in it
    with tempfile.TemporaryDirectory(prefix="bgjob-", dir=memory) as folder:
        yield Path(folder)


# The first worker tells who it is and waits, before it opens anything, until it is let go.
GATE = """
import os

if os.path.exists("gate-in"):
    with open("gate-in", "w") as gate:
        gate.write(f"{os.getpid()}\\n")
    with open("gate-out") as gate:
        gate.readline()
"""


class Gate:
    """Two named pipes in the project's folder, by which a worker is held up."""

    def __init__(self, folder: Path) -> None:
        """Make them."""
        self._paths = folder / "gate-in", folder / "gate-out"
        for path in self._paths:
            os.mkfifo(path)
        # For both reading and writing: neither end then waits for the other to open it.
        self._in, self._out = (os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in self._paths)

    @contextlib.contextmanager
    def worker(self) -> Iterator[int]:
        """Return the first worker's number; the next ones go through."""
        try:
            assert select.select([self._in], [], [], LIMIT)[0], "no worker came"
            self._paths[0].unlink()
            yield int(os.read(self._in, 100))
        finally:
            self._paths[1].unlink()
            os.close(self._in)
            os.close(self._out)

    def let_go(self) -> None:
        """Let the worker go on."""
        os.write(self._out, b"go\n")


@contextlib.contextmanager
def attached(pid: int, seen: Path, *options: str) -> Iterator[None]:
    """Have strace look at the process `pid` in the block, which ends with the process, and write to the file `seen`."""
    command = ["strace", "-p", str(pid), "-o", str(seen), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        try:
            assert tracer.stderr is not None
            said = tracer.stderr.readline()
            assert "attached" in said, said
            yield
            tracer.wait(LIMIT)
        except BaseException:
            tracer.kill()
            raise


def _streams(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def require_strace() -> None:
    """Skip the test where strace is missing or may not trace; in CI that is a failure."""
    import pytest

    try:
        done = subprocess.run(["strace", "true"], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return
        reason = f"strace can't trace here: {done.stderr.strip()[-200:]}"
    except FileNotFoundError:
        reason = "strace is not installed (Debian and Ubuntu: apt install strace)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def only_files_of(folder: Path, *more: str) -> list[str]:
    """Return strace's options for: only calls that concern a file of bgjob's in the project's folder, or `more`."""
    database = [f"storage/jobs.sqlite3{end}" for end in ("", "-wal", "-journal", ".lock", ".life", ".tick")]
    logs = ["storage/logs/background_jobs.log", "storage/logs/background_jobs_errors.log"]
    paths = [str(folder / name) for name in (*database, *logs, "storage", "storage/logs", *more)]
    paths.append(memo.path_of(str(folder / "config" / "jobs.yaml")))
    return [word for path in paths for word in ("-P", path)]


def _serve() -> None:
    gc.freeze()  # so that no fork copies what all of them share
    for line in sys.stdin:
        order = json.loads(line)
        wait, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(go)
            _be(lambda order=order, wait=wait: _obey(order, wait), Path(order["said"]))
        os.close(wait)
        print(pid, flush=True)  # noqa: T201  # the answer
        sys.stdin.readline()
        os.close(go)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  # the answer


def _be(act: Any, said: Path) -> NoReturn:
    """Do it, with standard streams as cron gives them, and exit with its code."""
    code = 70
    try:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for stream, number in ((nothing, 0), (file, 1), (file, 2)):
            os.dup2(stream, number)
        os.close(file)
        os.close(nothing)
        code = act()
    except BaseException:  # noqa: BLE001  # it must not go on as the process that it was forked from
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(code)


def _obey(order: dict[str, Any], wait: int) -> int:
    os.truncate(order["said"], 0)
    os.read(wait, 1)  # ends when strace is there
    os.close(wait)
    folder = Path(order["folder"])
    return _queue(folder, order["queue"]) if "queue" in order else _tick(folder)


def _tick(folder: Path) -> int:
    os.chdir(folder)
    sys.argv = [str(folder / TICK_SCRIPT)]
    try:
        tick.main(sys.argv[0])
    except SystemExit as end:
        return int(end.code or 0)


def _queue(folder: Path, names: list[str]) -> int:
    os.chdir(folder)
    acks = os.open("acks", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    code = 0
    for name in names:
        try:
            run_background_job("app.jobs.Job", "execute", [name])
        except BgjobError as error:
            os.write(2, f"bgjob: {error}\n".encode())
            code = 69
        else:
            os.write(acks, f"{name}\n".encode())
    bgjob.enqueue._intake._close()  # as the end of a Python process does
    return code


if __name__ == "__main__":
    _serve()
