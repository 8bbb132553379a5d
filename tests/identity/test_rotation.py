"""Rotation of a service's key while it makes 200 calls a second."""

import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from bandstand.exceptions import InvalidToken
from bandstand.identity import PrivateKey, generate_key, key_set
from bandstand.identity.key_sets import LocalKeySet
from bandstand.identity.keys import parse_private_keys, parse_public_keys
from bandstand.identity.service_tokens import SERVICE_TOKEN, ServiceTokens
from bandstand.identity.tokens import Claims, Verifier
from bandstand.identity.watched import WatchedFile
from tests.identity.conftest import Clock

OLD, NEW = generate_key("order-service"), generate_key("order-service")


class Pair:
    """A caller and a callee in processes of their own, each with the files that it was given."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock = clock
        self.private, self.trusted = folder / "private.json", folder / "trusted.json"
        self.trust(OLD)
        self.sign_with(OLD)
        signing = WatchedFile(str(self.private), parse_private_keys, variable="A", clock=clock)
        known = WatchedFile(str(self.trusted), parse_public_keys, variable="B", clock=clock)
        self.tokens = ServiceTokens("order-service", lambda: signing.get()[0], lifetime=30, clock=clock)
        self.verifier = Verifier(
            SERVICE_TOKEN,
            keys=LocalKeySet(known.get),
            audience="user-service",
            issuer=lambda key: key.service,
            read=msgspec.json.Decoder(Claims).decode,
            leeway=30,
            clock=clock,
        )
        self.answers: Counter[str] = Counter()

    def trust(self, *keys: PrivateKey) -> None:
        replace(self.trusted, key_set(key.public for key in keys))

    def sign_with(self, key: PrivateKey) -> None:
        replace(self.private, key.to_jwk())

    def call(self) -> None:
        try:
            self.verifier.verify(self.tokens.token("user-service"))
        except InvalidToken as refusal:
            self.answers[refusal.reason] += 1
        else:
            self.answers["ok"] += 1

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 200)):
            self.call()
            self.clock.pass_by(1 / 200)


def replace(path: Path, document: object) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    fresh.replace(path)


@pytest.fixture
def pair(tmp_path: Path, clock: Clock) -> Pair:
    return Pair(tmp_path, clock)


def test_rotation_refuses_nobody(pair: Pair) -> None:
    """Trusted first, then used, then the old one taken away: of 200 calls a second none fails."""
    pair.run(5)
    pair.trust(OLD, NEW)
    pair.run(5)
    pair.sign_with(NEW)
    pair.run(5)
    pair.trust(NEW)
    pair.run(5)
    assert pair.answers == {"ok": 4000}


def test_rotation_in_the_wrong_order_refuses(pair: Pair) -> None:
    """A key that signs before it is trusted is refused: the test above would notice."""
    pair.run(5)
    pair.sign_with(NEW)
    pair.run(5)
    assert pair.answers["key"] > 0


@pytest.mark.parametrize("used_before", [True, False])
def test_a_revoked_key_is_refused_within_a_second(pair: Pair, used_before: bool) -> None:
    """After the overlap the old key opens nothing, not even with a token that was believed before."""
    token = pair.tokens.token("user-service")
    if used_before:
        pair.verifier.verify(token)
    pair.trust(NEW)
    pair.clock.pass_by(1)
    with pytest.raises(InvalidToken) as refusal:
        pair.verifier.verify(token)
    assert refusal.value.reason == "key"


def test_a_half_written_key_set_refuses_nobody(pair: Pair) -> None:
    """A file that is broken for a while leaves the last good set in use."""
    pair.run(2)
    whole = pair.trusted.read_bytes()
    pair.trusted.write_bytes(whole[:40])
    pair.run(3)
    pair.trusted.write_bytes(whole)
    pair.run(2)
    assert pair.answers == {"ok": 1400}
