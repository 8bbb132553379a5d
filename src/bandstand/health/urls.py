"""``/health/``, ``/health/live/`` and ``/health/ready/``; ``bandstand.urls`` includes them."""

from django.urls import path

from bandstand.health import views

__all__ = ["urlpatterns"]

urlpatterns = [
    path("health/", views.health, name="health"),
    path("health/live/", views.live, name="health-live"),
    path("health/ready/", views.ready, name="health-ready"),
]
