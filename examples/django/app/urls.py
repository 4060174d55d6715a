"""Which page stands where."""

from django.urls import path

from app import views

urlpatterns = [path("orders", views.order)]
