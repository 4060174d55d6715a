"""The app's entry in Django's list."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """The shop."""

    name = "app"
    default_auto_field = "django.db.models.BigAutoField"
