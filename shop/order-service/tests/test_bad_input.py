"""Whatever comes in, the answer is never the service's own failure."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from bandstand.testing.bad_input import (
    assert_withstands_bodies,
    assert_withstands_content_types,
    assert_withstands_headers,
    assert_withstands_paths,
    assert_withstands_queries,
)
from rest_framework.test import APIClient

from orders.models import Order
from tests.conftest import BODY, LAMP, URL

pytestmark = pytest.mark.django_db


def new_key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def test_bodies(buyer: APIClient, others: Any, make_order: Callable[..., Order]) -> None:
    """A body of any kind is refused, or understood, and never breaks anything."""
    example = {"items": [{"product_id": LAMP["id"], "quantity": 2}]}
    assert_withstands_bodies(buyer, "POST", URL, example=example, headers=new_key)
    assert_withstands_bodies(buyer, "POST", f"{URL}{make_order().pk}/cancel/")


def test_content_types(buyer: APIClient) -> None:
    """A body of another type than JSON is refused."""
    assert set(assert_withstands_content_types(buyer, "POST", URL, headers=new_key)) == {415}


def test_queries(buyer: APIClient, make_order: Callable[..., Order]) -> None:
    """A query of any kind gets a page or a refusal."""
    make_order()
    assert_withstands_queries(buyer, URL, parameters=("status", "user_id", "ordering", "search", "page", "page_size"))


def test_paths(buyer: APIClient, db: None) -> None:
    """A path with an id that is none is not found."""
    assert_withstands_paths(buyer, "GET", URL + "{pk}/")
    assert_withstands_paths(buyer, "POST", URL + "{pk}/cancel/")


def test_headers(buyer: APIClient, others: Any) -> None:
    """A header of any kind is refused, or has no effect; the key above all."""
    names = ("Idempotency-Key", "Authorization", "Accept", "X-Correlation-ID", "traceparent", "X-Request-Timeout-Ms")
    assert_withstands_headers(buyer, "POST", URL, names=names, body=BODY, headers=new_key)
