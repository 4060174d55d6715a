"""Run the benchmarks and show a table; `--publish` puts it into the documentation, with a picture."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import time
from pathlib import Path

from benchmarks.bench import QUICK, WHOLE, Bench, Sizes, say
from benchmarks.figures import Results, Value
from benchmarks.picture import picture
from benchmarks.registry import COLUMNS
from benchmarks.table import table
from benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: made by `make bench` -->\n", "<!-- end of figures -->\n"


def main() -> None:
    """Measure what the command line asks for, and write it down."""
    asked = _arguments()
    began = time.monotonic()
    if asked.again:
        machine, results = read(asked.again)
    else:
        bench = Bench(QUICK if asked.quick else WHOLE, systems=asked.systems, scratch=asked.scratch)
        if asked.runs:
            bench.sizes = bench.sizes._replace(runs=asked.runs)
        for name in bench.missing():
            say(f"{name} is not installed, so it is left out")
        for workload in asked.workloads:
            WORKLOADS[workload](bench)
        machine, results = describe(asked.scratch, bench.sizes), bench.results
        say(f"measured in {time.monotonic() - began:.0f} s")
    write(asked.out, machine, results)
    print(table(machine, results))
    say(f"written to {asked.out}: table.md, results.jsonl, light.svg, dark.svg")
    if asked.publish:
        publish(machine, results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument(
        "workloads",
        nargs="*",
        choices=[*WORKLOADS, "all"],
        default="all",
        metavar="WORKLOAD",
        help=", ".join(WORKLOADS),
    )
    parser.add_argument(
        "--systems", nargs="+", choices=COLUMNS, default=COLUMNS, help="only these: " + ", ".join(COLUMNS)
    )
    parser.add_argument(
        "--quick", action="store_true", help="see whether all works, in under a minute; no figure means much"
    )
    parser.add_argument("--runs", type=int, default=0, metavar="N", help=f"runs of each workload (else {WHOLE.runs})")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "storage" / "bench", metavar="FOLDER", help="for what is written"
    )
    parser.add_argument(
        "--scratch", type=Path, default=ROOT / "storage", metavar="FOLDER", help="for databases: a real disk"
    )
    parser.add_argument("--again", type=Path, metavar="FILE", help="measure nothing: take an earlier results.jsonl")
    parser.add_argument("--publish", action="store_true", help="put table and picture into docs/")
    asked = parser.parse_args()
    if "all" in asked.workloads:
        asked.workloads = list(WORKLOADS)
    asked.out, asked.scratch = asked.out.absolute(), asked.scratch.absolute()
    return asked


def describe(scratch: Path, sizes: Sizes) -> dict[str, str]:
    """Return what one must know of the machine to read the figures."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "disk": disk(scratch),
        "jobs": f"{sizes.drained:,}",
        "rows": f"{sizes.rows:,}",
    }


def disk(folder: Path) -> str:
    """Return the file system's kind (Linux), and how many small synced writes a second it does."""
    kinds = {}
    if (mounts := Path("/proc/mounts")).exists():
        kinds = {fields[1]: fields[2] for line in mounts.read_text().splitlines() if (fields := line.split())}
    folder.mkdir(parents=True, exist_ok=True)
    kind = next((kinds[str(above)] for above in (folder, *folder.parents) if str(above) in kinds), "disk")
    path = folder / "bench-synced-writes"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.write(file, bytes(4096 * SYNCED))
        os.fsync(file)
        began = time.monotonic()
        for number in range(SYNCED):
            os.pwrite(file, b"x" * 4096, 4096 * number)
            os.fdatasync(file)
        return f"{kind}, {SYNCED / (time.monotonic() - began):,.0f} synced writes of 4 KiB a second"
    finally:
        os.close(file)
        path.unlink()


SYNCED = 500


def write(folder: Path, machine: dict[str, str], results: Results) -> None:
    """Write the raw values, the table and the picture in both colours."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(machine), *(json.dumps(value._asdict()) for value in results.values)]
    (folder / "results.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(table(machine, results), encoding="utf-8")
    for colours in ("light", "dark"):
        (folder / f"{colours}.svg").write_text(picture(results, colours), encoding="utf-8")


def read(path: Path) -> tuple[dict[str, str], Results]:
    """Read what `write` has written."""
    machine, *values = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return machine, Results(Value(**value) for value in values)


def publish(machine: dict[str, str], results: Results) -> None:
    """Put the table into docs/performance.md, the pictures beside it, and the raw values into benchmarks/."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table(machine, results)}\n{END}{after}", encoding="utf-8")
    for colours in ("light", "dark"):
        (PAGE.parent / f"performance-{colours}.svg").write_text(picture(results, colours), encoding="utf-8")
    lines = [json.dumps(machine), *(json.dumps(value._asdict()) for value in results.values)]
    (ROOT / "benchmarks" / "results.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
