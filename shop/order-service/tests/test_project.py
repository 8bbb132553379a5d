"""The project as a whole: settings, migrations, the OpenAPI document, what is public."""

import pytest
from bandstand.testing.project import deployment_faults, openapi_document, openapi_faults
from django.core.management import call_command
from rest_framework.test import APIClient


def test_nothing_is_left_to_say_before_deploying() -> None:
    """Django's and Bandstand's checks for production have neither errors nor warnings."""
    assert deployment_faults() == ""


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    """The migrations make the tables that the models need."""
    call_command("makemigrations", check=True, dry_run=True)


@pytest.mark.django_db
def test_the_openapi_document_is_valid() -> None:
    """The document names every endpoint, validates, and was made without a warning."""
    document = openapi_document()
    assert document["openapi"].startswith("3.1")
    assert openapi_faults(document) == []
    assert set(document["paths"]) == {"/api/v1/orders/", "/api/v1/orders/{id}/", "/api/v1/orders/{id}/cancel/"}
    place = document["paths"]["/api/v1/orders/"]["post"]
    [key] = [parameter for parameter in place["parameters"] if parameter["in"] == "header"]
    assert (key["name"], key["required"]) == ("Idempotency-Key", True)
    order = document["components"]["schemas"]["Order"]["properties"]
    assert {"id", "status", "reason", "items", "total_amount", "currency", "user_email", "created_at"} <= set(order)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/health/", "/health/live/", "/health/ready/", "/api/docs/", "/api/schema/"])
def test_what_every_service_answers(api_client: APIClient, path: str) -> None:
    """Health and documentation are there without signing in."""
    assert api_client.get(path, headers={"Accept": "*/*"}).status_code == 200
