import logging
from collections.abc import Mapping
from typing import Any

import jwt
import msgspec
import pytest

from bandstand.exceptions import InvalidToken
from bandstand.identity import PublicKey, generate_key
from bandstand.identity.key_sets import LocalKeySet
from bandstand.identity.service_tokens import SERVICE_TOKEN, ServiceTokens
from bandstand.identity.tokens import Claims, Verifier, new_token_id, sign
from tests.identity.conftest import Clock, World

LEEWAY = 30


class Counting:
    """Counts how often a payload was read, which is how often a signature was verified."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, payload: bytes) -> Claims:
        self.times += 1
        return msgspec.json.decode(payload, type=Claims)


@pytest.fixture
def keys(world: World) -> dict[str, PublicKey]:
    return {world.caller.kid: world.caller.public}


@pytest.fixture
def reads() -> Counting:
    return Counting()


@pytest.fixture
def verifier(keys: Mapping[str, PublicKey], reads: Counting, clock: Clock) -> Verifier[Claims]:
    return make_verifier(keys, reads, clock)


def make_verifier(keys: Mapping[str, PublicKey], reads: Any, clock: Clock, **options: Any) -> Verifier[Claims]:
    return Verifier(
        SERVICE_TOKEN,
        keys=LocalKeySet(lambda: keys),
        audience="test-service",
        issuer=lambda key: key.service,
        read=reads,
        leeway=LEEWAY,
        clock=clock,
        **options,
    )


@pytest.mark.parametrize(
    ("shift", "reason"),
    [
        (-60, "clock"),  # over since exactly the leeway
        (-59.9, None),
        (0, None),
        (30, None),  # issued exactly the leeway ahead
        (30.1 + 1, "clock"),
        (600, "clock"),
        (-600, "clock"),
    ],
)
def test_a_token_is_believed_within_the_leeway_and_not_beyond(
    world: World, verifier: Verifier[Claims], clock: Clock, shift: float, reason: str | None
) -> None:
    """Clocks may differ by the leeway; a service whose clock is further off is refused with the reason "clock"."""
    token = world.service_token(now=clock.now)
    clock.pass_by(-shift)
    if reason is None:
        assert verifier.verify(token).iss == "order-service"
        return
    with pytest.raises(InvalidToken) as refusal:
        verifier.verify(token)
    assert refusal.value.reason == reason


def test_the_log_says_whose_clock_is_off_and_never_the_token(
    world: World, verifier: Verifier[Claims], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal names the reason and, once the signature is good, the signer; no part of the token is logged."""
    token = world.service_token(now=clock.now + 600)
    with caplog.at_level(logging.WARNING), pytest.raises(InvalidToken):
        verifier.verify(token)
    (record,) = caplog.records
    assert (record.__dict__["reason"], record.__dict__["signer"]) == ("clock", "order-service")
    assert not any(part in str(record.__dict__) for part in token.split("."))


def test_a_token_is_verified_once_until_it_expires(
    world: World, verifier: Verifier[Claims], reads: Counting, clock: Clock
) -> None:
    """The signature is checked at the first use; after the expiry it is checked anew, and soon refused."""
    token = world.service_token(now=clock.now)
    for _ in range(10):
        verifier.verify(token)
    assert reads.times == 1
    clock.pass_by(30)
    verifier.verify(token)
    assert reads.times == 2
    clock.pass_by(30)
    with pytest.raises(InvalidToken):
        verifier.verify(token)


def test_a_remembered_token_ends_with_its_key(
    world: World, keys: dict[str, PublicKey], verifier: Verifier[Claims], clock: Clock
) -> None:
    """A revoked key is refused at once, also for tokens that were believed before."""
    token = world.service_token(now=clock.now)
    verifier.verify(token)
    del keys[world.caller.kid]
    with pytest.raises(InvalidToken) as refusal:
        verifier.verify(token)
    assert refusal.value.reason == "key"


def test_a_remembered_token_is_not_believed_for_another_key_with_the_same_id(
    world: World, keys: dict[str, PublicKey], verifier: Verifier[Claims], clock: Clock
) -> None:
    """When a key id comes to name another key, what the old one signed is forged."""
    token = world.service_token(now=clock.now)
    verifier.verify(token)
    keys[world.caller.kid] = msgspec.structs.replace(world.stranger.public, kid=world.caller.kid)
    with pytest.raises(InvalidToken) as refusal:
        verifier.verify(token)
    assert refusal.value.reason == "signature"


def test_a_remembered_token_is_not_believed_when_the_clock_is_set_back(
    world: World, verifier: Verifier[Claims], clock: Clock
) -> None:
    """What was verified under a clock that was ahead is checked against the clock as it is now."""
    token = world.service_token(now=clock.now)
    verifier.verify(token)
    clock.pass_by(-600)
    with pytest.raises(InvalidToken) as refusal:
        verifier.verify(token)
    assert refusal.value.reason == "clock"


def test_the_memory_of_tokens_is_bounded(world: World, keys: dict[str, PublicKey], clock: Clock) -> None:
    """However many good tokens arrive, no more than the capacity are remembered, the newest among them."""
    reads = Counting()
    verifier = make_verifier(keys, reads, clock, capacity=8)
    tokens = [world.service_token(now=clock.now, jti=f"{number:016}") for number in range(40)]
    for token in tokens:
        verifier.verify(token)
        assert len(verifier._verified) <= 8
    verifier.verify(tokens[-1])
    assert reads.times == 40


def test_expired_tokens_make_room_before_current_ones(world: World, keys: dict[str, PublicKey], clock: Clock) -> None:
    """A full memory forgets what is over and keeps what still counts."""
    reads = Counting()
    verifier = make_verifier(keys, reads, clock, capacity=4)
    old = [world.service_token(now=clock.now, jti=f"old-{number:012}") for number in range(3)]
    for token in old:
        verifier.verify(token)
    clock.pass_by(35)
    new = [world.service_token(now=clock.now, jti=f"new-{number:012}") for number in range(2)]
    for token in [*new, *new]:
        verifier.verify(token)
    assert reads.times == 5
    assert set(verifier._verified) == set(new)


def test_refused_tokens_are_not_remembered(world: World, verifier: Verifier[Claims], clock: Clock) -> None:
    """Garbage can't push good tokens out of the memory."""
    for number in range(20):
        with pytest.raises(InvalidToken):
            verifier.verify(world.service_token(now=clock.now, aud=f"service-{number}"))
    assert verifier._verified == {}


def test_the_audience_of_a_token_is_one_callee(world: World, clock: Clock) -> None:
    """What a service signs says who it is, for whom, and lives as long as it is told."""
    tokens = ServiceTokens("order-service", lambda: world.caller, lifetime=30, clock=clock)
    verifier = make_verifier({world.caller.kid: world.caller.public}, Counting(), clock)
    claims = verifier.verify(tokens.token("test-service"))
    assert (claims.iss, claims.aud, claims.exp - claims.iat) == ("order-service", "test-service", 30)
    with pytest.raises(InvalidToken):
        verifier.verify(tokens.token("product-service"))


def test_a_token_is_kept_until_half_of_its_life(world: World, clock: Clock) -> None:
    """A token is signed once for each audience and renewed before anybody could find it too old."""
    tokens = ServiceTokens("order-service", lambda: world.caller, lifetime=30, clock=clock)
    first = tokens.token("user-service")
    assert tokens.token("product-service") != first
    clock.pass_by(14.9)
    assert tokens.token("user-service") == first
    clock.pass_by(0.1)
    assert tokens.token("user-service") != first


def test_a_clock_that_was_set_back_renews_the_token(world: World, clock: Clock) -> None:
    """A token from the future would be refused, so it is not used although it is far from its expiry."""
    tokens = ServiceTokens("order-service", lambda: world.caller, lifetime=30, clock=clock)
    first = tokens.token("user-service")
    clock.pass_by(-600)
    assert tokens.token("user-service") != first


def test_a_new_key_renews_the_token(world: World, clock: Clock) -> None:
    """After a rotation nothing goes out that the old key signed."""
    keys = [world.caller]
    tokens = ServiceTokens("order-service", lambda: keys[0], lifetime=30, clock=clock)
    first = tokens.token("user-service")
    keys[0] = generate_key("order-service")
    assert tokens.token("user-service") != first


def test_a_fresh_token_is_of_its_own(world: World, clock: Clock) -> None:
    """For a callee that denies replay each try needs a token that nobody has seen."""
    tokens = ServiceTokens("order-service", lambda: world.caller, lifetime=30, clock=clock)
    kept = tokens.token("user-service")
    fresh = {tokens.token("user-service", fresh=True) for _ in range(10)}
    assert len(fresh) == 10
    assert kept not in fresh
    assert tokens.token("user-service") == kept


def test_a_signed_token_holds_what_was_said(world: World) -> None:
    """Header and claims are those of the kind, readable by any JWT library."""
    claims = {"iss": "order-service", "aud": "test-service", "jti": new_token_id()}
    token = sign(world.caller, SERVICE_TOKEN, claims)
    assert jwt.get_unverified_header(token) == {"typ": "service+jwt", "alg": "EdDSA", "kid": world.caller.kid}
    assert jwt.decode(token, world.caller.public.verifying(), ["EdDSA"], audience="test-service") == claims
