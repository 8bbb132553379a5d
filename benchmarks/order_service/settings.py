"""Settings as a service has them, with the servers that the benchmark started."""

import os
from typing import Any

import dj_database_url

SECRET_KEY = "benchmark"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "rest_framework", "bandstand.api", "bandstand.events", "order_service"]
REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None}
DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(os.environ["DATABASE_URL"], engine="bandstand.postgresql")
}
DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 12, "timeout": 10}}
BANDSTAND = {"SERVICE": "order-service", "PLATFORM": "bench", "EVENTS": {"BROKER_URL": os.environ["BROKER_URL"]}}
