"""A table of who may do what is held against the routes."""

import pytest
from rest_framework.test import APIClient

from bandstand.testing.policies import Endpoint, PolicyMatrix, api_endpoints

ROWS = {
    "GET /api/v1/groups/": (200, 401),
    "POST /api/v1/groups/": (400, 401),
    "GET /api/v1/groups/{pk}/": (404, 401),
    "GET /api/v1/careless/": (200, 401),
    "POST /api/v1/careless/": (500, 401),
    "PUT /api/v1/careless/": (400, 401),
}


def matrix(rows: dict[str, tuple[int, int]]) -> PolicyMatrix:
    return PolicyMatrix(roles=("member", "stranger"), rows=rows)


def test_a_complete_table_passes() -> None:
    """Every endpoint below the path has a row; what is not below it needs none."""
    matrix(ROWS).assert_complete(below="/api/v1/")


def test_an_endpoint_without_a_row_is_named() -> None:
    """So nobody adds a route and forgets who may use it."""
    rows = {name: row for name, row in ROWS.items() if name != "POST /api/v1/groups/"}
    with pytest.raises(AssertionError, match=r"POST /api/v1/groups/ is in no row: who may use it\?"):
        matrix(rows).assert_complete(below="/api/v1/")


def test_a_row_without_an_endpoint_is_named() -> None:
    """So a table never speaks of what is no longer there."""
    with pytest.raises(AssertionError, match=r"DELETE /api/v1/groups/ has a row, but no route\."):
        matrix({**ROWS, "DELETE /api/v1/groups/": (204, 401)}).assert_complete(below="/api/v1/")


def test_a_function_can_not_be_seen_into() -> None:
    """A route whose methods are unknown is a fault, never a gap."""
    with pytest.raises(AssertionError, match="/api/v3/function/ is a function"):
        api_endpoints()


def test_regular_expressions_are_paths() -> None:
    """A route that is written as one, as REST framework's router does, reads as any other."""
    found = {endpoint.path for endpoint in api_endpoints(below="/api/v4/")}
    assert found == {"/api/v4/careless/{year}/"}


def test_cells_are_all_of_the_table() -> None:
    """Each endpoint with each role, and the status of that cell."""
    cells = [(str(cell.values[0]), *cell.values[1:]) for cell in matrix(ROWS).cells()]
    assert len(cells) == len(set(cells)) == 12
    assert ("GET /api/v1/groups/", "member", 200) in cells
    assert ("PUT /api/v1/careless/", "stranger", 401) in cells


def test_the_others_are_what_the_table_lacks() -> None:
    """Every method that a path does not know; HEAD and OPTIONS come with the framework."""
    others = {str(parameter.values[0]) for parameter in matrix(ROWS).others()}
    assert "DELETE /api/v1/groups/{pk}/" in others
    assert not others & set(ROWS)
    assert len(others) == 3 * 6 - len(ROWS)


def test_rows_are_as_long_as_the_roles() -> None:
    """A row with a cell too few is a mistake in the table."""
    with pytest.raises(ValueError, match="has 1 statuses for 2 roles"):
        PolicyMatrix(roles=("a", "b"), rows={"GET /x/": (200,)})
    with pytest.raises(ValueError, match="is not an endpoint"):
        Endpoint.parse("/api/v1/groups/")


@pytest.mark.django_db
def test_an_endpoint_is_called(client: APIClient) -> None:
    """With the values of its path, and a body as JSON."""
    created = Endpoint.parse("POST /api/v1/groups/").call(client, {"name": "a", "lines": []})
    assert created.status_code == 201
    found = Endpoint.parse("GET /api/v1/groups/{pk}/").call(client, pk=created.json()["id"])
    assert found.json()["name"] == "a"
    assert Endpoint.parse("TRACE /api/v1/groups/").call(client).status_code == 405
