"""The store: the only code that reads and writes the database. One module for each side that uses it.

`intake` is the queueing side, `jobs` the worker's and runner's side, `runners` numbers the runners, `pause` keeps jobs
from being claimed; `connection` and `schema` are what they stand on.
"""
