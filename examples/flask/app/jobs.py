"""What is done in the background: plain classes, approved in config/jobs.yaml. They need no Flask app around them."""

from __future__ import annotations

from app.database import connect


class ConfirmOrder:
    """Tells the customer that the order has come in."""

    def execute(self, order_id: int) -> None:
        """Confirm one order."""
        own = connect()
        try:
            with own:
                [customer] = own.execute("SELECT customer FROM orders WHERE id = ?", (order_id,)).fetchone()
                own.execute("UPDATE orders SET confirmed = 1 WHERE id = ?", (order_id,))
            print(f"Dear {customer}, thank you for order {order_id}.")
        finally:
            own.close()
