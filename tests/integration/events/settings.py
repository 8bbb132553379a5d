"""Settings of the ledger service; everything that differs between tests comes from the environment."""

import json
import os

from tests.integration.events.databases import database_settings

SECRET_KEY = "tests-only"
DEBUG = False
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "bandstand.events", "tests.integration.events.ledger"]
DATABASES = {"default": database_settings(os.environ["DATABASE_URL"])}
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
