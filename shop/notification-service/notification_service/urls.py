"""Where the notification service answers."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("notifications.urls")),
    path("", include("bandstand.urls")),
]
