"""Settings of the ledger service; everything that differs between tests comes from the environment."""

import json
import os

import dj_database_url

SECRET_KEY = "tests-only"
DEBUG = False
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "bandstand.events", "tests.integration.events.ledger"]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], engine="bandstand.postgresql")}
DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 8, "timeout": 5}}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"bandstand": {"()": "bandstand.context.ConsoleFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "bandstand"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("LEDGER_LOG_LEVEL", "INFO")},
}
BANDSTAND = {
    "SERVICE": os.environ.get("LEDGER_SERVICE", "ledger-service"),
    "PLATFORM": os.environ["LEDGER_PLATFORM"],
    "EVENTS": {"BROKER_URL": os.environ["BROKER_URL"], **json.loads(os.environ.get("LEDGER_EVENTS", "{}"))},
}
