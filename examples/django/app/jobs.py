"""What is done in the background: plain classes, approved in config/jobs.yaml."""

from app.models import Order


class ConfirmOrder:
    """Tells the customer that the order has come in."""

    def execute(self, order_id: int) -> None:
        """Confirm one order. A job may run a second time after a crash, so look what is done already."""
        order = Order.objects.get(pk=order_id)
        if not order.confirmed:
            print(f"Dear {order.customer}, thank you for order {order.pk}.")
            order.confirmed = True
            order.save()


class CountOrders:
    """Counts all orders."""

    def execute(self) -> None:
        """Print the number; what a job prints is kept with its attempt."""
        print(f"{Order.objects.count()} orders so far")
