"""Where the user service answers."""

from bandstand.identity import jwks_view
from django.conf import settings
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("users.urls")),
    path(".well-known/jwks.json", jwks_view, name="jwks"),
    path("", include("bandstand.urls")),
]

if settings.DEBUG:
    urlpatterns.append(path("api/auth/", include("rest_framework.urls")))
