"""Small plans for tests, and facts of a machine that does not exist."""

from pathlib import Path
from typing import ClassVar

from bandstand.workspace.manifest import Gateway, Image, Production, Route, Server, Servers, Service, Workspace
from bandstand.workspace.runtime.binaries import Binaries
from bandstand.workspace.runtime.credentials import Credentials, ServiceCredentials
from bandstand.workspace.runtime.facts import Facts
from bandstand.workspace.runtime.folder import StateFolder
from bandstand.workspace.runtime.probes import FileProbe
from bandstand.workspace.runtime.resources import Action, Command, Plan, Process, Stage, Step, Task
from bandstand.workspace.runtime.system import RabbitMqPrograms

NATS = Server(kind="nats")
RABBITMQ = Server(kind="rabbitmq")
NOTHING = Command(arguments=("true",), folder=Path("/"))


class Nothing(Action, frozen=True, kw_only=True):
    """An action without effect; ``skipped`` is what it says."""

    skipped: tuple[str, ...] = ()

    async def perform(self) -> tuple[str, ...]:
        return self.skipped


class Waiting(Nothing, frozen=True, kw_only=True):
    """An action that only waits."""

    waits: ClassVar[bool] = True


def process(
    name: str,
    *,
    stage: Stage = Stage.WEB,
    after: str = "",
    needs: str = "",
    service: str = "s",
    port: int | None = None,
) -> Process:
    return Process(
        name=name,
        label=name,
        stage=stage,
        service=service or None,
        after=tuple(after.split()),
        needs=tuple(needs.split()),
        command=NOTHING,
        log=Path(f"/logs/{name}.log"),
        probe=FileProbe(path=Path("/never")),
        port=port,
    )


def task(name: str, *, after: str = "", then: Action | None = None, service: str = "s") -> Task:
    return Task(
        name=name,
        label=name,
        stage=Stage.TASK,
        service=service or None,
        after=tuple(after.split()),
        command=NOTHING,
        log=Path(f"/logs/{name}.log"),
        then=then,
    )


def step(name: str, *, after: str = "", action: Action | None = None) -> Step:
    return Step(name=name, label=name, stage=Stage.TASK, after=tuple(after.split()), action=action or Nothing())


def plan(*resources: Process | Task | Step) -> Plan:
    return Plan(resources=resources)


def workspace(root: Path, *, postgres: str | None = None, broker: Server = NATS) -> Workspace:
    return Workspace(
        name="shop",
        root=root,
        gateway=Gateway(port=8000),
        servers=Servers(postgres=Server(kind="postgres", url=postgres), broker=broker),
        production=Production(hosts=("shop.example",), namespace="shop", image=Image(prefix="shop")),
        services=(
            Service(
                name="user-service",
                folder=root / "user-service",
                module="user_service",
                calls=("order-service",),
                issues_user_tokens=True,
                seed=("make_users", "seed_demo"),
                routes=(Route(path="/api/v1/users"),),
            ),
            Service(name="order-service", folder=root / "order-service", module="order_service", worker=False),
        ),
    )


def facts(
    root: Path, *, gateway: int = 8000, has_cluster: bool = True, embedded: bool = True, broker: str = "nats"
) -> Facts:
    names = ("postgres", "redis", "nats", "gateway-admin", "user-service-web", "order-service-web")
    names += ("rabbitmq", "rabbitmq-distribution", "rabbitmq-epmd")
    rabbitmq = RabbitMqPrograms(server=Path("/bin/rabbitmq-server"), port_mapper=Path("/bin/epmd"))
    programs = {"valkey": Path("/bin/valkey"), "envoy": Path("/bin/envoy")}
    return Facts(
        folder=StateFolder(root / ".bandstand"),
        python="/venv/bin/python",
        cores=2,
        account="self",
        base={"PATH": "/bin"},
        binaries=Binaries(
            **programs,
            postgres=Path("/pg/bin") if embedded else None,
            nats=Path("/bin/nats") if broker == "nats" else None,
            rabbitmq=rabbitmq if broker == "rabbitmq" else None,
        ),
        credentials=Credentials(
            postgres="pg-admin",
            redis="redis-admin",
            nats="nats-admin",
            rabbitmq="rabbitmq-admin",
            services={name: _credentials(name) for name in ("user-service", "order-service", "left-long-ago")},
        ),
        ports={**{name: 20_000 + index for index, name in enumerate(names)}, "gateway": gateway},
        has_cluster=has_cluster,
        fingerprints={"user-service": "f-users", "order-service": "f-orders"},
    )


def _credentials(name: str) -> ServiceCredentials:
    return ServiceCredentials(
        secret_key=f"key-{name}",
        postgres=f"pg-{name}",
        redis=f"redis-{name}",
        nats=f"nats-{name}",
        rabbitmq=f"rabbitmq-{name}",
    )
