"""The files with which a project begins: what may run, the runner, and an example job."""

from __future__ import annotations

CONFIG = """\
# yaml-language-server: $schema=jobs.schema.json
# What may run in the background: only classes and methods that stand here. Nothing else is ever imported.
# All paths start at the folder above this one. `bgjob check` tells whether all is right.

{approved_classes}
# - app.custom_jobs.ReportJob:        # a class may bring its own settings
#     methods: [execute, rebuild]     # instead of approved_methods
#     timeout: 10m

approved_methods:                     # of all classes above without `methods`
  - execute

max_retries: 3                        # retries after the first attempt

# More settings, with their defaults unless it says otherwise:
#
# retry_delay: {{first: 10s, factor: 4, max: 1h}}
# timeout: 1h                         # of one attempt
# workers: 1                          # jobs running at once
# linger: 75s                         # (default: 0) pick new jobs up at once, not only at cron's next minute
# boot: app.boot                      # (default: none) a module that each worker imports first: django.setup(), .env
# database: storage/jobs.sqlite3      # absolute where each release has its own folder
# log_directory: storage/logs
# keep: {{completed: 7d, failed: 30d, cancelled: 7d}}
"""

SCRIPT = '''\
"""Run the background jobs that are due, and exit: cron starts this file each minute."""

from bgjob.tick import main

if __name__ == "__main__":
    main(__file__)
'''

JOBS = '''\
"""Jobs: any class with a method is one, once config/jobs.yaml approves it."""


class ExampleJob:
    """The smallest job there is."""

    def execute(self, message="Hello from the background!"):
        """Print `message`; the keys of params arrive as keyword arguments."""
        print(message)
'''
