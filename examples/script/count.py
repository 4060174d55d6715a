"""Queue one job for each text file that is named, and end at once: python count.py *.md."""

import sys
from pathlib import Path

from bgjob import run_background_jobs

from words import Count

if __name__ == "__main__":
    # All of them or none, in one transaction. A job runs elsewhere and later, so it is told the whole path.
    run_background_jobs([{"job_class": Count, "params": {"path": str(Path(name).resolve())}} for name in sys.argv[1:]])
    print(f"{len(sys.argv) - 1} jobs queued")
