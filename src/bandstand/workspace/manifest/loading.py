"""From the file on the disk to a :class:`Workspace`, or to every fault at once."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from bandstand.exceptions import ManifestError, WorkspaceError
from bandstand.workspace.manifest import rules
from bandstand.workspace.manifest.model import (
    EMBEDDED,
    SYSTEM,
    Envoy,
    Gateway,
    Image,
    Images,
    Kong,
    Production,
    RateLimit,
    Route,
    Server,
    ServerKind,
    Servers,
    Service,
    UserKey,
    Workspace,
    is_folder,
)
from bandstand.workspace.manifest.paths import aliases, canonical, is_exact
from bandstand.workspace.manifest.positions import Positions, Steps
from bandstand.workspace.manifest.shape import Fault, dotted, sound
from bandstand.workspace.manifest.tables import (
    KongTable,
    Manifest,
    ProductionTable,
    RateLimitTable,
    ServersTable,
    ServiceTable,
)

__all__ = ["FILE_NAME", "load", "locate", "parse"]

FILE_NAME: Final = "bandstand.toml"
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")
_EMPTY: Final = 'the file is empty; begin with [platform], name = "shop", and a table [services.NAME] for each service.'


def locate(folder: Path) -> Path:
    """Return the manifest in ``folder`` or in the nearest folder above it.

    Raises:
        WorkspaceError: there is none.
    """
    for candidate in (folder, *folder.absolute().parents):
        if (candidate / FILE_NAME).is_file():
            return candidate / FILE_NAME
    raise WorkspaceError(
        f"There is no {FILE_NAME} in {folder} or above it.",
        hint="Go to the folder of a platform, or name it: `bandstand -C DIR …`.",
    )


def load(path: Path) -> Workspace:
    """Read the manifest at ``path`` and check it together with the folders that it names.

    Raises:
        ManifestError: with every fault.
        WorkspaceError: the file can't be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        hint = f"Name a {FILE_NAME}, or go to the folder that holds one."
        raise WorkspaceError(f"{path} can't be read: {error.strerror}.", hint=hint) from error
    try:
        source = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ManifestError([f"{path}:{line}: this is not UTF-8; save the file as UTF-8."]) from error
    return _read(source, path, check_folders=True)


def parse(source: str, path: Path = Path(FILE_NAME)) -> Workspace:
    """Read a manifest from text as if it stood at ``path``; nothing on the disk is looked at.

    Raises:
        ManifestError: with every fault.
    """
    return _read(source, path, check_folders=False)


def _read(source: str, path: Path, *, check_folders: bool) -> Workspace:
    document = _document(source, path)
    manifest, shape_faults = sound(document)
    found = _without_echoes(shape_faults, rules.faults(manifest, _names(document)))
    root = path.absolute().parent
    if check_folders:
        found += _folder_faults(manifest, root)
    if found:
        positions = Positions(source)
        lines = sorted({(positions.line(fault.steps), f"{dotted(fault.steps)} {fault.text}") for fault in found})
        raise ManifestError([f"{path}:{line}: {text}" for line, text in lines])
    return _workspace(manifest, root)


def _document(source: str, path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else source.rstrip().count("\n") + 1
        text = _PLACE.sub("", str(error))
        raise ManifestError([f"{path}:{line}: this is not TOML: {text[:1].lower()}{text[1:]}."]) from error
    except RecursionError:
        raise ManifestError([f"{path}:1: the values are nested too deep; no table of the manifest is."]) from None
    if not document:
        raise ManifestError([f"{path}:1: {_EMPTY}"])
    return document


def _without_echoes(shape_faults: list[Fault], rule_faults: Iterable[Fault]) -> list[Fault]:
    """Leave out a broken rule where the value itself, or what holds it, is already at fault."""
    places = {fault.steps for fault in shape_faults}
    echoes = (fault for fault in rule_faults if not _known(fault.steps, places))
    return shape_faults + list(echoes)


def _known(steps: Steps, places: set[Steps]) -> bool:
    return any(steps[:length] in places for length in range(1, len(steps) + 1))


def _names(document: dict[str, Any]) -> tuple[str, ...]:
    services = document.get("services")
    return tuple(services) if isinstance(services, dict) else ()


def _folder_faults(manifest: Manifest, root: Path) -> Iterator[Fault]:
    for name, service in manifest.services.items():
        folder, module = _folder(name, service, root), _module(name, service)
        steps: Steps = ("services", name, "path") if service.path else ("services", name)
        wsgi = Path(*module.split("."), "wsgi.py")
        if not folder.is_dir():
            yield Fault(steps, f"needs the folder {folder}, which is not there; make it or write another path.")
        elif not (folder / "manage.py").is_file():
            yield Fault(
                steps, f"needs {folder / 'manage.py'}, which is not there; write the folder of a Django project."
            )
        elif not (folder / wsgi).is_file():
            place: Steps = ("services", name, "module") if service.module else ("services", name)
            yield Fault(
                place, f"needs {folder / wsgi}, which is not there; write the package that holds wsgi.py as module."
            )


def _folder(name: str, service: ServiceTable, root: Path) -> Path:
    return root / (service.path or name)


def _module(name: str, service: ServiceTable) -> str:
    return service.module or name.replace("-", "_")


def _workspace(manifest: Manifest, root: Path) -> Workspace:
    written = [canonical(route.path) for service in manifest.services.values() for route in service.routes]
    limit = _limit(manifest.gateway.rate_limit, RateLimit())
    gateway = manifest.gateway
    production = _production(manifest.production, manifest.platform.name)
    return Workspace(
        name=manifest.platform.name,
        root=root,
        gateway=Gateway(
            host=gateway.host,
            port=gateway.port,
            cors_origins=gateway.cors_origins,
            rate_limit=limit,
            timeout=gateway.timeout,
            max_body_bytes=gateway.max_body_bytes,
            trusted_proxies=gateway.trusted_proxies,
        ),
        servers=_servers(manifest.servers),
        production=production,
        services=tuple(
            _service(name, service, root, limit=limit, alias=aliases(written), production=production)
            for name, service in manifest.services.items()
        ),
        policy=manifest.policy,
    )


def _service(
    name: str,
    table: ServiceTable,
    root: Path,
    *,
    limit: RateLimit,
    alias: dict[str, str],
    production: Production,
) -> Service:
    return Service(
        name=name,
        folder=_folder(name, table, root),
        module=_module(name, table),
        calls=table.calls,
        issues_user_tokens=table.issues_user_tokens,
        seed=table.seed,
        worker=table.worker,
        threads=table.threads,
        cpu=table.cpu or production.cpu,
        cpu_limit=table.cpu_limit or production.cpu_limit,
        memory=table.memory or production.memory,
        policies=table.policies,
        routes=tuple(
            Route(
                path=canonical(route.path),
                alias=alias.get(canonical(route.path)),
                exact=is_exact(route.path),
                rate_limit=_limit(route.rate_limit, limit) if route.rate_limit != RateLimitTable() else None,
            )
            for route in table.routes
        ),
    )


def _servers(table: ServersTable) -> Servers:
    return Servers(
        postgres=_server("postgres", table.postgres),
        redis=_server("redis", table.redis),
        broker=_server("rabbitmq", table.rabbitmq) if table.rabbitmq else _server("nats", table.nats),
    )


def _server(kind: ServerKind, place: str) -> Server:
    if place in {"", EMBEDDED}:
        return Server(kind=kind)
    if place == SYSTEM:
        return Server(kind=kind, system=True)
    if is_folder(place):
        return Server(kind=kind, system=True, programs=Path(place))
    return Server(kind=kind, url=place)


def _production(table: ProductionTable, platform: str) -> Production:
    keys = msgspec.structs.asdict(table)
    image = msgspec.structs.asdict(table.image)
    return Production(
        **{
            **keys,
            "hosts": table.hosts or (f"{platform}.localhost",),
            "namespace": table.namespace or platform,
            "image": Image(**{**image, "prefix": table.image.prefix or platform}),
            "images": Images(**msgspec.structs.asdict(table.images)),
            "kong": _kong(table.kong),
            "envoy": Envoy(**msgspec.structs.asdict(table.envoy)),
        }
    )


def _kong(table: KongTable) -> Kong:
    return Kong(
        counters=table.counters,
        token_routes=tuple(canonical(path) for path in table.token_routes),
        user_keys=tuple(UserKey(kid=key.kid, x=key.x) for key in table.user_keys),
    )


def _limit(table: RateLimitTable, default: RateLimit) -> RateLimit:
    return RateLimit(minute=table.minute or default.minute, hour=table.hour or default.hour)
