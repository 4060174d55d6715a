"""Run the background jobs that are due, and exit: cron starts this file each minute."""

from bgjob.tick import main

if __name__ == "__main__":
    main(__file__)
