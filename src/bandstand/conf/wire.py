"""The names of everything that travels between processes: headers and environment variables."""

from typing import Final

# --- headers ------------------------------------------------------------------------------------
CORRELATION_ID: Final = "X-Correlation-ID"
REQUEST_TIMEOUT_MS: Final = "X-Request-Timeout-Ms"
SERVICE_TOKEN: Final = "X-Service-Token"  # noqa: S105 - the name of a header
TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
IDEMPOTENCY_REPLAYED: Final = "Idempotency-Replayed"  # true: the answer is that of an earlier request with this key
RATE_LIMIT: Final = "RateLimit"
RATE_LIMIT_POLICY: Final = "RateLimit-Policy"
DO_NOT_RETRY: Final = "X-Do-Not-Retry"  # 1: in a request, try once only; in an answer, trying again was tried in vain

# What a service believes because the platform sent it. A gateway removes these from every outside request.
INTERNAL_HEADERS: Final = (SERVICE_TOKEN, REQUEST_TIMEOUT_MS, "X-User-Id", "X-Service-Name", DO_NOT_RETRY)

# --- environment variables ----------------------------------------------------------------------
SECRET_KEY: Final = "SECRET_KEY"  # noqa: S105 - the name of a variable
DEBUG: Final = "DEBUG"
ALLOWED_HOSTS: Final = "ALLOWED_HOSTS"
DATABASE_URL: Final = "DATABASE_URL"
CACHE_URL: Final = "CACHE_URL"
BROKER_URL: Final = "BROKER_URL"
BROKER_ADMIN_URL: Final = "BROKER_ADMIN_URL"  # of the step that declares what services share; no service has it
DISCOVERY_URL: Final = "DISCOVERY_URL"
EMAIL_URL: Final = "EMAIL_URL"

SERVICE: Final = "BANDSTAND_SERVICE"  # user-service
PLATFORM: Final = "BANDSTAND_PLATFORM"  # shop: the audience of user tokens and the prefix of subjects and cache keys
PROCESS: Final = "BANDSTAND_PROCESS"  # web, worker: for logs
LOG_FORMAT: Final = "BANDSTAND_LOG_FORMAT"  # json, console
LOG_LEVEL: Final = "BANDSTAND_LOG_LEVEL"
SERVICE_KEY_FILE: Final = "BANDSTAND_SERVICE_KEY_FILE"  # this service's private JWK
TRUSTED_KEYS_FILE: Final = "BANDSTAND_TRUSTED_KEYS_FILE"  # JWKS: the public keys of all services
ALLOWED_CALLERS: Final = "BANDSTAND_ALLOWED_CALLERS"  # comma-separated service names
CLIENT_POLICIES: Final = (
    "BANDSTAND_CLIENT_POLICIES"  # JSON: {"timeout": 2, "targets": {"user-service": {"retries": 1}}}
)
USER_KEY_FILE: Final = "BANDSTAND_USER_KEY_FILE"  # private JWK that signs user tokens; only where they are issued
USER_JWKS_URL: Final = "BANDSTAND_USER_JWKS_URL"  # where the public keys for user tokens are published
DATABASE_POOL_SIZE: Final = "BANDSTAND_DATABASE_POOL_SIZE"
THREADS: Final = "BANDSTAND_THREADS"  # request threads of a web process
MEMORY: Final = "BANDSTAND_MEMORY"  # MiB that a process may use
TRUSTED_PROXIES: Final = "BANDSTAND_TRUSTED_PROXIES"  # comma-separated networks whose X-Forwarded-For is believed
ADMIN: Final = "BANDSTAND_ADMIN"  # true, false: whether this process shows Django's admin
DRAIN_SECONDS: Final = "BANDSTAND_DRAIN_SECONDS"  # from SIGTERM (readiness 503) until the listener closes
HSTS_PRELOAD: Final = "BANDSTAND_HSTS_PRELOAD"  # true: browsers may put the domain into their own lists
CSRF_TRUSTED_ORIGINS: Final = "BANDSTAND_CSRF_TRUSTED_ORIGINS"
DISCOVERY_TOKEN: Final = "BANDSTAND_DISCOVERY_TOKEN"  # noqa: S105 - the registry's access token, if it wants one
ADVERTISE: Final = "BANDSTAND_ADVERTISE"  # where others reach this process: host, host:port or :port
REGISTER: Final = "BANDSTAND_REGISTER"  # auto, never, always: whether a process enters itself into the registry
TAGS: Final = "BANDSTAND_TAGS"  # comma-separated tags of this instance in the registry
READY_FILE: Final = "BANDSTAND_READY_FILE"  # a worker touches it once it works and removes it when it does not
WORKER_PORT: Final = "BANDSTAND_WORKER_PORT"  # where a worker exposes its metrics: 9100 (loopback) or 0.0.0.0:9100
TESTING: Final = "BANDSTAND_TESTING"  # 1 in tests only: fail-points are honoured, and the memory broker
FAILPOINTS: Final = "BANDSTAND_FAILPOINTS"  # name=action,name=action

# What no process list, no `docker inspect` and no crash report should show. Each of these may come from a file instead:
# DATABASE_URL_FILE=/run/secrets/DATABASE_URL.
SECRETS: Final = (SECRET_KEY, DATABASE_URL, CACHE_URL, BROKER_URL, EMAIL_URL, DISCOVERY_TOKEN)
FILE_SUFFIX: Final = "_FILE"

# --- words ---------------------------------------------------------------------------------------
OWN_ADDRESS: Final = "own-address"  # in ALLOWED_HOSTS: whatever address this container has

# --- marks --------------------------------------------------------------------------------------
# Secrets and key ids made for development begin with this. A service with DEBUG off refuses to start on one.
# Django's own `check --deploy` knows the same prefix.
DEVELOPMENT_MARK: Final = "django-insecure-"
