import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.utils import timezone
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from bandstand.api import IdempotencyRecord, Idempotent, StrictJSONParser, idempotency, idempotent, purge_expired
from bandstand.context import bind, new_context

from .test_problems import problem_in

pytestmark = pytest.mark.django_db


def create(api: APIClient, name: str = "a", key: str | None = "key-1", **extra: Any) -> Any:
    headers = {**({"Idempotency-Key": key} if key is not None else {}), **extra.pop("headers", {})}
    return api.post("/api/v1/groups/", {"name": name, **extra.pop("body", {})}, headers=headers, **extra)


def test_a_repetition_gets_the_first_answer(api: APIClient) -> None:
    """Byte for byte, with its status and Location, and marked; the effect happens once."""
    first, second = create(api), create(api)
    assert first.status_code == second.status_code == 201
    assert first.content == second.content
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Content-Type"] == first.headers["Content-Type"]
    assert second.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert Group.objects.count() == 1


def test_another_order_of_keys_is_the_same_request(api: APIClient) -> None:
    """White space and order mean nothing in JSON."""
    bodies = [b'{"name":"a","price":"1.50"}', b' { "price" : "1.50" , "name":"a" } ']
    answers = [
        api.generic("POST", "/api/v1/groups/", body, content_type="application/json", headers={"Idempotency-Key": "k1"})
        for body in bodies
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert Group.objects.count() == 1


def test_another_content_is_refused(api: APIClient) -> None:
    """The key belongs to the first request."""
    create(api, "a")
    assert problem_in(create(api, "b"), 422)["code"] == "idempotency_key_reused"
    assert Group.objects.count() == 1


def test_a_required_key_must_be_sent(api: APIClient) -> None:
    """400, and nothing happens."""
    assert problem_in(create(api, key=None), 400)["code"] == "idempotency_key_missing"
    assert problem_in(create(api, key="  "), 400)["code"] == "idempotency_key_missing"
    assert Group.objects.count() == 0


@pytest.mark.parametrize("key", ["", "  ", '""'])
def test_an_optional_key_that_is_empty_is_refused(api: APIClient, key: str) -> None:
    """An empty key is refused rather than ignored, since its sender asked for protection."""
    response = api.post("/api/v1/groups/maybe/", {"name": "a"}, headers={"Idempotency-Key": key})
    assert problem_in(response, 400)["code"] == "idempotency_key_invalid"
    assert Group.objects.count() == 0


def test_an_optional_key_may_be_left_out(api: APIClient) -> None:
    """Then each request has its effect; with one it has it once."""
    for key in (None, None, "k", "k"):
        headers = {"Idempotency-Key": key} if key else {}
        name = f"g{Group.objects.count()}" if key is None else "keyed"
        assert api.post("/api/v1/groups/maybe/", {"name": name}, headers=headers).status_code == 201
    assert Group.objects.count() == 3


@pytest.mark.parametrize(
    "key",
    [
        "x" * 256,
        "a\tb",
        "schlüssel",
        "a\x7fb",
        '"' + "x" * 256 + '"',
        '""',
        ' "" ',
        '"',
        '"""',
        '" "',
        '" a"',
        '"a "',
        '"\t"',
        '"a',
        '"a"b"',
        '"a", "b"',
        '"a";version=1',
        '"a\\"',
        '"a\\b"',
    ],
)
def test_a_key_is_printable_ascii_of_at_most_255(api: APIClient, key: str) -> None:
    """Anything else is refused before it comes near the database."""
    assert problem_in(create(api, key=key), 400)["code"] == "idempotency_key_invalid"


@pytest.mark.parametrize(
    "key", ["x", "x" * 255, "with spaces inside", "8e03978e-40d5-43dd-bc93-6894a57f9324", "{}';--"]
)
def test_any_other_key_is_taken(api: APIClient, key: str) -> None:
    """Also in quotes, as the draft writes it: the same key."""
    assert create(api, key=key).status_code == 201
    assert create(api, key=f'"{key}"' if len(key) < 255 else key).headers["Idempotency-Replayed"] == "true"


def test_a_key_in_quotes_is_read_as_a_string_of_structured_fields(api: APIClient) -> None:
    """The quoted form, with escaped quotes and backslashes, and the bare form are the same key."""
    assert create(api, key='say-"a"-\\').status_code == 201
    assert create(api, key='"say-\\"a\\"-\\\\"').headers["Idempotency-Replayed"] == "true"


def test_keys_belong_to_who_sent_them(api: APIClient) -> None:
    """Users and strangers do not see each other's answers."""
    for name, user in (("a", "1"), ("b", "2"), ("c", None)):
        headers = {"X-Test-User": user} if user else {}
        answer = create(api, name, headers=headers)
        assert answer.status_code == 201, answer.content
        assert answer.json()["name"] == name
    assert set(IdempotencyRecord.objects.values_list("caller", flat=True)) == {"user:1", "user:2", "anonymous"}


def test_a_service_has_keys_of_its_own(api: APIClient) -> None:
    """Also when it asks for a user who has used the same."""
    from rest_framework.request import Request
    from rest_framework.test import APIRequestFactory

    from bandstand.api.idempotency_identity import identity_of

    request = Request(APIRequestFactory().post("/x/", {}, format="json"), parsers=[StrictJSONParser()])
    with bind(new_context(service="order-service")):
        assert identity_of(request, "k").caller == "service:order-service"
    assert identity_of(request, "k").caller == "anonymous"


def test_keys_belong_to_a_route(api: APIClient) -> None:
    """One key on two routes is two keys."""
    create(api, "a", key="k")
    assert api.post("/api/v1/groups/maybe/", {"name": "b"}, headers={"Idempotency-Key": "k"}).status_code == 201
    assert Group.objects.count() == 2


@pytest.mark.parametrize(("name", "status"), [("refuse", 409), ("crash", 500), ("", 400), ("x" * 151, 400)])
def test_what_failed_left_nothing_and_may_be_tried_again(api: APIClient, name: str, status: int) -> None:
    """An answer that says no, an exception, a validation error: effect and key are undone together."""
    for _ in range(2):
        assert create(api, name).status_code == status
        assert Group.objects.count() == 0
        assert IdempotencyRecord.objects.count() == 0
    assert create(api, "fine").status_code == 201


def test_a_key_is_remembered_for_a_day(api: APIClient) -> None:
    """A minute before its time is over the answer is replayed; after it, the request is a new one."""
    first = create(api, "a").json()
    IdempotencyRecord.objects.update(expires_at=timezone.now() + timedelta(minutes=1))
    assert create(api, "a").json() == first
    IdempotencyRecord.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    Group.objects.all().delete()
    again = create(api, "a")
    assert again.status_code == 201
    assert "Idempotency-Replayed" not in again.headers
    record = IdempotencyRecord.objects.get()
    assert timedelta(hours=23) < record.expires_at - timezone.now() <= timedelta(hours=24)


def test_the_time_is_a_setting(api: APIClient, settings: Settings) -> None:
    """In seconds."""
    settings.BANDSTAND = {**settings.BANDSTAND, "API": {"IDEMPOTENCY_RETENTION": 60}}
    create(api)
    assert IdempotencyRecord.objects.get().expires_at < timezone.now() + timedelta(seconds=61)


def make_records(expired: int, alive: int) -> None:
    now = timezone.now()
    IdempotencyRecord.objects.bulk_create(
        IdempotencyRecord(
            caller="user:1", route="POST /x", key=str(number), fingerprint="f", created_at=now,
            expires_at=now + timedelta(seconds=-1 if number < expired else 60),
        )
        for number in range(expired + alive)
    )  # fmt: skip


def test_expired_rows_are_purged_in_batches() -> None:
    """Oldest first, and never one that still counts."""
    make_records(expired=25, alive=5)
    assert [purge_expired(limit=10) for _ in range(4)] == [10, 10, 5, 0]
    assert IdempotencyRecord.objects.count() == 5


def test_the_command_purges_all(capsys: pytest.CaptureFixture[str]) -> None:
    """And says how many."""
    make_records(expired=7, alive=1)
    call_command("purge_idempotency")
    assert "7" in capsys.readouterr().out
    assert IdempotencyRecord.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_requests_purge_now_and_then(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the commit, so that no request waits in its transaction; a purge that fails harms nobody."""
    make_records(expired=3, alive=0)
    monkeypatch.setattr(idempotency.random, "randrange", lambda _: 0)
    assert create(api).status_code == 201
    assert IdempotencyRecord.objects.count() == 1

    def fail(**_: Any) -> int:
        raise RuntimeError("no")

    monkeypatch.setattr(idempotency, "purge_expired", fail)
    assert create(api, "b", key="k2").status_code == 201


def test_a_key_in_flight_is_told(api: APIClient) -> None:
    """A row that is not completed: 409 with the time to wait."""
    now = timezone.now()
    create(api)
    IdempotencyRecord.objects.update(state=IdempotencyRecord.State.IN_FLIGHT, created_at=now)
    response = create(api)
    assert problem_in(response, 409)["code"] == "idempotency_key_in_flight"
    assert response.headers["Retry-After"] == "1"


def test_tooth_without_protection_each_request_has_its_effect(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same requests with the protection off."""
    monkeypatch.setattr(idempotency, "_once", lambda _identity, work: work())
    assert [create(api, name).status_code for name in ("a", "b", "c")] == [201] * 3
    assert Group.objects.count() == 3


def test_the_mixin_protects_what_the_class_writes_itself() -> None:
    """Inherited or overridden, named once; a method that is decorated already is left as it is."""

    class Base:
        def create(self) -> None: ...
        def other(self) -> None: ...

    class Inherits(Idempotent, Base): ...

    class Overrides(Idempotent, Base):
        def create(self) -> None: ...

    class Again(Overrides):
        def create(self) -> None: ...

    class Named(Idempotent, Base):
        idempotent_actions = ("other",)
        idempotency_required = False

    class Decorated(Idempotent, Base):
        @idempotent(required=False)
        def create(self) -> None: ...

    for cls in (Inherits, Overrides, Again):
        assert cls.create.idempotency_required is True
        assert not hasattr(cls.create.__wrapped__, "idempotency_required")
    assert Named.other.idempotency_required is False
    assert not hasattr(Named.create, "idempotency_required")
    assert Decorated.create.idempotency_required is False


def test_answers_without_a_body(api: APIClient) -> None:
    """What a view answers with Django's own response is kept as well."""
    answer = idempotency._content(idempotency.HttpResponse(b"\x00\x01", status=202, content_type="x/y"))
    assert answer == {"status": 202, "headers": {"Content-Type": "x/y"}, "body": b"\x00\x01"}
    assert json.loads(idempotency._content(idempotency.Response({"a": 1}))["body"]) == {"a": 1}
