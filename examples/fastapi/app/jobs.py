"""What is done in the background: plain classes, approved in config/jobs.yaml. A method may be async, too."""

from sqlalchemy.orm import Session

from app.database import Order, engine


class ConfirmOrder:
    """Tells the customer that the order has come in."""

    async def execute(self, order_id: int) -> None:
        """Confirm one order."""
        with Session(engine) as session, session.begin():
            order = session.get_one(Order, order_id)
            order.confirmed = True
            print(f"Dear {order.customer}, thank you for order {order.id}.")
