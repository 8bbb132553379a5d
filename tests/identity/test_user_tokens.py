import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from django.test import RequestFactory

from bandstand.exceptions import ConfigurationError, InvalidToken, KeySetUnavailable
from bandstand.identity import (
    generate_key,
    issue_user_token,
    jwks,
    jwks_view,
    key_set,
    service_token,
    set_key_fetcher,
    verify_service_token,
    verify_user_token,
)
from bandstand.identity.signed_sets import verify_signed
from tests.identity.conftest import World, forge

URL = "http://user-service/.well-known/jwks.json"


@pytest.fixture
def issuing(world: World, settings: Any) -> World:
    """This process is the one that issues user tokens; nobody publishes keys for it."""
    settings.BANDSTAND = world.setting(USER_KEY_FILE=world.path("users.json"), USER_JWKS_URL=URL)
    return world


def test_what_is_issued_is_verified(issuing: World) -> None:
    """The issuer believes its own tokens without fetching anything."""
    user_id = uuid.uuid4()
    claims = verify_user_token(issue_user_token(user_id, staff=True, email="ann@example.com", sid="s-1"))
    assert (claims.sub, claims.staff, claims.email) == (str(user_id), True, "ann@example.com")
    assert (claims.iss, claims.aud, claims.exp - claims.iat) == ("user-service", "tests", 270)
    assert dict(claims.extra) == {"sid": "s-1"}


def test_any_library_verifies_it(issuing: World) -> None:
    """The token and the published set are what the standards say: another implementation agrees."""
    token = issue_user_token("u-1", staff=False)
    (key,) = jwt.PyJWKSet.from_dict(jwks()).keys
    decoded = jwt.decode_complete(token, key, ["EdDSA"], audience="tests", issuer="user-service")
    assert decoded["header"] == {"typ": "at+jwt", "alg": "EdDSA", "kid": issuing.users.kid}
    assert decoded["payload"]["sub"] == "u-1"
    assert "email" not in decoded["payload"]


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "iat", "exp", "nbf", "jti"])
def test_the_fixed_claims_can_not_be_given(issuing: World, name: str) -> None:
    """A caller of issue_user_token can't make a token for somebody else or for ever by mistake."""
    with pytest.raises(ValueError, match=name):
        issue_user_token("u-1", staff=False, **{name: "x"})


def test_claims_can_not_be_changed(configured: World) -> None:
    """Verified claims are shared by requests, so they are frozen all through."""
    claims = verify_user_token(configured.user_token(sid="s-1"))
    with pytest.raises(AttributeError):
        claims.staff = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        claims.extra["sid"] = "s-2"  # type: ignore[index]


def test_a_claim_named_extra_is_one_of_the_extra_claims(configured: World) -> None:
    """The field for other claims can't be filled from outside."""
    claims = verify_user_token(configured.user_token(extra={"staff": True}))
    assert claims.extra["extra"] == {"staff": True}
    assert claims.staff is False


def test_without_a_key_nothing_is_issued(configured: World) -> None:
    """A service that does not issue user tokens says which variable would let it."""
    for deed in (lambda: issue_user_token("u-1", staff=True), jwks):
        with pytest.raises(ConfigurationError, match="BANDSTAND_USER_KEY_FILE is not set"):
            deed()


def test_without_a_service_key_no_call_is_signed(world: World, settings: Any) -> None:
    """A service without a key says which variable names one."""
    settings.BANDSTAND = world.setting(SERVICE_KEY_FILE="")
    with pytest.raises(ConfigurationError, match="BANDSTAND_SERVICE_KEY_FILE is not set"):
        service_token("user-service")


def test_a_service_token_is_made_for_one_callee(configured: World, settings: Any) -> None:
    """What service_token() returns is believed by its audience and by nobody else."""
    with pytest.raises(InvalidToken):
        verify_service_token(service_token("user-service"))
    assert verify_service_token(service_token("test-service")).iss == "test-service"
    assert service_token("user-service") == service_token("user-service")
    assert service_token("user-service", fresh=True) != service_token("user-service")


def test_the_set_is_published(issuing: World) -> None:
    """The view answers with the public keys alone, which others may keep for a while."""
    response = jwks_view(RequestFactory().get("/.well-known/jwks.json"))
    published = json.loads(response.content)
    assert {"keys": published["keys"]} == key_set([issuing.users.public])
    verify_signed(response.content, "test-service")
    with pytest.raises(ValueError, match="is signed by test-service, not by user-service"):
        verify_signed(response.content, "user-service")
    assert response.headers["Content-Type"] == "application/jwk-set+json"
    assert response.headers["Cache-Control"] == "public, max-age=30"
    assert issuing.users.d.encode() not in response.content
    assert jwks_view(RequestFactory().post("/.well-known/jwks.json")).status_code == 405


def test_all_keys_of_the_file_are_published_and_the_first_signs(issuing: World) -> None:
    """A key is published before it signs and after it signed, so that rotation refuses nobody."""
    fresh = generate_key("user-service")
    issuing.write("users.json", {"keys": [fresh.to_jwk(), issuing.users.to_jwk()]})
    old_token = issuing.user_token()
    token = issue_user_token("u-1", staff=False)
    assert jwt.get_unverified_header(token)["kid"] == fresh.kid
    assert verify_user_token(token).sub == verify_user_token(old_token).sub == "u-1"
    assert [key["kid"] for key in jwks()["keys"]] == [fresh.kid, issuing.users.kid]


class TestFetching:
    """Keys behind http:// come through the fetcher that was set."""

    @pytest.fixture
    def asked(self) -> list[str]:
        return []

    @pytest.fixture
    def answer(self, world: World) -> dict[str, Any]:
        return {"keys": [world.users.public.to_jwk()]}

    @pytest.fixture(autouse=True)
    def remote(self, world: World, settings: Any, asked: list[str], answer: dict[str, Any]) -> None:
        def fetch(url: str) -> bytes:
            asked.append(url)
            return json.dumps(world.signed_set(answer)).encode()

        settings.BANDSTAND = world.setting(USER_JWKS_URL=URL)
        set_key_fetcher(fetch)

    def test_the_url_is_asked_once(self, world: World, asked: list[str]) -> None:
        """The set is fetched from the address in the settings and kept, whatever unknown keys follow."""
        assert verify_user_token(world.user_token()).sub == "u-1"
        for number in range(20):
            with pytest.raises(InvalidToken):
                verify_user_token(forged_key(world, f"unknown-{number}"))
        assert asked == [URL]

    @pytest.mark.parametrize("kid", ["../../x", "https://attacker.example/", "a b", "' OR 1=1 --"])
    def test_ids_that_are_none_fetch_nothing(self, world: World, asked: list[str], kid: str) -> None:
        """A key id that no key of ours could have is refused without asking anybody."""
        with pytest.raises(InvalidToken):
            verify_user_token(forged_key(world, kid))
        assert asked == []

    def test_a_service_token_fetches_nothing(self, world: World, asked: list[str]) -> None:
        """A token of the wrong type is refused before its key is looked up."""
        with pytest.raises(InvalidToken):
            verify_user_token(world.service_token())
        assert asked == []

    @pytest.mark.parametrize("harm", ["private", "empty", "huge", "development"])
    def test_a_set_that_can_not_be_trusted_is_none(self, world: World, answer: dict[str, Any], harm: str) -> None:
        """A wrong answer of the issuer is no key set; nobody is let in and nobody is told off."""
        key = world.users
        if harm == "private":
            answer["keys"] = [key.to_jwk()]
        elif harm == "empty":
            answer["keys"] = []
        elif harm == "huge":
            answer["padding"] = "x" * 300_000
        else:
            answer["keys"] = [generate_key(kid_prefix="django-insecure-").public.to_jwk()]
        with pytest.raises(KeySetUnavailable):
            verify_user_token(world.user_token())

    @pytest.mark.parametrize(
        ("forged", "says"),
        [
            (lambda world, keys: keys, "is not signed"),
            (lambda world, keys: {**keys, "signature": 7}, "is not signed"),
            (lambda world, keys: {**keys, "signature": "a.b.c"}, "refused: malformed"),
            (
                lambda world, keys: world.signed_set(keys, world.caller),
                "is signed by order-service, not by user-service",
            ),
            (lambda world, keys: world.signed_set(keys, world.caller, iss="user-service"), "refused: issuer"),
            (lambda world, keys: world.signed_set(keys, world.stranger), "refused: key"),
            (lambda world, keys: world.signed_set(keys, world.users), "refused: key"),
            (lambda world, keys: world.signed_set(keys, aud="another"), "refused: audience"),
            (lambda world, keys: world.signed_set(keys, iat=1, exp=601), "refused: expired"),
            (lambda world, keys: world.signed_set(keys, exp=int(time.time()) + 9000), "refused: lifetime"),
            (lambda world, keys: world.signed_set(keys, typ="service+jwt"), "refused: type"),
            (lambda world, keys: {**world.signed_set({"keys": []}), **keys}, "holds other keys"),
            (lambda world, keys: {**keys, "signature": world.service_token(world.issuer)}, "refused: type"),
        ],
    )
    def test_a_registry_names_no_keys(
        self, world: World, caplog: pytest.LogCaptureFixture, forged: Callable[..., Any], says: str
    ) -> None:
        """A key set is accepted only with the signature of the issuer's own service key, whoever answers."""
        evil = {"keys": [world.stranger.public.to_jwk()]}
        set_key_fetcher(lambda _: json.dumps(forged(world, evil)).encode())
        with pytest.raises(KeySetUnavailable):
            verify_user_token(forge(world.user_header(kid=world.stranger.kid), world.user_claims(), world.stranger))
        assert says in caplog.text

    def test_a_fetcher_that_fails_is_no_answer(self, world: World) -> None:
        """Whatever the fetcher raises, the caller learns that nobody can say."""

        def fetch(url: str) -> bytes:
            raise OSError("no route to host")

        set_key_fetcher(fetch)
        with pytest.raises(KeySetUnavailable):
            verify_user_token(world.user_token())


def forged_key(world: World, kid: str) -> str:
    return forge(world.user_header(kid=kid), world.user_claims(), world.stranger)


def test_without_any_source_of_keys_no_user_is_believed(world: World, settings: Any) -> None:
    """A service that names neither key nor key set refuses every user token."""
    settings.BANDSTAND = world.setting(USER_JWKS_URL="")
    with pytest.raises(InvalidToken):
        verify_user_token(world.user_token())
