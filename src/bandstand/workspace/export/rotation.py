"""The order in which changed passwords and keys reach a platform that was rendered, without a failed request."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from bandstand.workspace.manifest import Workspace
from bandstand.workspace.rotation import RotationStep

__all__ = ["Instruction", "RotationTarget", "rotation_instructions"]

RotationTarget = Literal["compose", "kubernetes"]

_NEXT: Final = {RotationStep.ACCEPT: RotationStep.USE, RotationStep.USE: RotationStep.RETIRE}
_KNOWN: Final = {
    RotationStep.ACCEPT: "the servers accept the new passwords too",
    RotationStep.RETIRE: "the servers refuse the old passwords",
}
_RESTARTED: Final = {
    RotationStep.ACCEPT: "learns the new keys",
    RotationStep.USE: "goes over to the new passwords and keys",
    RotationStep.RETIRE: "forgets the old keys",
}
_ROLLING: Final = """\
for container in $({compose} ps --quiet {services}); do
  docker restart --time 60 "$container"
  until [ "$(docker inspect --format '{{{{.State.Health.Status}}}}' "$container")" = healthy ]; do
    sleep 1
  done
  sleep 10
done"""
_SECRETS: Final = """\
for service in {services}; do
  kubectl --namespace {platform} create secret generic "$service" --from-file={folder}/"$service" \\
    --dry-run=client --output=yaml | kubectl apply --filename=-
done"""
_ROLLOUT: Final = """\
kubectl --namespace {platform} rollout restart deployment
kubectl --namespace {platform} rollout status deployment --timeout=15m"""


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """The next thing that a person does, with the command for it where there is one."""

    text: str
    command: str = ""


def rotation_instructions(
    workspace: Workspace, step: RotationStep, target: RotationTarget, folder: Path
) -> tuple[Instruction, ...]:
    """Return what is to be done after the files of ``step`` were written into ``folder``, in this order.

    With Compose the folder lies beside ``compose.yaml``.
    """
    steps = _compose(workspace, step, folder) if target == "compose" else _kubernetes(workspace, step, folder)
    return (*steps, *_after(workspace, step, target, folder))


def _compose(workspace: Workspace, step: RotationStep, folder: Path) -> Iterator[Instruction]:
    compose = f"docker compose -f {shlex.quote(str(folder.parent / 'compose.yaml'))}"
    if step in _KNOWN:
        jobs = ["databases", *(["consul-tokens"] if workspace.production.discovery == "consul" else [])]
        yield Instruction(
            text=f"Run the jobs by which {_KNOWN[step]}:",
            command="\n".join(f"{compose} run --rm --no-deps {job}" for job in jobs),
        )
        yield Instruction(
            text="Restart the servers that read their users at the start; services do without them for a moment:",
            command=f"{compose} restart valkey {workspace.production.broker}",
        )
    names = " ".join(workspace.service_names)
    yield Instruction(
        text=f"Restart one web process after the other, which {_RESTARTED[step]}:",
        command=_ROLLING.format(compose=compose, services=names),
    )
    workers = [f"{service.name}-worker" for service in workspace.services if service.worker]
    if workers:
        yield Instruction(text="Then the workers:", command=f"{compose} restart {' '.join(workers)}")


def _kubernetes(workspace: Workspace, step: RotationStep, folder: Path) -> Iterator[Instruction]:
    names, platform = " ".join(workspace.service_names), workspace.name
    if step in _KNOWN:
        yield Instruction(
            text=f"See to it that {_KNOWN[step]}. What each has to know is in postgres/ (verifiers of roles; a role "
            f"whose file is empty may not log in), valkey/ and {workspace.production.broker}/."
        )
    yield Instruction(
        text="Write the Secrets:",
        command=_SECRETS.format(services=names, platform=platform, folder=shlex.quote(str(folder))),
    )
    yield Instruction(
        text=f"Restart all deployments, each of which {_RESTARTED[step]}:", command=_ROLLOUT.format(platform=platform)
    )


def _after(workspace: Workspace, step: RotationStep, target: RotationTarget, folder: Path) -> Iterator[Instruction]:
    if step is RotationStep.USE and workspace.token_issuer is not None:
        yield Instruction(text="Wait until the user tokens that the old key signed are over: 5 minutes by default.")
    if step is RotationStep.ACCEPT and workspace.production.kong.user_keys:
        yield Instruction(
            text="Kong checks user tokens: add the second key of /.well-known/jwks.json to user_keys under "
            "[production.kong], and let Kong load what is rendered then:",
            command="bandstand export kong",
        )
    if step in _NEXT:
        command = ["bandstand", "secrets", "rotate", "--step", _NEXT[step], "--target", target, "--out", str(folder)]
        yield Instruction(text="When all of that is done:", command=shlex.join(command))
