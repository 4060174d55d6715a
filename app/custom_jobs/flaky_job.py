"""A job that fails at first, to show a retry; only config/demo.yaml approves it."""

from __future__ import annotations

from pathlib import Path

ATTEMPTS = Path(__file__).resolve().parents[2] / "storage" / "demo" / "attempts"


class FlakyJob:
    """Fail at the first attempts, then succeed, like a mail that is sent while its server is away for a moment."""

    def execute(self, failures: int = 1) -> None:
        """Raise at the first `failures` attempts; a file counts them, for the next one may run in another process."""
        attempt = 1 + (int(ATTEMPTS.read_text(encoding="utf-8")) if ATTEMPTS.exists() else 0)
        ATTEMPTS.parent.mkdir(parents=True, exist_ok=True)
        ATTEMPTS.write_text(str(attempt), encoding="utf-8")
        if attempt <= failures:
            raise ConnectionError(f"The mail server did not answer (attempt {attempt}).")
        print(f"FlakyJob: sent at attempt {attempt}", flush=True)
