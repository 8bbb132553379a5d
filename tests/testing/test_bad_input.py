"""The corpus finds what it is for: an answer that is the service's own failure."""

import logging
from itertools import count

import pytest
from django.contrib.auth.models import Group
from rest_framework.test import APIClient

from bandstand.testing.bad_input import (
    assert_withstands_bodies,
    assert_withstands_content_types,
    assert_withstands_headers,
    assert_withstands_paths,
    assert_withstands_queries,
)

pytestmark = pytest.mark.django_db

GROUPS = "/api/v1/groups/"
EXAMPLE = {"name": "a", "lines": [{"quantity": 1}]}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What these views log is known."""
    caplog.set_level(logging.CRITICAL, logger="django.request")


def test_a_careful_service_withstands_everything(client: APIClient) -> None:
    """Hundreds of bad requests of every kind to a viewset on the library's defaults; none leaves a trace."""
    bodies = assert_withstands_bodies(client, "POST", GROUPS, example=EXAMPLE)
    types = assert_withstands_content_types(client, "POST", GROUPS)
    queries = assert_withstands_queries(client, GROUPS, parameters=("page", "page_size"))
    paths = assert_withstands_paths(client, "GET", GROUPS + "{pk}/")
    headers = assert_withstands_headers(client, "POST", GROUPS, names=("Accept", "Authorization"), body=EXAMPLE)
    assert sum(each.total() for each in (bodies, types, queries, paths, headers)) > 400
    assert set(types) == {415}
    assert bodies[201] > 10, "some values are odd, but good"
    assert not Group.objects.exists()


def test_a_careless_view_is_found_by_a_body(client: APIClient) -> None:
    """Each body that breaks the view is listed with what was in which place, and the answer."""
    with pytest.raises(AssertionError) as caught:
        assert_withstands_bodies(client, "POST", "/api/v1/careless/", example=EXAMPLE)
    text = str(caught.value)
    assert "POST /api/v1/careless/ with null at lines.0.quantity: 500" in text
    assert "POST /api/v1/careless/ with nothing at lines: 500" in text
    assert "zero at lines.0.quantity" not in text


def test_a_careless_view_is_found_by_a_query(client: APIClient) -> None:
    """So is each query."""
    with pytest.raises(AssertionError, match=r"GET /api/v1/careless/\?page=abc: 500"):
        assert_withstands_queries(client, "/api/v1/careless/", parameters=("page",))


def test_an_error_that_is_no_problem_document_is_found(client: APIClient) -> None:
    """A client that understands problem documents must never meet anything else."""
    with pytest.raises(AssertionError, match="400 as application/json, which is no problem document"):
        assert_withstands_content_types(client, "PUT", "/api/v1/careless/")


def test_what_should_not_be_there_is_found(client: APIClient) -> None:
    """A path with an id that is none must not lead anywhere."""
    with pytest.raises(AssertionError, match="something was found where nothing is"):
        assert_withstands_paths(client, "GET", "/api/v2/everything/{name}/")


def test_headers_can_be_new_for_each_request(client: APIClient) -> None:
    """A function makes them, so that an idempotency key is used once."""
    numbers = count()

    def headers() -> dict[str, str]:
        return {"X-Trace": str(next(numbers))}

    sent = assert_withstands_headers(client, "GET", "/api/v1/careless/", names=("X-Other",), headers=headers)
    assert next(numbers) == sent.total()
