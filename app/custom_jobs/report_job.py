"""A job that does some real work and leaves a file behind."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / "storage" / "reports"


class ReportJob:
    """Count files and lines of one of the project's folders, by kind, into storage/reports/<folder>.txt.

    A job that was being run when its machine died runs again, so it must be harmless twice: the report is written
    whole beside the old one and then takes its place.
    """

    def execute(self, folder: str = "app") -> None:
        """Write the report about `folder`, one of the project's own top folders."""
        # Params come from outside: look the name up among what is there, never build a path of it.
        folders = {path.name: path for path in ROOT.iterdir() if path.is_dir()}
        if folder not in folders:
            raise ValueError(f"There is no folder {folder!r} to report on; there are {', '.join(sorted(folders))}.")
        files, lines = count(folders[folder])
        rows = [f"{kind:<10} {files[kind]:>6} files {lines[kind]:>8} lines" for kind in sorted(files)]
        write_atomically(REPORTS / f"{folder}.txt", "\n".join([f"Report on {folder}/", *rows, ""]))
        print(f"ReportJob: storage/reports/{folder}.txt counts {sum(files.values())} files", flush=True)

    def rebuild(self) -> None:
        """Write each report that is there anew."""
        for report in sorted(REPORTS.glob("*.txt")):
            self.execute(report.stem)


def count(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Return how many files and how many lines each kind of file has, in `folder` and below."""
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            kind = path.suffix or "(none)"
            files[kind] += 1
            lines[kind] += path.read_bytes().count(b"\n")
    return files, lines


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader, or a kill at any moment, sees the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
