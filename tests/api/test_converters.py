"""Tests of UUIDs in addresses, which name the same object in either case."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.urls import resolve, reverse
from rest_framework.test import APIClient

from bandstand.api import IdempotencyRecord, converters

from .test_problems import problem_in

THING = "8e03978e-40d5-43dd-bc93-6894a57f9324"
MIXED = "8E03978e-40D5-43dd-BC93-6894a57f9324"


@pytest.mark.parametrize("spelling", [THING, THING.upper(), MIXED])
def test_a_uuid_is_found_in_any_case(api: APIClient, spelling: str) -> None:
    """The view receives the same UUID, and reversing a route writes it in lower case."""
    answer = api.get(f"/api/v1/things/{spelling}/")
    assert answer.json() == {"id": THING, "type": "UUID"}
    match = resolve(f"/api/v1/things/{spelling}/")
    assert str(match.kwargs["pk"]) == THING
    assert reverse(match.func, kwargs=match.kwargs) == f"/api/v1/things/{THING}/"


OTHER_FORMS = [
    THING.replace("-", ""), f"{{{THING}}}", f"urn:uuid:{THING}", THING[:-1], f"{THING}0", f" {THING[1:]}",
    THING.replace("e", "g", 1), THING.replace("8", "\u0668"), f"{THING[:-2]}_4",
]  # fmt: skip


@pytest.mark.parametrize("text", OTHER_FORMS)
def test_nothing_else_is_an_id(api: APIClient, text: str) -> None:
    """Other forms of a UUID, other digits and underscores are 404, since they would be second addresses."""
    problem_in(api.get(f"/api/v1/things/{text}/"), 404)


@pytest.mark.django_db
def test_a_repetition_in_another_case_is_the_same_request(api: APIClient) -> None:
    """The work is done once, and the key is not refused as used for something else."""
    answers = [
        api.post(f"/api/v1/things/{spelling}/", {}, headers={"Idempotency-Key": "k"}) for spelling in (THING, MIXED)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert Group.objects.count() == IdempotencyRecord.objects.count() == 1


@pytest.mark.django_db
def test_another_object_is_another_request(api: APIClient) -> None:
    """A key that is reused for another object or another query is refused."""
    other = THING.replace("8", "9", 1)
    for address in (f"/api/v1/things/{THING}/", f"/api/v1/things/{other}/", f"/api/v1/things/{THING}/?a=1"):
        answer: Any = api.post(address, {}, headers={"Idempotency-Key": "k"})
        if address == f"/api/v1/things/{THING}/":
            assert answer.status_code == 201
        else:
            assert problem_in(answer, 422)["code"] == "idempotency_key_reused"


def test_it_can_be_registered_again() -> None:
    """Django sets its apps up more than once in some test suites."""
    converters.register()
    converters.register()


def test_the_document_says_that_it_is_a_uuid(api: APIClient) -> None:
    """The parameter has the schema that Django's own converter has."""
    document = api.get("/api/schema/", headers={"Accept": "application/json"}).json()
    (parameter,) = document["paths"]["/api/v1/things/{id}/"]["get"]["parameters"]
    assert parameter["schema"] == {"type": "string", "format": "uuid"}
