"""The store: the only code that reads and writes the database. One module for each side that uses it.

`intake` is the queueing side, `jobs` the worker's and runner's, `byhand` that of a person who requeues, cancels or
deletes, and `reading` that of whoever only looks. `runners` numbers the runners, `pause` keeps jobs from being claimed,
`alarms` holds the outages, `fingerprints` who was here, and `upkeep` prunes. They stand on `connection`, which opens
the file, `schema`, which makes the tables, and `trouble`, which puts SQLite's errors into words.
"""
