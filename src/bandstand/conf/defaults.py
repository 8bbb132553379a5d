"""The parts of ``settings.py`` that are the same in every service: apps, middleware in the one right order, templates.

A service adds its own::

    INSTALLED_APPS = [*defaults.INSTALLED_APPS, "orders"]
    MIDDLEWARE = defaults.MIDDLEWARE
    TEMPLATES = defaults.TEMPLATES
"""

from typing import Any, Final

__all__ = ["INSTALLED_APPS", "MIDDLEWARE", "TEMPLATES"]

INSTALLED_APPS: Final[list[str]] = [
    "bandstand.api.admin_app.LimitedAdminConfig",  # Django's admin, with limits on signing in
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "bandstand",
    "bandstand.events",
    "bandstand.api",
]
"""Django's admin with what it needs, REST framework with its OpenAPI pages, and the rooms that have tables."""

MIDDLEWARE: Final[list[str]] = [
    # First who asks and until when, so that every line and every refusal below carries it.
    "bandstand.context.RequestTrackingMiddleware",
    "bandstand.identity.ServiceAuthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    # Around everything that could fail, so that each failure becomes a problem document.
    "bandstand.api.ProblemDetailsMiddleware",
    "bandstand.api.RequestLimitsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES: Final[list[dict[str, Any]]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
"""What the admin and the API's pages need."""
