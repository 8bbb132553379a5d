import pytest
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient


@pytest.fixture(autouse=True)
def service(settings: Settings) -> None:
    """The service of ``tests.testing.service``, with the middleware of a real one."""
    settings.ROOT_URLCONF = "tests.testing.service"
    settings.MIDDLEWARE = [
        "bandstand.context.RequestTrackingMiddleware",
        "bandstand.api.ProblemDetailsMiddleware",
        "bandstand.api.RequestLimitsMiddleware",
    ]


@pytest.fixture
def client() -> APIClient:
    return APIClient(raise_request_exception=False)
