"""The project as a whole: settings, migrations, the OpenAPI document, what is public."""

import pytest
from bandstand.testing.project import deployment_faults, manage, openapi_document, openapi_faults
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
    assert set(document["paths"]) == {
        "/api/v1/users/",
        "/api/v1/users/authenticate/",
        "/api/v1/users/token/refresh/",
        "/api/v1/users/token/revoke/",
        "/api/v1/users/{id}/",
        "/api/v1/users/{id}/profile/",
        "/api/v1/users/{id}/change_password/",
        "/api/v1/users/{id}/orders/",
    }
    tokens = document["components"]["schemas"]["Tokens"]
    assert set(tokens["properties"]) == {"token", "refresh", "user"}
    assert "password" not in document["components"]["schemas"]["User"]["properties"]


@pytest.mark.django_db
def test_anybody_gets_the_public_keys(api_client: APIClient) -> None:
    """The key set that verifies user tokens is public, and holds no private part."""
    response = api_client.get("/.well-known/jwks.json")
    assert response.status_code == 200
    assert [set(key) & {"kty", "x", "d"} for key in response.json()["keys"]] == [{"kty", "x"}]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/health/", "/health/live/", "/health/ready/", "/api/docs/", "/api/schema/"])
def test_what_every_service_answers(api_client: APIClient, path: str) -> None:
    """Health and documentation are there without signing in."""
    assert api_client.get(path, headers={"Accept": "*/*"}).status_code == 200


def test_the_browsable_api_is_for_development(api_client: APIClient) -> None:
    """REST framework's login exists with DEBUG on only."""
    assert api_client.get("/api/auth/login/").status_code == 404
    code = "from django.urls import reverse; print(reverse('rest_framework:login'))"
    shell = manage("shell", "--no-imports", "-c", code, DEBUG="true")
    assert shell.stdout.strip() == "/api/auth/login/", shell.stderr
