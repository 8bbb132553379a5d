"""What the service of the tests is set to: the usual way, by environment variables."""

from bandstand.conf import ServiceEnvironment, defaults

environment = ServiceEnvironment.read("user-service")

SECRET_KEY = environment.secret_key
DEBUG = environment.debug
ALLOWED_HOSTS = list(environment.allowed_hosts)
DATABASES = {"default": environment.database}
CACHES = {"default": environment.cache}
LOGGING = environment.logging
BANDSTAND = environment.bandstand(version="1.2.3")
ROOT_URLCONF = "tests.integration.discovery.service"
INSTALLED_APPS = defaults.INSTALLED_APPS
MIDDLEWARE = [f"{ROOT_URLCONF}.count_probes", *defaults.MIDDLEWARE]
TEMPLATES = defaults.TEMPLATES
WSGI_APPLICATION = "tests.integration.discovery.service.application"
STATIC_URL = "static/"
USE_TZ = True
