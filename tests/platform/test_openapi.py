"""The OpenAPI documents of the running shop, checked with independent programs that read them.

A client that openapi-python-client makes of the documents buys through the gateway, and the requests that Schemathesis
makes of them are answered as they say. Schemathesis changes and deletes data, so it has a shop of its own.
"""

import json
import os
import subprocess
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.platform.conftest import ROOT, Shop, SignIn, copy_shop, running
from tests.platform.openapi.environment import FOLDER, run_program
from tests.waiting import GUARD

pytestmark = pytest.mark.platform

SERVICES = ("user-service", "product-service", "order-service", "notification-service")
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance",
)  # fmt: skip
# Generated cases of each operation, beside those that cover each keyword of its schema.
CASES = 200 if os.environ.get("BANDSTAND_TEST_LONG") else 10


def document_of(shop: Shop, service: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{shop.services[service]}/api/schema/?format=json", timeout=GUARD) as response:
        document: dict[str, Any] = json.loads(response.read())
    return document


def write_document(document: dict[str, Any], folder: Path) -> Path:
    path = folder / "openapi.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="module")
def clients(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generated package for each service: user_client, product_client and so on."""
    folder = tmp_path_factory.mktemp("clients")
    for service in SERVICES:
        path = write_document(document_of(shop, service), folder)
        package = folder / service.replace("-service", "_client")
        made = run_program(
            "openapi-python-client", "generate", "--path", path, "--meta", "none", "--output-path", package,
            "--fail-on-warning", folder=folder,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
    return folder


def test_a_generated_client_buys_through_the_gateway(shop: Shop, clients: Path) -> None:
    """A generated client registers, signs in, browses, orders, and sees the confirmed order and the notifications."""
    email = f"generated-{uuid.uuid4().hex[:8]}@example.com"
    path = f"{clients}:{ROOT}"
    bought = run_program(
        "python", FOLDER / "purchase.py", shop.gateway, email, folder=clients, PYTHONPATH=path, PYTHONSAFEPATH="1"
    )
    assert bought.returncode == 0, bought.stdout + bought.stderr
    seen = json.loads(bought.stdout)
    assert seen["email"] == email
    assert seen["status"] == "confirmed"
    assert seen["total"] == seen["price"]
    assert seen["of_user"] == 1
    assert seen["notes"]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop for these tests alone, without the limits for each address: Schemathesis sends thousands of requests."""
    folder = copy_shop(tmp_path_factory.mktemp("schemathesis"))
    manifest = folder / "bandstand.toml"
    source = manifest.read_text()
    manifest.write_text(source.replace("minute = 100", "minute = 100000").replace("hour = 1000 ", "hour = 100000 "))
    with (folder / "user-service" / "user_service" / "settings.py").open("a") as settings:
        settings.write('REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]["login-address"] = "100000/min"\n')
    with running(folder) as shop:
        yield shop


@pytest.fixture
def tokens(target: Shop) -> dict[str, str]:
    """A new token of a customer and one of staff for each test, since a token expires within minutes."""
    staff = SignIn(client=target.client, email="admin@example.com", password="bandstand-demo")
    return {"customer": target.person("tester").client.bearer(), "staff": staff.token()}


@pytest.fixture
def schemathesis(
    target: Shop, tokens: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Schemathesis on a document against the gateway, with the seed of this run of the tests."""
    seed = request.config.getoption("randomly_seed", default=1)

    def run(document: dict[str, Any], role: str, *options: object) -> subprocess.CompletedProcess[str]:
        return run_program(
            "st", "run", write_document(document, tmp_path), "--url", target.gateway,
            "-H", f"Authorization: Bearer {tokens[role]}", "--checks", ",".join(CHECKS), "--seed", seed,
            "--max-examples", CASES, "--no-shrink", "--suppress-health-check", "all", *options, folder=tmp_path,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("service", "role"),
    [
        ("user-service", "customer"),
        ("user-service", "staff"),
        ("product-service", "staff"),
        ("order-service", "customer"),
        ("notification-service", "customer"),
    ],
)
def test_the_shop_answers_as_its_documents_say(target: Shop, schemathesis: Any, service: str, role: str) -> None:
    """Right and wrong requests get a status, a media type and a body that the document names, and never a fault."""
    document = document_of(target, service)
    run = schemathesis(document, role, "--phases", "examples,coverage,fuzzing")
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"Tested: {sum(map(len, document['paths'].values()))}\n" in run.stdout


def wrong_type(operation: dict[str, Any], document: dict[str, Any]) -> None:
    document["components"]["schemas"]["Product"]["properties"]["name"] = {"type": "integer"}


def missing_status(operation: dict[str, Any], document: dict[str, Any]) -> None:
    operation["responses"] = {"404": operation["responses"]["404"]}


def wrong_media_type(operation: dict[str, Any], document: dict[str, Any]) -> None:
    content = operation["responses"]["200"]["content"]
    content["application/xml"] = content.pop("application/json")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (wrong_type, "Response violates schema"),
        (missing_status, "Undocumented status code"),
        (wrong_media_type, "Undocumented Content-Type"),
    ],
)
def test_a_document_that_says_something_else_is_found(
    target: Shop, schemathesis: Any, change: Callable[..., None], found: str
) -> None:
    """The checks above can fail."""
    document = document_of(target, "product-service")
    change(document["paths"]["/api/v1/products/"]["get"], document)
    run = schemathesis(document, "staff", "--include-operation-id", "products_list", "--phases", "coverage")
    assert run.returncode == 1, run.stdout + run.stderr
    assert found in run.stdout
