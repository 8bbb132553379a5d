"""Signing in, staying signed in, signing out."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from bandstand.conf import get_settings
from bandstand.identity import verify_user_token
from bandstand.identity.hashers import Argon2PasswordHasher
from bandstand.testing.races import run_at_once
from django.db import connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from users import sign_in
from users.models import RefreshToken, TokenFamily, User

pytestmark = pytest.mark.django_db


def authenticate(client: APIClient, email: str, password: str, **more: Any) -> Any:
    return client.post("/api/v1/users/authenticate/", {"email": email, "password": password, **more})


def refresh(client: APIClient, token: str) -> Any:
    return client.post("/api/v1/users/token/refresh/", {"refresh": token})


def revoke(client: APIClient, token: str) -> Any:
    return client.post("/api/v1/users/token/revoke/", {"refresh": token})


def status_of(user: User, token: str) -> int:
    """Return how the service answers the user with an access token."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client.get(f"/api/v1/users/{user.pk}/").status_code


def test_the_right_password_gives_tokens(api_client: APIClient, alice: User, password: str) -> None:
    """E-mail address and password give a token that works, a refresh token and the user."""
    response = authenticate(api_client, "alice@example.com", password)
    assert response.status_code == 200, response.content
    body = response.json()
    assert set(body) == {"token", "refresh", "user", "device"}
    assert body["user"]["id"] == str(alice.pk)
    assert status_of(alice, body["token"]) == 200
    alice.refresh_from_db()
    assert alice.last_login is not None


@pytest.mark.parametrize("email", ["ALICE@example.com", " alice@EXAMPLE.com "])
def test_the_address_is_known_in_any_case(api_client: APIClient, alice: User, password: str, email: str) -> None:
    """Signing in does not depend on the shift key."""
    assert authenticate(api_client, email, password).status_code == 200


def test_every_refusal_is_the_same(api_client: APIClient, make_user: Callable[..., User], password: str) -> None:
    """Unknown, wrong password, inactive, without a password, no address: the answers can't be told apart."""
    make_user(email="known@example.com")
    make_user(email="inactive@example.com", is_active=False)
    make_user(email="nologin@example.com", password=None)
    answers = [
        authenticate(api_client, email, tried)
        for email, tried in [
            ("unknown@example.com", password),
            ("known@example.com", "wrong"),
            ("inactive@example.com", password),
            ("nologin@example.com", password),
            ("not an address", password),
        ]
    ]
    assert {answer.status_code for answer in answers} == {401}
    bodies = [{name: value for name, value in answer.json().items() if name != "correlation_id"} for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert {answer["WWW-Authenticate"] for answer in answers} == {"Bearer"}


@pytest.mark.parametrize("email", ["known@example.com", "unknown@example.com", "inactive@example.com"])
def test_every_refusal_costs_one_hash(
    make_user: Callable[..., User], monkeypatch: pytest.MonkeyPatch, email: str
) -> None:
    """A try costs one run of argon2 whether the address is known or not, so that the time tells nothing."""
    make_user(email="known@example.com")
    make_user(email="inactive@example.com", is_active=False)
    runs: list[str] = []
    for name in ("encode", "verify"):
        work = getattr(Argon2PasswordHasher, name)

        def counted(*args: Any, work: Any = work, name: str = name) -> Any:
            runs.append(name)
            return work(*args)

        monkeypatch.setattr(Argon2PasswordHasher, name, counted)
    assert sign_in.authenticate(email, "wrong") is None
    assert len(runs) == 1


def test_an_expired_token_does_not_keep_anybody_out(api_client: APIClient, alice: User, password: str) -> None:
    """Signing in and refreshing ignore whatever token comes along."""
    api_client.credentials(HTTP_AUTHORIZATION="Bearer expired")
    response = authenticate(api_client, "alice@example.com", password)
    assert response.status_code == 200
    assert refresh(api_client, response.json()["refresh"]).status_code == 200


def test_ten_tries_for_one_account(api_client: APIClient, alice: User, password: str) -> None:
    """After too many tries on one account even the right password gets 429, with the time to wait."""
    statuses = [authenticate(api_client, "alice@example.com", "wrong").status_code for _ in range(12)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    refused = authenticate(api_client, "ALICE@example.com", password)
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0


def test_who_guesses_does_not_lock_the_owner_out(api_client: APIClient, alice: User, password: str) -> None:
    """After ten tries of a stranger the owner can still sign in from a known device, and from no other."""
    device = authenticate(api_client, "alice@example.com", password).json()["device"]
    for _ in range(12):
        authenticate(api_client, "alice@example.com", "wrong")
    assert authenticate(api_client, "alice@example.com", password).status_code == 429
    answer = authenticate(api_client, "alice@example.com", password, device=device)
    assert answer.status_code == 200, answer.content
    statuses = [
        authenticate(api_client, "alice@example.com", "wrong", device=answer.json()["device"]).status_code
        for _ in range(11)
    ]
    assert statuses == [401] * 10 + [429]


def test_a_device_tells_nothing_of_accounts(api_client: APIClient, alice: User, password: str) -> None:
    """A wrong password gets the same answer with and without a device token, for any account, existing or not."""
    device = authenticate(api_client, "alice@example.com", password).json()["device"]
    addresses = ("alice@example.com", "unknown@example.com")
    answers = [authenticate(api_client, email, "wrong", device=device) for email in addresses]
    answers += [authenticate(api_client, email, "wrong") for email in addresses]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1


def test_only_guesses_count(api_client: APIClient, alice: User, password: str) -> None:
    """Signing in often locks nobody out, and gives nobody more guesses."""
    for _ in range(12):
        assert authenticate(api_client, "alice@example.com", password).status_code == 200
    statuses = [authenticate(api_client, "alice@example.com", "wrong").status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]


def test_a_refresh_token_works_once(api_client: APIClient, alice: User, password: str) -> None:
    """Refreshing gives new tokens, and the old refresh token is spent."""
    first = authenticate(api_client, "alice@example.com", password).json()
    second = refresh(api_client, first["refresh"]).json()
    assert second["refresh"] != first["refresh"]
    assert second["user"] == first["user"]
    assert status_of(alice, second["token"]) == 200
    assert refresh(api_client, second["refresh"]).status_code == 200


def test_a_stolen_refresh_token_ends_the_sign_in(api_client: APIClient, alice: User, password: str) -> None:
    """A spent refresh token that comes back ends its whole family, and the access tokens with it."""
    first = authenticate(api_client, "alice@example.com", password).json()
    other_device = authenticate(api_client, "alice@example.com", password).json()
    second = refresh(api_client, first["refresh"]).json()
    assert refresh(api_client, first["refresh"]).status_code == 401
    assert refresh(api_client, second["refresh"]).status_code == 401
    assert status_of(alice, second["token"]) == 401
    assert status_of(alice, other_device["token"]) == 200


@pytest.mark.django_db(transaction=True)
def test_two_exchanges_at_once_are_one_and_a_reuse(alice: User) -> None:
    """However many exchange one token at the same moment: one gets tokens, and the sign-in is over."""
    tokens = sign_in.sign_in(alice)
    assert tokens is not None
    answers = run_at_once(4, lambda _: sign_in.refresh(tokens.refresh))
    assert sum(answer is not None for answer in answers) == 1
    assert not TokenFamily.objects.active().exists()


@pytest.mark.django_db(transaction=True)
def test_nothing_is_handed_out_after_signing_out(alice: User) -> None:
    """An exchange that begins while the sign-in is being ended waits for the end, and gets nothing."""
    tokens = sign_in.sign_in(alice)
    assert tokens is not None
    revoked, answered = threading.Event(), threading.Event()

    def sign_out() -> None:
        with transaction.atomic():
            sign_in.revoke(tokens.refresh)
            revoked.set()
            while not answered.is_set() and not somebody_waits():
                pass
        connection.close()

    thread = threading.Thread(target=sign_out)
    thread.start()
    revoked.wait(timeout=10)
    try:
        assert sign_in.refresh(tokens.refresh) is None
    finally:
        answered.set()
        thread.join()


def somebody_waits() -> bool:
    """Return whether a session of this database waits for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_a_sign_in_does_not_last_for_ever(api_client: APIClient, alice: User, password: str) -> None:
    """Refreshing does not prolong a sign-in; once it is over, the password is needed, and its rows go."""
    token = authenticate(api_client, "alice@example.com", password).json()["refresh"]
    TokenFamily.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert refresh(api_client, token).status_code == 401
    authenticate(api_client, "alice@example.com", password)
    assert TokenFamily.objects.count() == RefreshToken.objects.count() == 1


def test_signing_out_ends_the_sign_in(api_client: APIClient, alice: User, password: str) -> None:
    """Revoking a refresh token ends its family: neither it nor the access token is accepted here any more."""
    tokens = authenticate(api_client, "alice@example.com", password).json()
    assert revoke(api_client, tokens["refresh"]).status_code == 204
    assert refresh(api_client, tokens["refresh"]).status_code == 401
    assert status_of(alice, tokens["token"]) == 401


def test_revoking_what_is_unknown_is_no_error(api_client: APIClient) -> None:
    """Whoever signs out is signed out, whatever the token was."""
    assert revoke(api_client, "unknown").status_code == 204


def test_a_deactivated_user_is_out_at_once(api_client: APIClient, alice: User, password: str) -> None:
    """Neither access nor refresh tokens of an inactive user are accepted."""
    tokens = authenticate(api_client, "alice@example.com", password).json()
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert status_of(alice, tokens["token"]) == 401
    assert refresh(api_client, tokens["refresh"]).status_code == 401


def test_rights_are_those_of_now(staff: User, signed_in: Callable[[User], APIClient]) -> None:
    """Who is no longer staff has no rights of staff here, whatever the token says."""
    client = signed_in(staff)
    assert client.get("/api/v1/users/").status_code == 200
    User.objects.filter(pk=staff.pk).update(is_staff=False)
    assert client.get("/api/v1/users/").status_code == 403


def test_a_token_without_a_sign_in_is_refused(alice: User, bob: User, user_token: Callable[..., str]) -> None:
    """A well-signed token that belongs to no sign-in of this user gives nothing here."""
    tokens = sign_in.sign_in(bob)
    assert tokens is not None
    others = str(TokenFamily.objects.get().pk)
    for claims in ({}, {"sid": others}, {"sid": 7}, {"sid": "x"}, {"sid": str(uuid4())}, {"sid": {}}):
        assert status_of(alice, user_token(str(alice.pk), **claims)) == 401
    assert status_of(alice, user_token("not-an-id", sid=others)) == 401


def test_tokens_are_not_stored(alice: User) -> None:
    """The database holds no token that somebody could use who reads it."""
    tokens = sign_in.sign_in(alice)
    assert tokens is not None
    assert tokens.refresh not in str(list(RefreshToken.objects.values()))


def test_a_sign_in_needs_the_password_of_now(alice: User) -> None:
    """A password that changes between its check and the beginning of the sign-in begins none."""
    checked = User.objects.get(pk=alice.pk)
    alice.set_password("another horse battery")
    alice.save()
    assert sign_in.sign_in(checked) is None


def sid_of(token: str) -> str:
    sid: str = verify_user_token(token).extra["sid"]
    return sid


@pytest.mark.parametrize("way", ["revoke", "reuse", "password", "closed", "admin", "deleted", "user deleted"])
def test_every_end_of_a_sign_in_is_announced_once(
    api_client: APIClient, alice: User, password: str, way: str, published_events: Callable[..., list[Any]]
) -> None:
    """However a sign-in ends, exactly one event is published in the transaction that ends it."""
    tokens = authenticate(api_client, "alice@example.com", password).json()
    if way == "revoke":
        revoke(api_client, tokens["refresh"])
        revoke(api_client, tokens["refresh"])
    elif way == "reuse":
        for _ in range(3):
            refresh(api_client, tokens["refresh"])
    elif way == "password":
        sign_in.change_password(User.objects.get(pk=alice.pk), "another-horse-battery")
    elif way == "closed":
        alice.is_active = False
        alice.save()
        alice.save()
    elif way == "admin":
        TokenFamily.objects.all().revoke()
    elif way == "deleted":
        TokenFamily.objects.get().delete()
    else:
        User.objects.get(pk=alice.pk).delete()
    [event] = published_events("session.ended")
    assert event.data == {"session_id": sid_of(tokens["token"]), "user_id": str(alice.pk)}
    assert event.key == str(alice.pk)


def test_what_is_over_anyway_is_not_announced(
    api_client: APIClient, alice: User, password: str, published_events: Callable[..., list[Any]]
) -> None:
    """Neither deleting an expired sign-in nor refreshing a token publishes an event."""
    refresh(api_client, authenticate(api_client, "alice@example.com", password).json()["refresh"])
    TokenFamily.objects.update(expires_at=timezone.now() - timedelta(days=1))
    authenticate(api_client, "alice@example.com", password)
    assert TokenFamily.objects.count() == 1
    assert published_events("session.ended") == []


def test_a_token_lives_five_minutes(api_client: APIClient, alice: User, password: str) -> None:
    """A token and the leeway last five minutes, the time for which other services may accept an ended sign-in."""
    claims = verify_user_token(authenticate(api_client, "alice@example.com", password).json()["token"])
    assert claims.exp - claims.iat + get_settings().identity.leeway <= 300
