import json
import subprocess
import sys
from typing import Any

import pytest
from drf_spectacular.validation import validate_schema
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from bandstand.api import rest_framework_settings, spectacular_settings

from .test_problems import problem_in


@pytest.fixture
def document(api: APIClient) -> dict[str, Any]:
    response = api.get("/api/schema/", headers={"Accept": "application/json"})
    assert response.status_code == 200
    document: dict[str, Any] = json.loads(response.content)
    return document


@pytest.mark.filterwarnings("ignore")  # views without a serializer, which the tests of errors need
def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    """Valid against OpenAPI's own schema."""
    assert document["openapi"].startswith("3.1")
    validate_schema(document)


def test_each_operation_says_what_errors_look_like(document: dict[str, Any]) -> None:
    """The problem document is the default answer."""
    operations = [
        operation for path in document["paths"].values() for operation in path.values() if "responses" in operation
    ]
    assert len(operations) > 10
    for operation in operations:
        schema = operation["responses"]["default"]["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}
    assert "code" in document["components"]["schemas"]["Problem"]["required"]


def test_real_problems_fit_the_schema(document: dict[str, Any], api: APIClient) -> None:
    """What is promised is what is sent."""
    import jsonschema

    schema = {**document["components"]["schemas"]["Problem"], "components": document["components"]}
    schema["additionalProperties"] = False
    for problem in (
        problem_in(api.get("/api/v1/nowhere/"), 404),
        problem_in(api.get("/api/v1/fail/validation/"), 400),
        problem_in(api.post("/api/v1/echo/", {"a": 1}, content_type="text/xml"), 415),
    ):
        jsonschema.validate(problem, schema)


def test_the_idempotency_key_is_a_parameter(document: dict[str, Any]) -> None:
    """Required where it is, and only where a view takes one."""

    def keys(path: str, method: str = "post") -> list[bool]:
        parameters = document["paths"][path][method].get("parameters", [])
        return [each["required"] for each in parameters if each["name"] == "Idempotency-Key" and each["in"] == "header"]

    assert keys("/api/v1/groups/") == [True]
    assert keys("/api/v1/groups/", "get") == []
    assert keys("/api/v1/echo/") == []
    optional = document["paths"]["/api/v1/groups/maybe/"]["post"]["parameters"]
    assert [each.get("required", False) for each in optional if each["name"] == "Idempotency-Key"] == [False]


def test_only_json_is_described(document: dict[str, Any]) -> None:
    """No forms and no files are promised."""
    assert list(document["paths"]["/api/v1/groups/"]["post"]["requestBody"]["content"]) == ["application/json"]


def test_the_pages_take_everything_from_this_service(api: APIClient, settings: Settings) -> None:
    """No script and no style from elsewhere; each asset is there, without collected static files."""
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
    page = api.get("/api/docs/", headers={"Accept": "text/html"})
    assert page.status_code == 200
    html = page.content.decode()
    assert "http://" not in html
    assert "https://" not in html
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    names = ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "favicon-32x32.png"]
    for name in names:
        assert f"/api/docs/assets/{name}" in html
        asset = api.get(f"/api/docs/assets/{name}", headers={"Accept": "*/*"})
        assert asset.status_code == 200
        assert len(asset.content) > 500
        assert "max-age" in asset.headers["Cache-Control"]
    script = api.get("/api/docs/?script=", headers={"Accept": "*/*"})
    assert script.status_code == 200
    assert b"/api/schema/" in script.content


@pytest.mark.parametrize("name", ["../settings.py", "..%2f..%2fsettings.py", "LICENSE", "swagger-ui.js.map", ""])
def test_no_other_file_is_served(api: APIClient, name: str) -> None:
    """The names are a list, not a folder."""
    assert api.get(f"/api/docs/assets/{name}").status_code == 404


def test_settings_can_be_imported_while_settings_are_read() -> None:
    """`settings.py` imports these names; REST framework, which reads settings on import, must not come with them."""
    code = (
        "import sys; from bandstand.api import rest_framework_settings, spectacular_settings\n"
        "rest_framework_settings(), spectacular_settings('x', '1')\n"
        "print([name for name in sys.modules if name.startswith(('rest_framework', 'drf_spectacular'))])"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert output.stdout.strip() == "[]"


def test_single_keys_can_be_replaced() -> None:
    """The rest stays as it is."""
    assert rest_framework_settings(PAGE_SIZE=5)["PAGE_SIZE"] == 5
    assert "EXCEPTION_HANDLER" in rest_framework_settings(PAGE_SIZE=5)
    assert spectacular_settings("t", "1", DESCRIPTION="d")["DESCRIPTION"] == "d"
