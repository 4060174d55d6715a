"""A small shop: orders come in by the web, and are confirmed in the background."""

from __future__ import annotations

import os

from flask import Flask, request

from app.database import FOLDER, connection, disconnect, prepare
from app.jobs import ConfirmOrder
from bgjob import run_background_job

# So that jobs can be queued from any working directory.
os.environ.setdefault("BGJOB_CONFIG", str(FOLDER / "config" / "jobs.yaml"))


def create_app() -> Flask:
    """Make the app; `flask run` and gunicorn find it under this name."""
    app = Flask(__name__)
    app.teardown_appcontext(disconnect)
    prepare()

    @app.post("/orders")
    def order() -> tuple[dict[str, int], int]:
        """Take an order. The order and the job that confirms it are there together, or neither is."""
        with connection() as own:
            number = own.execute("INSERT INTO orders (customer) VALUES (?)", (request.form["customer"],)).lastrowid
            run_background_job(ConfirmOrder, params={"order_id": number}, connection=own)
        return {"order": number}, 201

    return app
