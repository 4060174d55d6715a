"""The pages."""

from django.db import connection, transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from app.jobs import ConfirmOrder, CountOrders
from app.models import Order
from bgjob import run_background_job


@csrf_exempt
@require_POST
def order(request: HttpRequest) -> JsonResponse:
    """Take an order. The order and the job that confirms it are there together, or neither is."""
    with transaction.atomic():
        made = Order.objects.create(customer=request.POST["customer"])
        run_background_job(ConfirmOrder, params={"order_id": made.pk}, connection=connection)
        # The other way, which works with any database: once the transaction has been committed.
        transaction.on_commit(lambda: run_background_job(CountOrders, priority=-10))
    return JsonResponse({"order": made.pk}, status=201)
