"""Mount it with ``path("health/", include("bandstand.health.urls"))``."""

from django.urls import path

from bandstand.health import views

__all__ = ["urlpatterns"]

urlpatterns = [
    path("", views.health, name="health"),
    path("live/", views.live, name="health-live"),
    path("ready/", views.ready, name="health-ready"),
]
