"""Settings of the user service.

What differs between machines comes from environment variables, all faults reported at once; what every service has
alike comes from Bandstand; what is left is what makes this service itself.
"""

from datetime import timedelta

from bandstand.api import rest_framework_settings, spectacular_settings
from bandstand.conf import ServiceEnvironment, defaults

VERSION = "1.0.0"

environment = ServiceEnvironment.read("user-service")

SECRET_KEY = environment.secret_key
DEBUG = environment.debug
ALLOWED_HOSTS = list(environment.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(environment.csrf_trusted_origins)
DATABASES = {"default": environment.database}
CACHES = {"default": environment.cache}
LOGGING = environment.logging
BANDSTAND = environment.bandstand(version=VERSION)
globals().update(environment.email | environment.security)

INSTALLED_APPS = [*defaults.INSTALLED_APPS, "users"]
MIDDLEWARE = defaults.MIDDLEWARE
TEMPLATES = defaults.TEMPLATES
ROOT_URLCONF = "user_service.urls"
WSGI_APPLICATION = "user_service.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

REST_FRAMEWORK = rest_framework_settings()
SPECTACULAR_SETTINGS = spectacular_settings("User service", VERSION)

# --- what only the user service has -----------------------------------------------------------------
AUTH_USER_MODEL = "users.User"

REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"] = ["users.authentication.CurrentUserAuthentication"]
if DEBUG:  # the browsable API, entered at /api/auth/login/; in production there are tokens and JSON alone
    REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"] += ["rest_framework.authentication.SessionAuthentication"]
    REST_FRAMEWORK["DEFAULT_RENDERER_CLASSES"] += ["rest_framework.renderers.BrowsableAPIRenderer"]

PASSWORD_HASHERS = [
    "bandstand.identity.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

REFRESH_TOKEN_LIFETIME = timedelta(days=30)  # from signing in; refreshing does not prolong it
