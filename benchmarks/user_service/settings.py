"""Settings as those of the shop's services, without tables."""

from bandstand.api import rest_framework_settings
from bandstand.conf import ServiceEnvironment, defaults

environment = ServiceEnvironment.read("user-service")

SECRET_KEY = environment.secret_key
DEBUG = environment.debug
ALLOWED_HOSTS = list(environment.allowed_hosts)
DATABASES = {"default": environment.database}
CACHES = {"default": environment.cache}
LOGGING = environment.logging
BANDSTAND = environment.bandstand(version="1.0.0")
globals().update(environment.security)

INSTALLED_APPS = defaults.INSTALLED_APPS
MIDDLEWARE = defaults.MIDDLEWARE
TEMPLATES = defaults.TEMPLATES
ROOT_URLCONF = "user_service.urls"
WSGI_APPLICATION = "user_service.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

REST_FRAMEWORK = rest_framework_settings()
