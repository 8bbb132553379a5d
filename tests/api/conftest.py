from collections.abc import Iterator

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient


@pytest.fixture(autouse=True)
def service(settings: Settings) -> Iterator[None]:
    """The service of ``tests.api.service``, with the middleware in the order that the docs give."""
    settings.ROOT_URLCONF = "tests.api.service"
    settings.MIDDLEWARE = [
        "bandstand.context.RequestTrackingMiddleware",
        "bandstand.api.ProblemDetailsMiddleware",
        "bandstand.api.RequestLimitsMiddleware",
        "django.middleware.common.CommonMiddleware",
    ]
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def api() -> APIClient:
    return APIClient(raise_request_exception=False)
