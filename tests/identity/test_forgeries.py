"""Attacks on tokens: each is one step away from a good token, and each is answered 401 for the reason it names."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from bandstand.context import REGISTRY
from bandstand.identity import ServiceAuthMiddleware, UserTokenAuthentication, generate_key
from tests.identity.conftest import World, encode, forge

Forgery = Callable[[World], str]

HOUR = 3600
BAD_KEY_IDS = {
    "path": "../../../../dev/null",
    "SQL": "x' UNION SELECT 'secret' --",
    "URL": "https://attacker.example/keys.json",
    "empty": "",
    "long": "k" * 1000,
    "control": "kid\r\nX-Injected: 1",
    "NUL": "kid\x00",
    "Unicode": "kіd",
}
EXTRA_HEADERS: dict[str, Any] = {
    "jku": "https://attacker.example/keys.json",
    "x5u": "https://attacker.example/cert.pem",
    "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
    "x5c": ["AAAA"],
    "crit": ["exp"],
    "b64": False,
    "zip": "DEF",
    "cty": "JWT",
}


def hs256(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda signed: hmac.new(secret, signed, hashlib.sha256).digest()


def service(claims: dict[str, Any] | None = None, **header: Any) -> Forgery:
    """A token of the caller with other claims (None: left out) or headers."""
    return lambda w: forge(w.service_header(**header), w.service_claims(**(claims or {})), w.caller)


def now_plus(**shifts: int) -> Forgery:
    """A token of the caller whose times are moved by so many seconds."""

    def make(w: World) -> str:
        claims = w.service_claims()
        return forge(
            w.service_header(), {**claims, **{name: claims["iat"] + by for name, by in shifts.items()}}, w.caller
        )

    return make


def cut(token: str, part: int, change: Callable[[str], str]) -> str:
    parts = token.split(".")
    parts[part] = change(parts[part])
    return ".".join(parts)


SIGNED: dict[str, tuple[Forgery, str]] = {
    # Validly signed by a trusted service; only what they say is wrong.
    "expired beyond the leeway": (now_plus(iat=-91, exp=-61), "clock"),
    "issued in the future": (now_plus(iat=HOUR, exp=HOUR + 30), "clock"),
    "not valid yet": (now_plus(nbf=HOUR), "clock"),
    "lives too long": (now_plus(exp=61), "lifetime"),
    "ends before it begins": (now_plus(iat=10, exp=5), "lifetime"),
    "wrong audience": (service({"aud": "product-service"}), "audience"),
    "several audiences": (service({"aud": ["test-service", "product-service"]}), "claims"),
    "audience in other case": (service({"aud": "Test-Service"}), "audience"),
    "issuer of another's key": (service({"iss": "product-service"}), "issuer"),
    "issuer is the callee": (service({"iss": "test-service"}), "issuer"),
    "user token type": (service(typ="at+jwt"), "type"),
    "type in other case": (service(typ="SERVICE+JWT"), "type"),
    "type with prefix": (service(typ="application/service+jwt"), "type"),
    "type JWT": (service(typ="JWT"), "type"),
    "no type": (service(typ=None), "type"),
    "no key id": (service(kid=None), "key"),
    **{f"no {name}": (service({name: None}), "claims") for name in ("iss", "aud", "iat", "exp", "jti")},
    "exp is text": (service({"exp": "9999999999"}), "claims"),
    "exp is a boolean": (service({"exp": True}), "claims"),
    "exp is huge": (service({"exp": 10**400}), "claims"),
    "exp is negative": (service({"exp": -1}), "claims"),
    "iat is a fraction": (service({"iat": 1.5}), "claims"),
    "jti is empty": (service({"jti": ""}), "claims"),
    "jti is a path": (service({"jti": "../../../../etc"}), "claims"),
    "iss is empty": (service({"iss": ""}), "claims"),
    "iss is a list": (service({"iss": ["order-service"]}), "claims"),
    "payload is a list": (lambda w: forge(w.service_header(), [1, 2], w.caller), "claims"),
    "payload is no JSON": (lambda w: forge(w.service_header(), b"{", w.caller), "claims"),
    "payload is no UTF-8": (lambda w: forge(w.service_header(), b'{"iss":"\xff"}', w.caller), "claims"),
    "payload is deep": (lambda w: forge(w.service_header(), b'{"iss":' + b"[" * 4000, w.caller), "claims"),
    **{
        f"header {name}": (service(**{name: value}), "malformed" if name in {"crit", "b64"} else "header")
        for name, value in EXTRA_HEADERS.items()
    },
    **{f"kid is {name}": (service(kid=value), "key") for name, value in BAD_KEY_IDS.items()},
    "kid of no key": (service(kid=generate_key().kid), "key"),
    "kid is a number": (service(kid=7), "malformed"),
    "key of no trusted service": (lambda w: w.service_token(w.stranger), "key"),
    "user token": (lambda w: w.user_token(), "type"),
    "user token with our audience": (lambda w: w.user_token(aud="test-service"), "type"),
    "user key, service type": (
        lambda w: forge(w.service_header(kid=w.users.kid), w.service_claims(iss="user-service"), w.users),
        "key",
    ),
}

FORGED: dict[str, tuple[Forgery, str]] = {
    "wrong key under a known kid": (lambda w: forge(w.service_header(), w.service_claims(), w.stranger), "signature"),
    "another service's key under a known kid": (
        lambda w: forge(w.service_header(), w.service_claims(), w.uninvited),
        "signature",
    ),
    "alg none": (lambda w: forge(w.service_header(alg="none"), w.service_claims()), "malformed"),
    "alg none, signed": (lambda w: forge(w.service_header(alg="none"), w.service_claims(), w.caller), "algorithm"),
    "alg None": (lambda w: forge(w.service_header(alg="None"), w.service_claims(), w.caller), "algorithm"),
    "alg in other case": (lambda w: forge(w.service_header(alg="eddsa"), w.service_claims(), w.caller), "algorithm"),
    "no alg": (lambda w: forge(w.service_header(alg=None), w.service_claims(), w.caller), "algorithm"),
    "alg RS256": (lambda w: forge(w.service_header(alg="RS256"), w.service_claims(), w.caller), "algorithm"),
    "HS256 with the public key as JWK": (
        lambda w: forge(
            w.service_header(alg="HS256"),
            w.service_claims(),
            signature=hs256(json.dumps(w.caller.public.to_jwk()).encode()),
        ),
        "algorithm",
    ),
    "HS256 with the public key's bytes": (
        lambda w: forge(
            w.service_header(alg="HS256"),
            w.service_claims(),
            signature=hs256(w.caller.public.verifying().public_bytes_raw()),
        ),
        "algorithm",
    ),
    "EdDSA said, HS256 done": (
        lambda w: forge(
            w.service_header(), w.service_claims(), signature=hs256(w.caller.public.verifying().public_bytes_raw())
        ),
        "signature",
    ),
    "no signature": (lambda w: cut(w.service_token(), 2, lambda _: ""), "malformed"),
    "a short signature": (lambda w: cut(w.service_token(), 2, lambda s: s[:40]), "signature"),
    "zeros as signature": (lambda w: cut(w.service_token(), 2, lambda _: encode(bytes(64))), "signature"),
    "changed payload": (
        lambda w: cut(w.service_token(), 1, lambda _: encode(json.dumps(w.service_claims(iss="x")).encode())),
        "signature",
    ),
    "padded": (lambda w: w.service_token() + "==", "malformed"),
    "two tokens joined by a proxy": (lambda w: f"{w.service_token()},{w.service_token()}", "malformed"),
    "two parts": (lambda w: w.service_token().rpartition(".")[0], "malformed"),
    "four parts": (lambda w: w.service_token() + ".AAAA", "malformed"),
    "a new line after it": (lambda w: w.service_token() + "\n", "malformed"),
    "header is a list": (lambda w: cut(w.service_token(), 0, lambda _: encode(b"[1]")), "malformed"),
    "header is no JSON": (lambda w: cut(w.service_token(), 0, lambda _: encode(b"{")), "malformed"),
    "header is no UTF-8": (lambda w: cut(w.service_token(), 0, lambda _: encode(b'{"a":"\xff"}')), "malformed"),
    "header with 5,000 digits": (
        lambda w: cut(w.service_token(), 0, lambda _: encode(b'{"kid":' + b"9" * 5000 + b"}")),
        "malformed",
    ),
    "empty": (lambda _: "", "malformed"),
    "dots": (lambda _: "..", "malformed"),
    "a static secret": (lambda _: "s3cret", "malformed"),
    "Bearer before it": (lambda w: "Bearer " + w.service_token(), "malformed"),
    "not ASCII": (lambda _: "é.é.é", "malformed"),
    "64 KB": (lambda w: w.service_token() + "A" * 65536, "malformed"),
}


def refusals(kind: str, reason: str) -> float:
    return REGISTRY.get_sample_value("bandstand_tokens_refused_total", {"kind": kind, "reason": reason}) or 0.0


def ask(token: str) -> HttpResponse:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(request.service))  # type: ignore[attr-defined]

    response = ServiceAuthMiddleware(view)(RequestFactory().get("/", headers={"X-Service-Token": token}))
    assert isinstance(response, HttpResponse)
    return response


def test_the_token_that_all_forgeries_begin_with_is_good(configured: World) -> None:
    """Each forgery differs in one thing from a token that is believed, so it is refused for that thing."""
    assert ask(configured.service_token()).content == b"order-service"


@pytest.mark.parametrize("name", [*SIGNED, *FORGED])
def test_a_forged_service_token_is_answered_401(configured: World, name: str) -> None:
    """Every forgery is refused for its own reason, which is counted and never told."""
    make, reason = {**SIGNED, **FORGED}[name]
    before = refusals("service", reason)
    response = ask(make(configured))
    assert response.status_code == 401
    assert refusals("service", reason) == before + 1
    problem = json.loads(response.content)
    assert problem["code"] == "invalid_service_token"
    assert problem["detail"] == "The X-Service-Token header does not hold a valid token for this service."


def plain(token: str, world: World) -> Any:
    """What a service does that follows PyJWT's first example."""
    key = world.users if jwt.get_unverified_header(token).get("kid") == world.users.kid else world.caller
    return jwt.decode(token, key.public.verifying(), algorithms=["EdDSA"], options={"verify_aud": False})


@pytest.mark.parametrize(
    "name",
    ["wrong audience", "issuer of another's key", "user token type", "no type", "lives too long"]
    + [f"no {claim}" for claim in ("iss", "aud", "iat", "exp", "jti")]
    + [f"header {header}" for header in ("jku", "x5u", "jwk")]
    + ["kid is path", "kid is SQL", "kid is URL", "user token"],
)
def test_without_our_checks_the_forgery_would_be_believed(configured: World, name: str) -> None:
    """The forgeries are real: a plain PyJWT decode believes them, so what refuses them is this room."""
    assert plain(SIGNED[name][0](configured), configured)


USER_FORGERIES: dict[str, tuple[Callable[[World], str], str]] = {
    "expired beyond the leeway": (lambda w: w.user_token(now=w.user_claims()["iat"] - 931), "expired"),
    "issued in the future": (lambda w: w.user_token(now=w.user_claims()["iat"] + HOUR), "clock"),
    "lives too long": (lambda w: w.user_token(exp=w.user_claims()["iat"] + 25 * HOUR), "lifetime"),
    "wrong audience": (lambda w: w.user_token(aud="other-platform"), "audience"),
    "wrong issuer": (lambda w: w.user_token(iss="order-service"), "issuer"),
    **{
        f"no {name}": (lambda w, name=name: w.user_token(**{name: None}), "claims")  # type: ignore[misc]
        for name in ("iss", "aud", "iat", "exp", "jti", "sub", "staff")
    },
    "staff is text": (lambda w: w.user_token(staff="true"), "claims"),
    "staff is 1": (lambda w: w.user_token(staff=1), "claims"),
    "sub is a number": (lambda w: w.user_token(sub=1), "claims"),
    "sub is empty": (lambda w: w.user_token(sub=""), "claims"),
    "payload is deep": (lambda w: forge(w.user_header(), b'{"x":' + b"[" * 4000, w.users), "claims"),
    "service token": (lambda w: w.service_token(), "type"),
    "service token with our audience": (lambda w: w.service_token(aud="tests"), "type"),
    "service key, user type": (
        lambda w: forge(w.user_header(kid=w.caller.kid), w.user_claims(), w.caller),
        "key",
    ),
    "wrong key under a known kid": (lambda w: forge(w.user_header(), w.user_claims(), w.caller), "signature"),
    "alg none": (lambda w: forge(w.user_header(alg="none"), w.user_claims(staff=True)), "malformed"),
    "HS256 with the public key": (
        lambda w: forge(
            w.user_header(alg="HS256"),
            w.user_claims(staff=True),
            signature=hs256(w.users.public.verifying().public_bytes_raw()),
        ),
        "algorithm",
    ),
    "jku": (lambda w: forge(w.user_header(jku="https://attacker.example/"), w.user_claims(), w.users), "header"),
    "kid is URL": (lambda w: forge(w.user_header(kid=BAD_KEY_IDS["URL"]), w.user_claims(), w.users), "key"),
    "no type": (lambda w: forge(w.user_header(typ=None), w.user_claims(), w.users), "type"),
    "empty": (lambda _: "", "malformed"),
    "with a space": (lambda w: w.user_token() + " x", "malformed"),
}


def authenticate(token: str) -> Any:
    request = Request(APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {token}"))
    return UserTokenAuthentication().authenticate(request)


def test_the_user_token_that_all_forgeries_begin_with_is_good(configured: World) -> None:
    """Each forgery of a user token differs in one thing from one that is believed."""
    user, _ = authenticate(configured.user_token())
    assert user.id == "u-1"


@pytest.mark.parametrize("name", USER_FORGERIES)
def test_a_forged_user_token_is_answered_401(configured: World, name: str) -> None:
    """Every forgery of a user token is refused for its own reason, with one text for all."""
    make, reason = USER_FORGERIES[name]
    before = refusals("user", reason)
    with pytest.raises(AuthenticationFailed) as refusal:
        authenticate(make(configured))
    assert refusals("user", reason) == before + 1
    assert refusal.value.detail == "The token is not valid. Sign in again."
