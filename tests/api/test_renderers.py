"""Tests of JSON answers; values that JSON can't express are errors and are never replaced."""

import json
import logging
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils.translation import gettext_lazy
from rest_framework.test import APIClient

from bandstand.api.renderers import NoJSONForm, to_json
from tests.api import service

from .test_problems import problem_in


@dataclass
class Measure:
    value: float


class Thing:
    pass


LOOP: list[Any] = []
LOOP.append(LOOP)
WITHOUT_FORM = [
    ({"results": [{"mean": 1.0}, {"mean": math.nan}]}, "results.1.mean"),
    ([math.inf], "0"),
    ({"a": {"b": -math.inf}}, "a.b"),
    ({"price": Decimal("NaN")}, "price"),
    ({"price": [Decimal("-Infinity")]}, "price.0"),
    ({"measure": Measure(math.nan)}, "measure.value"),
    ({"rows": (number for number in (1.0, math.nan))}, "rows"),
    ({"a": [1, {"thing": Thing()}]}, "a.1.thing"),
    ({"a": [complex(1, 2)]}, "a.0"),
    ({"text": "half a pair \ud800"}, "text"),
    ({"a": {(1, 2): 3}}, "a"),
    (LOOP, "0.0"),
]


@pytest.mark.parametrize(("value", "path"), WITHOUT_FORM, ids=[path for _, path in WITHOUT_FORM])
def test_what_has_no_form_is_a_fault_with_a_path(value: Any, path: str) -> None:
    """Encoding a value that JSON can't express raises NoJSONForm with the path of the value."""
    if path == "rows":
        with pytest.raises(NoJSONForm, match="in an iterable"):
            to_json(value)
        return
    with pytest.raises(NoJSONForm, match="can't be written as JSON") as caught:
        to_json(value)
    assert caught.value.path.startswith(path)


def test_what_has_one_is_written() -> None:
    """Numbers, decimals, lazy texts, iterables and dataclasses are encoded, and None as null."""
    value = {
        "a": [1, 1.5, None, True], "b": Decimal("1.50"), "c": gettext_lazy("January"), "d": iter([1.5]),
        "e": Measure(0.0), "f": {"NaN": "Infinity"}, "g": {1.5, 2.5}, "h": (Decimal(0),), "i": 2**70,
    }  # fmt: skip
    written = json.loads(to_json(value))
    assert written == {
        "a": [1, 1.5, None, True], "b": "1.50", "c": "January", "d": [1.5], "e": {"value": 0.0},
        "f": {"NaN": "Infinity"}, "g": written["g"], "h": ["0"], "i": 2**70,
    }  # fmt: skip
    assert sorted(written["g"]) == [1.5, 2.5]


@pytest.mark.parametrize(
    ("value", "path"), [WITHOUT_FORM[0], WITHOUT_FORM[3], WITHOUT_FORM[7]], ids=["nan", "decimal", "thing"]
)
def test_the_client_gets_a_500_and_the_log_the_path(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: Any, path: str
) -> None:
    """The answer is a 500 that tells nothing about the value, and the log names its path."""
    monkeypatch.setattr(service, "ANSWER", value)
    with caplog.at_level(logging.ERROR):
        response = api.get("/api/v1/answer/")
    assert problem_in(response, 500)["code"] == "internal_error"
    assert path not in response.content.decode()
    assert f"the value at {path} is" in caplog.text


@pytest.mark.django_db
def test_a_write_whose_answer_has_no_form_is_undone(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is rolled back and its key is free, so that the client may try again."""
    monkeypatch.setattr(service, "ANSWER", {"mean": math.nan})
    headers = {"Idempotency-Key": "k"}
    problem_in(api.post("/api/v1/answer/", {}, headers=headers), 500)
    assert Group.objects.count() == 0
    monkeypatch.setattr(service, "ANSWER", {"mean": 1.0})
    assert api.post("/api/v1/answer/", {}, headers=headers).status_code == 200
    assert Group.objects.count() == 1
