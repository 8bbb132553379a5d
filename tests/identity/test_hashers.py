"""Tests of password hashing with bounded memory."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher as DjangosHasher
from django.contrib.auth.hashers import check_password, make_password
from pytest_django.fixtures import Settings

from bandstand.exceptions import Overloaded
from bandstand.identity import hashers
from bandstand.identity.hashers import Argon2PasswordHasher
from tests.waiting import GUARD

OURS = "bandstand.identity.hashers.Argon2PasswordHasher"


@pytest.fixture(autouse=True)
def hasher(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = [OURS]


def test_a_hash_has_the_parameters_for_a_container() -> None:
    """19 MiB, two passes and one lane, as OWASP asks for at least."""
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in make_password("secret")


def test_a_stronger_hash_is_made_anew_when_its_user_signs_in() -> None:
    """A hash with other parameters is replaced at the next successful check."""
    stored = DjangosHasher().encode("secret", "a" * 22)
    renewed: list[str] = []
    assert check_password("secret", stored, lambda password: renewed.append(make_password(password)))
    assert len(renewed) == 1
    assert not Argon2PasswordHasher().must_update(renewed[0])
    assert not check_password("wrong", stored)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Block hashing until the returned function is called, which returns the peak number of hashes in progress."""
    opened, lock = threading.Event(), threading.Lock()
    working, most = 0, 0

    def encode(self: object, password: str, salt: str) -> str:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        opened.wait(GUARD)
        with lock:
            working -= 1
        return "hash"

    monkeypatch.setattr(DjangosHasher, "encode", encode)

    def open_gate() -> int:
        opened.set()
        return most

    return open_gate


def test_two_are_made_at_once(gate: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Further threads wait and are refused after the time-out; a refused one occupies no place."""
    monkeypatch.setattr(hashers, "_WAIT", 0.05)
    refused = threading.Semaphore(0)

    def encode() -> str:
        try:
            return Argon2PasswordHasher().encode("secret", "a" * 22)
        except Overloaded:
            refused.release()
            return "refused"

    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(encode) for _ in range(8)]
        for _ in range(6):
            assert refused.acquire(timeout=GUARD)
        assert gate() == 2
        assert sorted(answer.result() for answer in answers) == ["hash"] * 2 + ["refused"] * 6
    assert Argon2PasswordHasher().encode("secret", "a" * 22) == "hash"


def test_who_waits_gets_the_next_place(gate: Callable[[], int]) -> None:
    """A waiting thread hashes as soon as another has finished."""
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(Argon2PasswordHasher().encode, "secret", "a" * 22) for _ in range(4)]
        assert gate() <= 2
        assert [answer.result() for answer in answers] == ["hash"] * 4


def test_verifying_takes_a_place_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verification counts against the bound too, and a refused attempt releases nothing that it does not hold."""
    stored = make_password("secret")
    monkeypatch.setattr(hashers, "_WAIT", 0.01)
    taken = [hashers._running.acquire(), hashers._running.acquire()]
    try:
        with pytest.raises(Overloaded):
            check_password("wrong", stored)
    finally:
        for _ in taken:
            hashers._running.release()
    assert check_password("secret", stored)
