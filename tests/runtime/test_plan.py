"""The plan of a platform, as data: who comes after whom, with which command and which environment."""

import hashlib
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bandstand.conf import ServiceEnvironment, wire
from bandstand.workspace.manifest import Gateway, Server
from bandstand.workspace.runtime.plan import make_plan
from bandstand.workspace.runtime.resources import Command, Plan, Process, Resource, Step, Task
from bandstand.workspace.runtime.servers.databases import PrepareDatabases, RecordDatabase
from bandstand.workspace.runtime.servers.existing import ReachServer
from tests.runtime.plans import RABBITMQ, facts, workspace

ROOT = Path("/w")


@pytest.fixture
def plan() -> Plan:
    return make_plan(workspace(ROOT), facts(ROOT))


@pytest.fixture
def on_rabbitmq() -> Plan:
    return make_plan(workspace(ROOT, broker=RABBITMQ), facts(ROOT, broker="rabbitmq"))


def process(plan: Plan, name: str) -> Process:
    found = plan.resource(name)
    assert isinstance(found, Process)
    return found


def commands(plan: Plan) -> Iterator[tuple[Resource, Command]]:
    for resource in plan.resources:
        if isinstance(resource, Process | Task):
            yield resource, resource.command


def test_the_same_facts_give_the_same_plan(plan: Plan) -> None:
    """Planning is pure: it looks at nothing but its arguments, and these folders do not even exist."""
    assert make_plan(workspace(ROOT), facts(ROOT)) == plan


def test_everything_is_there(plan: Plan) -> None:
    """Servers, the step for databases, and for each service its tasks and processes."""
    assert [resource.name for resource in plan.resources] == [
        "postgres",
        "redis",
        "nats-check",
        "nats",
        "gateway-check",
        "gateway",
        "databases",
        "user-service-migrate",
        "user-service-make-users",
        "user-service-seed-demo",
        "user-service-web",
        "user-service-worker",
        "order-service-migrate",
        "order-service-web",
        "gateway-told",
    ]


def test_dependencies_stand_before_those_who_depend_on_them(plan: Plan) -> None:
    """Each name in after and needs exists, and earlier in the plan, so there is no circle."""
    seen: set[str] = set()
    for resource in plan.resources:
        assert {*resource.after, *resource.needs} <= seen, resource.name
        seen.add(resource.name)


def test_a_web_process_starts_at_once_and_is_ready_when_all_it_needs_is(plan: Plan) -> None:
    """A dependency gates readiness, never boot."""
    web = process(plan, "user-service-web")
    assert web.after == ()
    assert set(web.needs) >= {"postgres", "redis", "nats", "user-service-migrate", "user-service-seed-demo"}


@pytest.mark.parametrize(("timeout", "grace"), [(0.5, 5), (10.0, 10), (12.5, 13), (300.0, 25)])
def test_a_web_process_may_finish_what_the_gateway_still_waits_for(timeout: float, grace: int) -> None:
    """A restart must not cut a request that a client still waits for; yet nothing holds the end up for minutes."""
    place = workspace(ROOT)
    place = msgspec.structs.replace(place, gateway=msgspec.structs.replace(place.gateway, timeout=timeout))
    web = process(make_plan(place, facts(ROOT)), "user-service-web")
    arguments = web.command.arguments
    assert arguments[arguments.index("--workers-kill-timeout") + 1] == str(grace)
    assert web.grace > grace


def test_seeds_run_one_after_the_other_and_the_last_one_is_noted(plan: Plan) -> None:
    """A seed may build on the one before; only when all went well they are done for ever."""
    first, last = (plan.resource(name) for name in ("user-service-make-users", "user-service-seed-demo"))
    assert isinstance(first, Task)
    assert isinstance(last, Task)
    assert (first.after, last.after) == (("user-service-migrate",), ("user-service-make-users",))
    assert first.then is None
    assert isinstance(last.then, RecordDatabase)
    assert last.then.seeded


def test_a_new_cluster_is_made_first() -> None:
    """Without data initdb runs before the server; with it, the server starts at once."""
    fresh = make_plan(workspace(ROOT), facts(ROOT, has_cluster=False))
    assert fresh.resources[0].name == "postgres-init"
    assert process(fresh, "postgres").after == ("postgres-init",)
    assert [file.path.name for file in fresh.files if file.path.parent.name == "postgres"] == ["password"]


def test_postgres_keeps_what_it_promised(plan: Plan) -> None:
    """Comfort for developers is never bought with durability."""
    arguments = process(plan, "postgres").command.arguments
    for setting in ("fsync=on", "synchronous_commit=on", "full_page_writes=on", "listen_addresses=127.0.0.1"):
        assert setting in arguments


def test_the_broker_can_be_rabbitmq(on_rabbitmq: Plan) -> None:
    """It takes the place of NATS, after the port mapper that it needs; services get its URL and wait for it."""
    names = [resource.name for resource in on_rabbitmq.resources]
    assert names[:4] == ["postgres", "redis", "rabbitmq-epmd", "rabbitmq"]
    assert process(on_rabbitmq, "rabbitmq").after == ("rabbitmq-epmd",)
    worker = process(on_rabbitmq, "user-service-worker")
    assert worker.needs == ("postgres", "redis", "rabbitmq")
    url = worker.command.environment[wire.BROKER_URL]
    assert url == "amqp://user-service:rabbitmq-user-service@127.0.0.1:20006/%2F"


def test_rabbitmq_lets_a_service_publish_in_its_own_name_alone(on_rabbitmq: Plan) -> None:
    """A service declares, writes and reads what bears its name. Besides, it publishes to one exchange, which it can't
    declare, with keys that begin with its name, and reads the platform's events."""
    content = next(file.content for file in on_rabbitmq.files if file.path.name == "definitions.json")
    definitions = msgspec.json.decode(content)
    permissions = {row["user"]: row for row in definitions["permissions"]}
    assert set(permissions) == {"bandstand", "user-service", "order-service"}
    orders = permissions["order-service"]
    for name in ("shop.order-service", "shop.order-service.mail", "shop.order-service.mail:user.created"):
        for right in ("configure", "write", "read"):
            assert re.search(orders[right], name)
    reachable = {"shop.events": ["read"], "shop.events.order-service": ["write"]}
    strange = ["shop.user-service.mail", "shop.order-services", "ashop.events", "shopxevents"]
    strange += ["shop.events.user-service", "shop.events.order-service.x", "amq.topic", "amq.default", ""]
    for name in (*reachable, *strange):
        rights = [right for right in ("configure", "write", "read") if re.search(orders[right], name)]
        assert rights == reachable.get(name, []), name
    (topics,) = (row for row in definitions["topic_permissions"] if row["user"] == "order-service")
    assert topics["exchange"] == "shop.events.order-service"
    assert re.search(topics["write"], "order-service.order.placed")
    assert not re.search(topics["write"], "user-service.user.created")
    assert {user["tags"] for user in definitions["users"] if user["name"] != "bandstand"} == {""}


def test_rabbitmq_knows_hashes(on_rabbitmq: Plan) -> None:
    """No password stands in its files, and the hash is RabbitMQ's: four bytes of salt, SHA-256 of salt and password."""
    assert not [file for file in on_rabbitmq.files if "rabbitmq-order-service" in file.content]
    content = next(file.content for file in on_rabbitmq.files if file.path.name == "definitions.json")
    (row,) = (user for user in msgspec.json.decode(content)["users"] if user["name"] == "order-service")
    raw = b64decode(row["password_hash"])
    assert raw[4:] == hashlib.sha256(raw[:4] + b"rabbitmq-order-service").digest()


def test_rabbitmq_starts_no_port_mapper_of_its_own(on_rabbitmq: Plan) -> None:
    """One that Erlang starts would outlive the platform; and nothing of it listens beyond this machine."""
    environment = process(on_rabbitmq, "rabbitmq").command.environment
    assert "-start_epmd false" in environment["ERL_FLAGS"]
    assert environment["ERL_EPMD_PORT"] == str(process(on_rabbitmq, "rabbitmq-epmd").port)
    assert "inet_dist_use_interface {127,0,0,1}" in environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]
    configuration = next(file.content for file in on_rabbitmq.files if file.path.name == "rabbitmq.conf")
    assert "listeners.tcp.1 = 127.0.0.1:20006" in configuration


def test_every_server_listens_on_the_loopback_only(plan: Plan) -> None:
    """The configuration files and commands name 127.0.0.1 and no other address."""
    text = "".join(file.content for file in plan.files) + "".join(str(command) for _, command in commands(plan))
    assert "0.0.0.0" not in text
    assert '"127.0.0.1:20002"' in text
    assert "bind 127.0.0.1\nport 20001" in text


def test_passwords_are_never_arguments(plan: Plan, on_rabbitmq: Plan) -> None:
    """Every user of a machine can read the arguments of its processes."""
    secret = ("pg-", "redis-admin", "nats-admin", "key-", "redis-user", "nats-user", "rabbitmq-admin", "rabbitmq-user")
    for resource, command in (*commands(plan), *commands(on_rabbitmq)):
        assert not [word for word in command.arguments if word.startswith(secret)], resource.name


def test_a_plan_shows_no_secret(plan: Plan) -> None:
    """Printing a plan in a log or a traceback tells no password and no content of a file."""
    shown = repr(plan) + repr(facts(ROOT))
    for secret in ("pg-admin", "pg-user-service", "key-user-service", "redis-user-service", "nats-user-service"):
        assert secret not in shown


def test_a_service_gets_every_variable_of_the_wire(plan: Plan) -> None:
    """The runner writes what a service reads: a variable that is added to the wire must be decided here too."""
    variables = {
        value
        for name, value in vars(wire).items()
        if name.isupper() and isinstance(value, str) and (value.startswith("BANDSTAND_") or value.isupper())
    }
    only_in_fault_tests = {wire.TESTING, wire.FAILPOINTS}
    registration = {wire.DISCOVERY_TOKEN, wire.ADVERTISE, wire.REGISTER, wire.TAGS}  # `up` writes its file itself
    for_who_deploys = {
        wire.WORKER_PORT,
        wire.FILE_SUFFIX,
        wire.MEMORY,
        wire.HSTS_PRELOAD,
        wire.BROKER_ADMIN_URL,
        *registration,
    }
    worker = process(plan, "user-service-worker").command.environment
    assert variables - only_in_fault_tests - for_who_deploys <= set(worker)


def test_a_service_understands_its_environment(plan: Plan) -> None:
    """What the runner writes is read without a fault, and means what it should."""
    for name in ("user-service", "order-service"):
        command = process(plan, f"{name}-web").command
        read = ServiceEnvironment.read(name, command.environment)
        assert read.platform == "shop"
        assert read.process == "web"
        assert read.debug
        assert read.database["USER"] == name.replace("-", "_")
        assert command.environment["DJANGO_SETTINGS_MODULE"] == f"{name.replace('-', '_')}.settings"


def test_services_believe_the_gateway_and_the_load_balancers_before_it() -> None:
    """A proxy that the manifest names makes no clients one, and no other network of this machine is believed."""
    known = workspace(ROOT)
    behind = msgspec.structs.replace(known, gateway=Gateway(port=8000, trusted_proxies=("10.20.0.7/32",)))
    found = [
        process(make_plan(each, facts(ROOT)), "order-service-web").command.environment[wire.TRUSTED_PROXIES]
        for each in (known, behind)
    ]
    assert found == ["127.0.0.1/32,::1/128", "127.0.0.1/32,::1/128,10.20.0.7/32"]


def test_who_may_call_is_the_inverse_of_who_calls(plan: Plan) -> None:
    """A service's list of callers is made of the services that declare to call it."""
    users, orders = (process(plan, f"{name}-service-web").command.environment for name in ("user", "order"))
    assert orders[wire.ALLOWED_CALLERS] == "user-service"
    assert users[wire.ALLOWED_CALLERS] == ""


def test_only_the_issuer_holds_the_key_for_user_tokens(plan: Plan) -> None:
    """Every service knows where the public keys are; one has the private one."""
    users, orders = (process(plan, f"{name}-service-web").command.environment for name in ("user", "order"))
    assert users[wire.USER_KEY_FILE].endswith("keys/user-service.users.json")
    assert orders[wire.USER_KEY_FILE] == ""
    assert orders[wire.USER_JWKS_URL] == "http://user-service/.well-known/jwks.json"


def test_services_have_nothing_in_common_that_is_secret(plan: Plan) -> None:
    """No password or key of one service is in the environment of another."""
    users, orders = (process(plan, f"{name}-service-web").command.environment for name in ("user", "order"))
    for name in (wire.SECRET_KEY, wire.DATABASE_URL, wire.CACHE_URL, wire.BROKER_URL, wire.SERVICE_KEY_FILE):
        assert users[name] != orders[name]
    assert not [value for value in orders.values() if "-user-service" in value and "keys" not in value]


def test_the_broker_lets_a_service_publish_its_own_events_alone(plan: Plan) -> None:
    """A service writes below <platform>.events.<service>, reads only answers, and can't delete what others need."""
    content = next(file.content for file in plan.files if file.path.name == "nats.json")
    users = {user["user"]: user["permissions"] for user in msgspec.json.decode(content)["authorization"]["users"]}
    allowed = users["order-service"]["publish"]["allow"]
    assert allowed[0] == "shop.events.order-service.>"
    own = "shop-events-order-service"
    assert all(subject.startswith(("$JS.API.", "$JS.ACK.")) and own in subject for subject in allowed[1:])
    assert not [
        subject for subject in allowed if "STREAM.DELETE" in subject or "PURGE" in subject or "UPDATE" in subject
    ]
    assert users["order-service"]["subscribe"] == {"allow": ["_INBOX.order-service.>"]}
    assert set(users) == {"bandstand", "user-service", "order-service"}


def test_redis_knows_hashes_and_prefixes(plan: Plan) -> None:
    """No password stands in the list of users, nobody is let in without a name, keys are fenced in."""
    content = next(file.content for file in plan.files if file.path.name == "users.acl")
    assert "redis-" not in content
    assert content.startswith("user default off\n")
    line = next(line for line in content.splitlines() if line.startswith("user order-service "))
    assert "~order-service:*" in line
    assert "-@dangerous" in line


def test_a_taken_gateway_port_is_said() -> None:
    """The notice names both ports."""
    plan = make_plan(workspace(ROOT), facts(ROOT, gateway=8003))
    assert plan.notices == ("Port 8000 is taken, so the gateway listens on 8003.",)


def test_a_database_that_exists_elsewhere_is_used(plan: Plan) -> None:
    """With a URL no cluster is planned: databases are made there, and services connect there."""
    url = "postgres://boss:pw@db.example:5433/main"
    external = make_plan(workspace(ROOT, postgres=url), facts(ROOT, embedded=False))
    server = external.resource("postgres")
    assert isinstance(server, Step)
    assert server.action == ReachServer(kind="postgres", host="db.example", port=5433)
    assert "postgres-init" not in [resource.name for resource in external.resources]
    databases = external.resource("databases")
    assert isinstance(databases, Step)
    assert isinstance(databases.action, PrepareDatabases)
    assert databases.action.administrators[0].host == "db.example"
    assert not databases.action.owned
    environment = process(external, "user-service-web").command.environment
    assert environment[wire.DATABASE_URL] == "postgres://user_service:pg-user-service@db.example:5433/user_service"


def test_the_part_that_a_migration_needs(plan: Plan) -> None:
    """Only the database server and the making of databases come along; alone it comes without them."""
    needed = plan.needed_for("order-service-migrate")
    assert [resource.name for resource in needed.resources] == ["postgres", "databases", "order-service-migrate"]
    assert [resource.name for resource in plan.part("order-service-migrate").resources] == ["order-service-migrate"]


def test_migrations_that_are_asked_for_always_run() -> None:
    """`migrate` never takes a database for up to date; `up` compares fingerprints."""
    for always, wanted in ((False, "f-users"), (True, "")):
        databases = make_plan(workspace(ROOT), facts(ROOT), migrate_always=always).resource("databases")
        assert isinstance(databases, Step)
        assert isinstance(databases.action, PrepareDatabases)
        assert databases.action.databases[0].fingerprint == wanted


@pytest.mark.parametrize("broker", ["nats", "rabbitmq"])
def test_every_server_is_asked_for_its_health(tmp_path: Path, broker: str) -> None:
    """Also when it was ready, and what gives no answer for a minute is started anew: nobody else would notice."""
    plan = make_plan(workspace(tmp_path, broker=Server(kind=broker)), facts(tmp_path, broker=broker))
    servers = [each for each in plan.resources if isinstance(each, Process) and each.service is None]
    assert {"postgres", "redis", broker, "gateway"} <= {each.name for each in servers}
    for server in servers:
        assert server.probe.again is not None, server.name
        assert server.liveness is not None, server.name
        assert server.silence == 60.0, server.name
