import json
import subprocess
import sys
from typing import Any

import pytest
from drf_spectacular.validation import validate_schema
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from bandstand.api import rest_framework_settings, spectacular_settings
from bandstand.testing.project import openapi_faults

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


def operations_of(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path.removeprefix("/api/v1")): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "responses" in operation
    }


def test_each_operation_says_what_errors_look_like(document: dict[str, Any]) -> None:
    """Each possible status has a response of its own, with the problem document and an example."""
    operations = operations_of(document)
    assert len(operations) > 10
    for operation in operations.values():
        assert "default" not in operation["responses"]
        assert {"400", "406", "500", "503", "504"} <= set(operation["responses"])
    for response in document["components"]["responses"].values():
        content = response["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert response["description"]
        assert content["examples"]
    assert "code" in document["components"]["schemas"]["Problem"]["required"]


@pytest.mark.parametrize(
    ("operation", "named", "absent"),
    [
        (("POST", "/groups/"), {"201", "401", "409", "411", "413", "415", "422"}, {"403", "404", "429"}),
        (("GET", "/groups/"), {"200", "404"}, {"409", "413", "422"}),
        (("DELETE", "/groups/{id}/"), {"204", "404", "409"}, {"413", "422"}),
        (("GET", "/members/"), {"401", "429"}, {"403"}),
        (("POST", "/documented/"), {"201", "404", "418", "503"}, {"422"}),
    ],
)
def test_an_operation_names_the_statuses_that_can_come(
    document: dict[str, Any], operation: tuple[str, str], named: set[str], absent: set[str]
) -> None:
    """The statuses follow from permissions, throttles, pagination, idempotency keys and declared errors."""
    statuses = set(operations_of(document)[operation]["responses"])
    assert named <= statuses
    assert not absent & statuses


def test_the_errors_of_an_action_have_their_codes(document: dict[str, Any]) -> None:
    """The examples of a response are named by the error codes that an action may answer with."""
    responses = operations_of(document)["POST", "/documented/"]["responses"]
    assert set(responses["418"]["content"]["application/problem+json"]["examples"]) == {"teapot"}
    assert set(responses["503"]["content"]["application/problem+json"]["examples"]) == {"circuit_open"}
    keys = operations_of(document)["POST", "/groups/"]["responses"]
    assert set(keys["400"]["content"]["application/problem+json"]["examples"]) == {
        "idempotency_key_missing",
        "idempotency_key_invalid",
    }


def test_each_operation_has_a_summary(document: dict[str, Any]) -> None:
    """The summary is the first sentence of the docstring, or else made of the name of the action."""
    operations = operations_of(document)
    assert all(operation["summary"] for operation in operations.values())
    summaries = {key: operation["summary"] for key, operation in operations.items()}
    assert summaries["GET", "/groups/"] == "List groups"
    assert summaries["PATCH", "/groups/{id}/"] == "Change a group"
    assert summaries["POST", "/documented/"] == "Brew coffee, e.g. with milk"


def test_examples_are_made_of_the_fields(document: dict[str, Any]) -> None:
    """Examples prefer the serializer's own values, keep to bounds, and omit read-only or write-only fields."""
    operation = operations_of(document)["POST", "/documented/"]
    sent = operation["requestBody"]["content"]["application/json"]["examples"]["Example"]["value"]
    assert sent == {
        "name": "Desk lamp", "price": "2.50", "count": 5, "kind": "a", "tags": ["text"],
        "key": sent["key"], "at": sent["at"], "secret": "secret..", "lines": [{"product": "product", "quantity": 1}],
    }  # fmt: skip
    answered = operation["responses"]["201"]["content"]["application/json"]["examples"]["Example"]["value"]
    assert set(answered) == (set(sent) - {"secret"}) | {"id"}
    page = operations_of(document)["GET", "/groups/"]["responses"]["200"]["content"]["application/json"]["examples"]
    assert page["Example"]["value"] == {
        "count": 1, "next": None, "previous": None, "results": [{"id": 1, "name": "name"}],
    }  # fmt: skip


def test_lists_and_pages_have_bounds(document: dict[str, Any]) -> None:
    """The schema gives the least and greatest length of lists, and the bounds of pages and their sizes."""
    lines = document["components"]["schemas"]["DocumentedRequest"]["properties"]["lines"]
    assert (lines["minItems"], lines["maxItems"]) == (1, 5)
    parameters = {each["name"]: each["schema"] for each in operations_of(document)["GET", "/groups/"]["parameters"]}
    assert parameters["page"]["minimum"] == 1
    assert parameters["page_size"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    page = document["components"]["schemas"]["PaginatedGroupList"]
    assert page["properties"]["next"]["type"] == ["string", "null"]
    assert "nullable" not in json.dumps(document)


def test_what_the_documents_of_a_service_leave_open_is_found(document: dict[str, Any]) -> None:
    """A missing summary, a default response, a missing example and an invalid example are reported."""
    operation = operations_of(document)["POST", "/documented/"]
    whole = {**document, "paths": {"/x/": {"post": operation}}}
    assert openapi_faults(whole) == []
    del operation["summary"]
    operation["responses"]["default"] = {}
    operation["requestBody"]["content"]["application/json"]["examples"]["Example"]["value"]["count"] = 1
    operation["responses"]["201"]["content"]["application/json"]["examples"] = {}
    found = " ".join(openapi_faults(whole))
    for fault in ("no summary", "one answer for all", "refuses at $.count", "has no example"):
        assert fault in found


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("?format=json", "*/*", "application/json"),
        ("?format=json", "text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("?format=json", "application/vnd.oai.openapi", "application/json"),
        ("?format=yaml", "application/json", "application/vnd.oai.openapi"),
        ("", "application/json", "application/json"),
        ("", "application/vnd.oai.openapi+json", "application/vnd.oai.openapi+json"),
        ("", "*/*", "application/vnd.oai.openapi"),
    ],
)
def test_the_document_comes_in_the_format_that_is_asked_for(
    api: APIClient, query: str, accept: str, media_type: str
) -> None:
    """The query parameter ``format`` decides, or else the Accept header."""
    response = api.get(f"/api/schema/{query}", headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["Content-Type"].partition(";")[0] == media_type
    assert response.content.startswith(b"{") == ("json" in media_type)
    suffix = "json" if "json" in media_type else "yaml"
    assert response.headers["Content-Disposition"].endswith(f'.{suffix}"')


def test_a_format_that_there_is_not(api: APIClient) -> None:
    """An unknown format is 404 with a problem document."""
    problem_in(api.get("/api/schema/?format=xml"), 404)


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
