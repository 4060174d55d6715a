"""The app's database: one connection for each request, as Flask's tutorial has it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from flask import g

FOLDER = Path(__file__).resolve().parent.parent


def connect() -> sqlite3.Connection:
    """Return a new connection, in a web request or in a job."""
    return sqlite3.connect(FOLDER / "shop.sqlite3", timeout=30)


def connection() -> sqlite3.Connection:
    """Return the connection of this request."""
    if "connection" not in g:
        g.connection = connect()
    return g.connection


def disconnect(_error: BaseException | None = None) -> None:
    """Close the connection of this request."""
    if "connection" in g:
        g.pop("connection").close()


def prepare() -> None:
    """Make the table."""
    own = connect()
    own.execute(
        "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT, confirmed INTEGER DEFAULT 0)"
    )
    own.close()
