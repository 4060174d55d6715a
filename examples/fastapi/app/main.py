"""The pages: fastapi dev, or uvicorn app.main:app."""

import os
from typing import Annotated

from fastapi import Depends, FastAPI, Form
from sqlalchemy.orm import Session

from app.database import FOLDER, Base, Order, engine, session
from app.jobs import ConfirmOrder
from bgjob import run_background_job

# So that jobs can be queued from any working directory.
os.environ.setdefault("BGJOB_CONFIG", str(FOLDER / "config" / "jobs.yaml"))

Base.metadata.create_all(engine)
app = FastAPI()


# A plain function, which FastAPI runs in a thread: queueing waits for the disk, and would hold up the event loop.
@app.post("/orders", status_code=201)
def order(customer: Annotated[str, Form()], own: Annotated[Session, Depends(session)]) -> dict[str, int]:
    """Take an order. The order and the job that confirms it are there together, or neither is."""
    made = Order(customer=customer)
    own.add(made)
    own.flush()  # gives the order its number
    run_background_job(ConfirmOrder, params={"order_id": made.id}, connection=own)
    own.commit()
    return {"order": made.id}
