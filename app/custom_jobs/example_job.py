"""The smallest job there is."""

from __future__ import annotations


class ExampleJob:
    """Print a message: any class with a method is a job, once config/jobs.yaml approves it."""

    def execute(self, message: str = "Hello from the background!") -> None:
        """Print `message`; the keys of `params` arrive as keyword arguments."""
        print(f"ExampleJob: {message}", flush=True)
