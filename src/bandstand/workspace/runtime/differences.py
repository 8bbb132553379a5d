"""Where production, as it is exported, runs another series of a server than `bandstand up` does on this machine."""

from collections.abc import Iterable, Iterator

from bandstand.exceptions import ServerMissing
from bandstand.workspace import versions
from bandstand.workspace.manifest import Server, Workspace
from bandstand.workspace.runtime.system import find_rabbitmq, find_system_postgres, rabbitmq_version

__all__ = ["version_differences"]


def version_differences(workspace: Workspace, rendered: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each image in the ``rendered`` files whose series is not the one that runs here."""
    text = "\n".join(rendered)
    for release, image, server in _images(workspace):
        there = release.series_of_image(image)
        if image in text and there and not server.is_external:
            yield from _difference(release, there, server)


def _images(workspace: Workspace) -> Iterator[tuple[versions.Release, str, Server]]:
    images, servers = workspace.production.images, workspace.servers
    yield versions.POSTGRES, images.postgres, servers.postgres
    yield versions.VALKEY, images.valkey, servers.redis
    if servers.broker.kind == "rabbitmq":
        yield versions.RABBITMQ, images.rabbitmq, servers.broker
    else:
        yield versions.NATS, images.nats, servers.broker


def _difference(release: versions.Release, there: str, server: Server) -> Iterator[str]:
    here, name = _series_here(release, server), release.name
    place = f'servers.{server.kind} = "{server.place}"'
    if not here:
        yield (
            f"Production runs {name} {there}, and this machine has no {name} to compare ({place}): "
            f"take {there} where the platform runs."
        )
    elif here != there:
        yield (
            f"Production runs {name} {there}, and `bandstand up` runs {here} here ({place}). Run {there} here too, "
            "or name the image that you mean under [production.images] in bandstand.toml."
        )


def _series_here(release: versions.Release, server: Server) -> str:
    """Return the series that `bandstand up` starts, or nothing where the machine has none."""
    if not server.system:
        return release.series  # of the wheel
    try:
        if server.kind == "postgres":
            return str(find_system_postgres(server.programs).version)
        return release.series_of(rabbitmq_version(find_rabbitmq()))
    except ServerMissing:
        return ""
