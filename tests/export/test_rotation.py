"""Instructions for changing the secrets of a rendered platform; tests/docker follows them."""

from pathlib import Path

import pytest

from bandstand.workspace.export.rotation import Instruction, RotationTarget, rotation_instructions
from bandstand.workspace.manifest import Workspace, parse
from bandstand.workspace.rotation import RotationStep

MANIFEST = """\
[platform]
name = "shop"
[production]
broker = "nats"
discovery = "{discovery}"
[services.user-service]
issues_user_tokens = true
[services.order-service]
worker = false
"""


def shop(discovery: str = "consul") -> Workspace:
    return parse(MANIFEST.format(discovery=discovery))


def told(step: RotationStep, target: RotationTarget = "compose") -> tuple[Instruction, ...]:
    return rotation_instructions(shop(), step, target, Path("deploy/compose/secrets"))


def test_servers_accept_what_is_new_before_services_learn_of_it() -> None:
    """Jobs and servers first, then web processes one by one, then workers; each step names the next one."""
    accept = told(RotationStep.ACCEPT)
    assert [each.command.split()[0] for each in accept] == ["docker", "docker", "for", "docker", "bandstand"]
    assert accept[0].command.splitlines() == [
        f"docker compose -f deploy/compose/compose.yaml run --rm --no-deps {job}"
        for job in ("databases", "consul-tokens")
    ]
    assert accept[1].command.endswith("restart valkey nats")
    assert "ps --quiet user-service order-service" in accept[2].command
    assert accept[3].command.endswith("restart user-service-worker")
    assert "--step use" in accept[4].command


def test_servers_are_left_alone_while_services_go_over() -> None:
    """In the second step only services restart, and one waits for the end of old user tokens."""
    use = told(RotationStep.USE)
    assert [each.command.split()[0] if each.command else "wait" for each in use] == [
        "for",
        "docker",
        "wait",
        "bandstand",
    ]
    assert "--step retire" in use[3].command


def test_the_last_step_names_no_further_one() -> None:
    """After it nothing is left to do but what it says."""
    assert not any("bandstand" in each.command for each in told(RotationStep.RETIRE))
    assert "refuse the old passwords" in told(RotationStep.RETIRE)[0].text


@pytest.mark.parametrize("step", RotationStep)
def test_kubernetes_gets_secrets_and_new_pods(step: RotationStep) -> None:
    """The servers are the operator's: a sentence says what they have to know, and where that lies."""
    commands = [each.command for each in told(step, "kubernetes") if each.command.startswith(("for", "kubectl"))]
    assert "kubectl --namespace shop create secret generic" in commands[0]
    assert "rollout restart deployment" in commands[1]
    assert any("postgres/" in each.text for each in told(step, "kubernetes")) == (step is not RotationStep.USE)


def test_without_consul_there_are_no_tokens() -> None:
    """A job that is not rendered is not named."""
    accept = rotation_instructions(shop("dns"), RotationStep.ACCEPT, "compose", Path("secrets"))
    assert "consul-tokens" not in accept[0].command
