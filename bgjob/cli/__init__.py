"""The command line: what `background_runner.py` understands."""
