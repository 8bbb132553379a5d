"""The files that a Kong without a database is made of."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from bandstand.workspace.export.files import File
from bandstand.workspace.export.headings import heading
from bandstand.workspace.export.kong.keys import pem
from bandstand.workspace.export.kong.plugins import everywhere
from bandstand.workspace.export.kong.routes import other_routes, services
from bandstand.workspace.export.kong.settings import settings
from bandstand.workspace.export.kong.upstreams import upstreams
from bandstand.workspace.export.kong.values import Json
from bandstand.workspace.export.yaml import yaml_text
from bandstand.workspace.manifest import Workspace

__all__ = ["render_kong"]

_KIND: Final = "kong"


def render_kong(workspace: Workspace) -> Iterator[File]:
    """Yield ``kong.yml`` and ``kong.conf``."""
    yield _file("kong.yml", yaml_text(_configuration(workspace)))
    yield _file("kong.conf", _settings(workspace))


def _configuration(workspace: Workspace) -> Json:
    return {
        "_format_version": "3.0",
        "upstreams": upstreams(workspace),
        "services": list(services(workspace)),
        "routes": list(other_routes()),
        "plugins": list(everywhere(workspace)),
        **_consumers(workspace),
    }


def _consumers(workspace: Workspace) -> Json:
    """Whoever holds a token is one consumer: who it is, the services learn from the token itself."""
    if not workspace.production.kong.user_keys:
        return {}
    keys = [
        # The secret is for HS algorithms; the form asks for one, and EdDSA never reads it.
        {"key": key.kid, "algorithm": "EdDSA", "rsa_public_key": pem(key), "secret": "not-read"}
        for key in workspace.production.kong.user_keys
    ]
    return {"consumers": [{"username": f"users-of-{workspace.name}", "jwt_secrets": keys}]}


def _settings(workspace: Workspace) -> str:
    lines = []
    for name, (value, reason) in settings(workspace).items():
        lines += [f"# {reason}"] * bool(reason) + [f"{name} = {value}"]
    return "\n".join(lines) + "\n"


def _file(name: str, content: str) -> File:
    return File(path=PurePosixPath(name), content=heading(_KIND) + content)
