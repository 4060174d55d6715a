"""The job, in a module of its own: the script itself would be `__main__`, which no other process can import."""

from pathlib import Path


class Count:
    """Counts the words of a text file."""

    def execute(self, path: str) -> None:
        """Write the number beside the file, as <name>.words."""
        words = Path(path).read_text(encoding="utf-8").split()
        Path(f"{path}.words").write_text(f"{len(words)}\n", encoding="utf-8")
