"""The endpoints below ``/api/v1/users/``."""

from django.urls import URLPattern

app_name = "users"

urlpatterns: list[URLPattern] = []
