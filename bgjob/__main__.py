"""`python -m bgjob`: the same as the console script `bgjob`."""

from bgjob.cli.main import program

if __name__ == "__main__":
    program()
