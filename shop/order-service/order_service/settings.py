"""Settings of the order service.

What differs between machines comes from environment variables, all faults reported at once; what every service has
alike comes from Bandstand; what is left is what makes this service itself.
"""

from datetime import timedelta

from bandstand.api import rest_framework_settings, spectacular_settings
from bandstand.conf import ServiceEnvironment, defaults

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

INSTALLED_APPS = [*defaults.INSTALLED_APPS, "django_filters", "orders"]
MIDDLEWARE = defaults.MIDDLEWARE
TEMPLATES = defaults.TEMPLATES
ROOT_URLCONF = "order_service.urls"
WSGI_APPLICATION = "order_service.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

REST_FRAMEWORK = rest_framework_settings()
SPECTACULAR_SETTINGS = spectacular_settings("Order service", VERSION)

# --- what only the order service has ----------------------------------------------------------------
PENDING_LIFETIME = timedelta(minutes=15)  # after that an order whose stock nobody has confirmed is rejected
