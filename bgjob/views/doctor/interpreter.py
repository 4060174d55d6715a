"""The Python that ticks start with: it can import what is approved in cron's bare environment, and is quick."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import pwd
import re
import subprocess
import sys

from bgjob import clock
from bgjob.errors import BgjobError
from bgjob.views.doctor.finding import PROBLEM, WARNING, Finding
from bgjob.views.doctor.start import environment_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from bgjob.views.doctor.finding import Case

SECONDS_TO_IMPORT = 60.0
_SECONDS_TO_START = 10.0
_SLOW = 0.1  # seconds; a plain Python takes 10 to 30 ms
_STARTS = 5


def classes_can_be_imported(case: Case) -> Iterator[Finding]:
    """Every approved class is found in cron's environment: `bgjob check` says so under `env -i`."""
    done = _start(case, "-m", "bgjob", "--config", case.config.path, "check", "--json", timeout=SECONDS_TO_IMPORT)
    problems = _problems(done.stdout.decode(errors="replace"))
    if problems is None:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BgjobError(f"bgjob check ended with {done.returncode}: {said[-1] if said else 'no word'}")
    # A line that reads a file of variables first, or ticks that something else starts, may see more than that.
    is_sure = case.starts[0].is_plain if case.starts else case.is_silent
    for problem in problems:
        mend = "set what it needs in the module `boot` or above the crontab line; bgjob check tells how it is here"
        yield Finding(PROBLEM if is_sure else WARNING, f"in cron's environment: {problem}", mend)


def _problems(told: str) -> list[str] | None:
    """Return the problems from the last JSON document in a text, before which stands what the modules print."""
    for start in reversed([match.start() for match in re.finditer(r"^\{", told, re.MULTILINE)]):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return list(map(str, json.loads(told[start:])["problems"]))
    return None


def python_starts_quickly(case: Case) -> Iterator[Finding]:
    """Python itself starts in less than 100 ms, which each tick pays."""
    best = _SECONDS_TO_START
    for _ in range(_STARTS):
        started = clock.monotonic()
        _start(case, "-c", "pass", timeout=_SECONDS_TO_START)
        best = min(best, clock.monotonic() - started)
        if best < _SLOW / 2:
            return
    if best > _SLOW:
        hooks = _start_up_hooks(case)
        what = f"{_python(case)} takes {best * 1000:.0f} ms to start, before it does anything; each tick pays that"
        what += f"; these are run at each start: {', '.join(hooks)}" if hooks else ""
        mend = f"{_python(case)} -X importtime -c pass tells what takes long; remove what nobody needs"
        yield Finding(WARNING, what, mend)


def _start_up_hooks(case: Case) -> list[str]:
    """Return the files that Python runs at each start: lines of .pth files that import, and customizations."""
    ask = "import sys, sysconfig; print(sysconfig.get_path('purelib')); m = sys.modules; print(*(str(m[n].__file__) "
    ask += "for n in ('sitecustomize', 'usercustomize') if n in m), sep='\\n')"
    told = _start(case, "-c", ask, timeout=_SECONDS_TO_START).stdout.decode(errors="surrogateescape").splitlines()
    hooks = [path for path in told[1:] if path]
    for path in sorted(glob.glob(os.path.join(glob.escape(told[0]), "*.pth"))) if told else []:
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            if any(line.startswith(("import ", "import\t")) for line in file):
                hooks.append(path)
    return hooks


def _python(case: Case) -> str:
    """Return the Python that ticks use: that of the crontab line, else that of the last tick, else our own."""
    if case.starts and case.starts[0].python and os.access(program := case.starts[0].program(), os.X_OK):
        return program
    told = case.ticks.text("python") if case.ticks else ""
    return told if told and os.access(told, os.X_OK) else sys.executable


def _start(case: Case, *arguments: str, timeout: float) -> subprocess.CompletedProcess[bytes]:
    """Start that Python as cron would: with no more environment than that, and as its user where we may."""
    start = case.starts[0] if case.starts else None
    user = start.user if start else None
    identity: dict[str, Any] = {}
    with contextlib.suppress(KeyError):
        uid = int(case.ticks.facts["uid"]) if case.ticks and not user else pwd.getpwnam(user or "").pw_uid
        if os.geteuid() == 0 and uid != 0:
            entry = pwd.getpwuid(uid)
            user = entry.pw_name
            groups = os.getgrouplist(user, entry.pw_gid)
            identity = {"user": uid, "group": entry.pw_gid, "extra_groups": groups}
    return subprocess.run(  # noqa: S603  # the Python that runs the jobs
        [_python(case), *arguments],
        check=False,
        capture_output=True,
        cwd=case.config.root,
        env=start.variables if start else environment_of(user),
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        **identity,
    )
