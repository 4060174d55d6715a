"""`python -m bgjob`: the same as the console script `bgjob`."""

import sys

from bgjob.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
