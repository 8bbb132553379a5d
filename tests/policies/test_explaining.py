"""What a policy is put together from, and what the worst case of a call is."""

from collections.abc import Mapping
from typing import Any

import pytest

from bandstand.exceptions import WorkspaceError
from bandstand.resilience import Policy
from bandstand.workspace.manifest import Service, Workspace, parse
from bandstand.workspace.policies import Explanation, explain

MANIFEST = """
[platform]
name = "shop"

[policy]
timeout = 3
concurrency = 10

[services.a-service]
calls = ["b-service"]

[services.a-service.policies.b-service]
retries = 1
breaker_rest = 2

[services.b-service]
calls = ["a-service", "c-service"]

[services.c-service]

[services.b-service.policies.c-service]
timeout = 0.5
"""

Settings = Mapping[str, Mapping[str, Any]]


def explained(settings: Settings | None = None, caller: str = "a-service", callee: str = "b-service") -> Explanation:
    def asking(workspace: Workspace, service: Service) -> Mapping[str, Any]:
        return (settings or {}).get(service.name, {})

    return explain(parse(MANIFEST), caller, callee, asking=asking)


def sources(found: Explanation) -> dict[str, tuple[Any, str]]:
    return {name: (value.value, value.source) for name, value in found.policy.items()}


def test_every_value_has_its_source() -> None:
    """What is not written is the default, and what is written says where."""
    found = sources(explained())
    assert list(found) == list(Policy.__struct_fields__)
    assert found["timeout"] == (3, "bandstand.toml: [policy]")
    assert found["retries"] == (1, "bandstand.toml: [services.a-service.policies.b-service]")
    assert found["connect_timeout"] == (0.5, "default")


def test_the_narrower_goes_before_the_wider_and_settings_before_the_manifest() -> None:
    """What is said of the target holds before what is said of all, and on the same level the settings hold."""
    client = {"TIMEOUT": 4, "RETRIES": 5, "TARGETS": {"b-service": {"BREAKER_REST": 9}}}
    found = sources(explained({"a-service": client}))
    assert found["timeout"] == (4, 'settings of a-service: BANDSTAND["CLIENT"]')
    assert found["retries"] == (1, "bandstand.toml: [services.a-service.policies.b-service]")
    assert found["breaker_rest"] == (9, 'settings of a-service: BANDSTAND["CLIENT"]["TARGETS"]["b-service"]')
    assert found["concurrency"] == (10, "bandstand.toml: [policy]")


def test_the_worst_case_is_told_along_the_chain() -> None:
    """Retries of the hops add up, since whoever is asked by a retry makes none, and all is over with the first's time.

    The half second that the last call has is no end of it: it may begin late, and again.
    """
    pair, chain = explained().chains
    assert (pair.services, pair.attempts, pair.blind, pair.seconds) == (("a-service", "b-service"), 2, 2, 3)
    assert (chain.services, chain.attempts, chain.blind, chain.seconds) == (
        ("a-service", "b-service", "c-service"),
        4,
        6,
        3,
    )


def test_without_the_marker_retries_multiply() -> None:
    """A platform that repeats what was repeated in vain is told what that costs."""
    _, chain = explained({"a-service": {"RETRY_MARKED": True}, "b-service": {"RETRY_MARKED": True}}).chains
    assert chain.attempts == chain.blind == 6


def test_services_that_call_each_other_are_no_endless_chain() -> None:
    """A service that is on the path is not followed again."""
    assert [chain.services for chain in explained(caller="b-service", callee="a-service").chains] == [
        ("b-service", "a-service")
    ]


def test_a_service_that_can_not_be_asked_is_a_notice() -> None:
    """Where a service's packages are not installed, the manifest is explained all the same."""

    def asking(workspace: Workspace, service: Service) -> Mapping[str, Any]:
        raise WorkspaceError(f"{service.name} ended with status 1.")

    found = explain(parse(MANIFEST), "a-service", "b-service", asking=asking)
    assert found.policy["timeout"].value == 3
    assert [notice.partition(" can't")[0] for notice in found.notices] == [
        "The settings of a-service",
        "The settings of b-service",
    ]


@pytest.mark.parametrize(("caller", "callee"), [("a-service", "c-service"), ("c-service", "a-service")])
def test_who_does_not_call_has_no_policy(caller: str, callee: str) -> None:
    """A pair that the manifest does not allow is refused, with whom the service may call."""
    with pytest.raises(WorkspaceError, match="does not call") as caught:
        explained(caller=caller, callee=callee)
    assert "It calls" in caught.value.hint


def test_an_unknown_service_is_told() -> None:
    """A name that is misspelled gets the right one."""
    with pytest.raises(WorkspaceError, match="b-servise"):
        explained(callee="b-servise")
