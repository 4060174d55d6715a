"""`bgjob metrics`: the figures of the queue as they are now, for Prometheus."""

from __future__ import annotations

import sys

from bgjob import clock, metrics
from bgjob.cli import page
from bgjob.cli.exits import FINE
from bgjob.store import reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from bgjob.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments but those of all commands."""


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Print the figures; return FINE."""
    found: list[metrics.Metric] = []
    if reading.exists(config.database):
        with reading.ReadStore(config.database) as store:
            found = metrics.gathered(store, config, clock.now())
    if arguments.json:
        page.document(
            {"database": config.database, "exists": bool(found), "metrics": [_document(one) for one in found]}
        )
    elif found:
        sys.stdout.write(metrics.text(found))
    else:
        page.say(f"# no job was ever queued: there is no database {config.database} yet")
    return FINE


def _document(metric: metrics.Metric) -> dict[str, object]:
    samples = [
        {"name": f"{metric.name}{sample.suffix}", "labels": sample.labels, "value": sample.value + 0}
        for sample in metric.samples
    ]
    return {"name": metric.name, "type": metric.kind, "help": metric.told, "samples": samples}
