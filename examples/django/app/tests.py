"""Tests of the pages: `python -m django test`."""

from django.db import connection
from django.test import TransactionTestCase

from app.models import Order
from bgjob import testing


class OrderTest(TransactionTestCase):
    """What is queued in Django's transaction goes into the file of that connection: the test's database."""

    def setUp(self) -> None:
        """Let the queue be in the test's database."""
        self.queue = self.enterContext(testing.isolated(connection.settings_dict["NAME"]))

    def test_an_order_is_confirmed_in_the_background(self) -> None:
        """An order that comes in by the web is confirmed by a job."""
        self.client.post("/orders", {"customer": "Ada"})
        before = Order.objects.get().confirmed

        ran = self.queue.drain()

        self.assertEqual([job.job_class for job in ran], ["app.jobs.ConfirmOrder", "app.jobs.CountOrders"])
        self.assertEqual((before, Order.objects.get().confirmed), (False, True))

    def test_jobs_are_recorded_where_none_is_to_run(self) -> None:
        """A fake takes jobs from any connection, and needs no file."""
        with testing.fake() as queue:
            self.client.post("/orders", {"customer": "Ada"})

        queue.assert_queued("app.jobs.ConfirmOrder", params={"order_id": Order.objects.get().pk})
