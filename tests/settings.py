"""Settings of the tests that need no server: SQLite in memory, the memory broker, the memory cache."""

from bandstand.api import rest_framework_settings, spectacular_settings
from bandstand.conf import defaults

SECRET_KEY = "tests-only"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "rest_framework",
    "drf_spectacular",
    "bandstand",
    "bandstand.api",
    "bandstand.events",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
ROOT_URLCONF = "tests.urls"
TEMPLATES = defaults.TEMPLATES
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
BANDSTAND = {"SERVICE": "test-service", "PLATFORM": "tests"}
REST_FRAMEWORK = rest_framework_settings()
SPECTACULAR_SETTINGS = spectacular_settings("Tests", "1.0.0")
# The admin is here for its tests, which bring its middleware along.
SILENCED_SYSTEM_CHECKS = ["admin.E408", "admin.E409", "admin.E410"]
