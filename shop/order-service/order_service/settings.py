"""Settings of the order service.

What differs between machines comes from environment variables, all faults reported at once; what every service has
alike comes from Bandstand; what is left is what makes this service itself.
"""

from bandstand.api import rest_framework_settings, spectacular_settings
from bandstand.conf import ServiceEnvironment

VERSION = "1.0.0"

environment = ServiceEnvironment.read("order-service")

SECRET_KEY = environment.secret_key
DEBUG = environment.debug
ALLOWED_HOSTS = list(environment.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(environment.csrf_trusted_origins)
DATABASES = {"default": environment.database}
CACHES = {"default": environment.cache}
LOGGING = environment.logging
BANDSTAND = environment.bandstand(version=VERSION)
globals().update(environment.email | environment.security)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "bandstand",
    "bandstand.events",
    "bandstand.api",
    "orders",
]

MIDDLEWARE = [
    "bandstand.context.RequestTrackingMiddleware",
    "bandstand.identity.ServiceAuthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "bandstand.api.ProblemDetailsMiddleware",
    "bandstand.api.RequestLimitsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
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

ROOT_URLCONF = "order_service.urls"
WSGI_APPLICATION = "order_service.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

REST_FRAMEWORK = rest_framework_settings()
SPECTACULAR_SETTINGS = spectacular_settings("Order service", VERSION)
