"""Tests that requests without an account can't exhaust the memory of the process that hashes their passwords."""

import json
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from bandstand.workspace.manifest import load
from tests.platform.conftest import Answer, Client, Person, Shop

pytestmark = pytest.mark.platform

PASSWORD = "correct-horse-battery"


def peak(pid: int) -> float:
    """Return the greatest peak memory, in MiB, among a process and its children."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    status = [Path(f"/proc/{process.pid}/status").read_text() for process in family]
    return max(int(text.split("VmHWM:")[1].split()[0]) for text in status) / 1024


def process_of(shop: Shop, name: str) -> int:
    state = json.loads((shop.folder / ".bandstand" / "state.json").read_text())
    return next(int(one["pid"]) for one in state["processes"] if one["service"] == name and one["url"])


def test_hashing_passwords_stays_within_the_memory_of_the_service(shop: Shop) -> None:
    """Several rounds of sign-ins, registrations and password changes, more at once than the service has threads."""
    service = load(shop.folder / "bandstand.toml").service("user-service")
    pid = process_of(shop, service.name)
    client = Client(base=shop.services[service.name])
    people = [shop.person("changer") for _ in range(service.threads)]

    def sign_in(number: int) -> Answer:
        body = {"email": f"nobody{number}@example.com", "password": PASSWORD}
        return client.post("/api/v1/users/authenticate/", body, X_Forwarded_For=f"192.0.2.{number % 250}")

    def register(number: int) -> Answer:
        name = f"new{number}-{uuid.uuid4().hex[:8]}"
        body = {"email": f"{name}@example.com", "username": name, "password": PASSWORD}
        return client.post("/api/v1/users/", body, X_Forwarded_For=f"198.51.100.{number % 250}")

    def change(number: int) -> Answer:
        person: Person = people[number % len(people)]
        mine = Client(base=client.base, fixed_token=person.client.bearer())
        body = {"old_password": PASSWORD, "new_password": f"{PASSWORD}-{number}"}
        return mine.post(f"/api/v1/users/{person.id}/change_password/", body)

    works = [sign_in, register, change]
    with ThreadPoolExecutor(2 * service.threads) as threads:
        answers = list(threads.map(lambda number: works[number % 3](number), range(12 * service.threads)))
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) <= {200, 201, 204, 400, 401, 429, 503}, statuses
    assert all("retry-after" in answer.headers for answer in answers if answer.status in {429, 503})
    assert statuses[401] > service.threads, "wrong passwords were looked at"
    assert statuses[201], "somebody was registered"
    assert statuses[200], "somebody changed a password"
    assert process_of(shop, service.name) == pid, "the process lives"
    assert peak(pid) < service.memory
