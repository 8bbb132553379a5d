"""What is wrong in a manifest is told all at once, with file, line and what to write instead."""

from pathlib import Path

import pytest

from bandstand.exceptions import ManifestError, WorkspaceError
from bandstand.workspace.manifest import load, parse

HEAD = '[platform]\nname = "shop"\n[services.a-service]\n'


def faults(source: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        parse(source)
    return list(caught.value.faults)


def fault(source: str) -> str:
    [only] = faults(source)
    return only


def test_all_faults_come_at_once_in_the_order_of_the_file() -> None:
    """One run of the command is enough to mend a file."""
    source = """\
[platform]
name = "Shop"

[gateway]
prot = 8000
port = 80000
cors_origins = ["*"]

[services.user-service]
calls = ["order-servce"]
threads = "many"

[services.order-service]
routes = [{ path = "users" }]
"""
    expected = [
        'bandstand.toml:2: platform.name is "Shop"; write a name of',
        'bandstand.toml:5: gateway.prot is not known; did you mean "port"?',
        "bandstand.toml:6: gateway.port is 80000; write a port from 1 to 65535.",
        'bandstand.toml:7: gateway.cors_origins[0] is "*"; an open gateway',
        'bandstand.toml:10: services.user-service.calls[0] names "order-servce", which is no service; did you mean',
        'bandstand.toml:11: services.user-service.threads is "many"; write a whole number from 1 to 256.',
        'bandstand.toml:14: services.order-service.routes[0].path is "users"; write a path such as "/api/v1/users".',
    ]
    found = faults(source)
    assert [line[: len(begin)] for line, begin in zip(found, expected, strict=True)] == expected


def test_the_file_is_named_as_the_reader_named_it() -> None:
    """The place can be clicked in a terminal."""
    with pytest.raises(ManifestError, match=r"^some/shop\.toml:1: "):
        parse("", Path("some/shop.toml"))


@pytest.mark.parametrize("source", ["", "\n\n", "# only a comment\n"])
def test_an_empty_file_says_how_to_begin(source: str) -> None:
    """A newcomer learns the least that a manifest needs."""
    assert fault(source).startswith("bandstand.toml:1: the file is empty; begin with [platform]")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("[platform]\nname = shop\n", 2),
        ("[platform]\nname = 'shop'\n[gateway\nport = 1\n", 3),
        ("[platform]\nname = '''shop\n", 2),
        ("[platform]\nname = 'a'\nname = 'b'\n", 3),
        ("[platform]\n[platform]\n", 2),
        ("platform = {name = 'a'\n", 1),
        ('x = "\\q"\n', 1),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(source: str, line: int) -> None:
    """A slip of syntax is one fault, where it is."""
    assert fault(source).startswith(f"bandstand.toml:{line}: this is not TOML: ")


def test_a_file_nested_without_end_is_refused() -> None:
    """A hostile file is a fault, not a crash."""
    assert "nested too deep" in fault(f"x = {'[' * 5000}{']' * 5000}")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("gateway.port = 0", "gateway.port is 0; write a port from 1 to 65535."),
        ("gateway.port = true", "gateway.port is true; write a port"),
        ('gateway.port = "8000"', 'gateway.port is "8000"; write a port'),
        ("gateway.host = 1", "gateway.host is 1; write the address to listen on"),
        ('gateway.host = "localhost"', 'gateway.host is "localhost"; write an IP address: "127.0.0.1"'),
        ('gateway.host = ""', 'gateway.host is ""; write an IP address'),
        ("gateway.timeout = 0", "gateway.timeout is 0; write seconds from 0.1 to 300."),
        ("gateway.timeout = inf", "gateway.timeout is null; write seconds"),
        ("gateway.timeout = nan", "gateway.timeout is null; write seconds"),
        ("gateway.max_body_bytes = 1", "gateway.max_body_bytes is 1; write a number of bytes from 1024"),
        ('gateway.cors_origins = "http://a"', 'gateway.cors_origins is "http://a"; write a list of origins'),
        ("gateway.rate_limit = 5", "gateway.rate_limit is 5; write a table, [gateway.rate_limit]."),
        ("gateway.rate_limit.minute = 0", "gateway.rate_limit.minute is 0; write a whole number of requests"),
        ("gateway.rate_limit.minute = -1", "gateway.rate_limit.minute is -1; write a whole number of requests"),
        (
            "gateway.rate_limit.second = 1",
            "gateway.rate_limit.second is not known; gateway.rate_limit may hold minute, hour.",
        ),
        ("gateway.rate_limit.minute = 2000", "gateway.rate_limit allows 2000 requests a minute but only 1000 an hour"),
        ("gateway = 1979-05-27", 'gateway is "1979-05-27"; write a table, [gateway].'),
        ("servers.redis = true", 'servers.redis is true; write "embedded" or the URL'),
        ('servers.redis = "http://x"', 'servers.redis is "http://x"; write "embedded" or a URL such as "redis://'),
        (
            'servers.postgres = "postgresql:///shop"',
            'servers.postgres is "postgresql:///shop"; write "embedded", "system", a folder',
        ),
        ('servers.nats = "nats://[x"', 'servers.nats is "nats://[x"; write "embedded"'),
        ("policy = 5", "policy is 5; write a table, [policy]."),
        ("policy.timeout = 0", "policy.timeout is 0; write a number of seconds above 0, at most 3600."),
        ("policy.retrys = 1", 'policy.retrys is not known; did you mean "retries"?'),
        ('servers.rabbitmq = "nats://x"', 'servers.rabbitmq is "nats://x"; write "system" or a URL such as "amqp://'),
        ('servers.rabbitmq = ""', 'servers.rabbitmq is ""; write "system" or the URL'),
        (
            'servers.rabbitmq = "embedded"',
            'servers.rabbitmq is "embedded"; RabbitMQ comes in no wheel, so write "system" for the one that is',
        ),
        ('servers.rabbitmq = "/opt/rabbitmq"', 'servers.rabbitmq is "/opt/rabbitmq"; write "system" or a URL'),
        ('servers.redis = "system"', 'servers.redis is "system"; write "embedded" or a URL such as "redis://'),
        ('servers.postgres = "System"', 'servers.postgres is "System"; write "embedded", "system", a folder such as'),
        ('servers.postgres = "../pg/bin"', 'servers.postgres is "../pg/bin"; write the folder of the programs as an'),
        ('servers.postgres = "~/pg/bin"', 'servers.postgres is "~/pg/bin"; write the folder of the programs as an'),
        ('servers.kafka = "x"', "servers.kafka is not known; servers may hold postgres, redis, nats, rabbitmq."),
        (
            'servers = { rabbitmq = "system", nats = "embedded" }',
            "servers.rabbitmq names a second broker beside servers.nats; remove one of the two.",
        ),
        (
            'production.images.postgres = "postgres"',
            'production.images.postgres is "postgres"; write an image with its tag, its digest or both, such as',
        ),
        (
            'production.images.kong = "kong:latest"',
            'production.images.kong is "kong:latest"; write an image with its tag',
        ),
        (
            'production.images.kong = "kong@sha256:12"',
            'production.images.kong is "kong@sha256:12"; write an image with',
        ),
        ('production.images.kong = "Kong:3"', 'production.images.kong is "Kong:3"; write an image with its tag'),
        ('production.images.kong = "host:5000/kong"', 'production.images.kong is "host:5000/kong"; write an image'),
        ('production.images.mysql = "mysql:8"', "production.images.mysql is not known; production.images may hold"),
        ("plattform.name = 'x'", 'plattform is not known; did you mean "platform"?'),
    ],
)
def test_a_wrong_value_says_what_to_write(line: str, text: str) -> None:
    """Each key tells its own rule."""
    assert f"bandstand.toml:1: {text}" in fault(f"{line}\n{HEAD}")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("threads = 0", "threads is 0; write a whole number from 1 to 256."),
        ('worker = "yes"', 'worker is "yes"; write true or false.'),
        ('calls = "b-service"', 'calls is "b-service"; write a list of service names'),
        ('calls = ["a-service"]', 'calls[0] names the service itself; remove "a-service".'),
        ('calls = ["b-service", "b-service"]', 'calls[1] names "b-service" twice; remove one.'),
        ('calls = ["zzz"]', 'calls[0] names "zzz", which is no service; the only other service is b-service.'),
        ('module = "user-service"', 'module is "user-service"; write the Python package'),
        ('seed = ["manage.py seed"]', 'seed is ["manage.py seed"]; write a list of names of management commands'),
        ('path = ""', 'path is ""; write the folder of the service'),
        ("routes = 5", "routes is 5; write a table, [[services.a-service.routes]]."),
        ("routes = [5]", "routes[0] is 5; write a table, [[services.a-service.routes]]."),
        ("routes = [{}]", 'routes[0].path is missing; write path = "/api/v1/users" or the like.'),
        ('routes = [{ path = "/api/v1" }]', 'routes[0].path is "/api/v1", which would open everything below it'),
        ('routes = [{ path = "/api/" }]', 'routes[0].path is "/api/", which would open everything below it'),
        ('routes = [{ path = "/" }]', 'routes[0].path is "/"; write a path such as "/api/v1/users".'),
        ('routes = [{ path = "/api/v1/users?x" }]', "routes[0].path is"),
        ('routes = [{ path = "/api/v1/../users" }]', "routes[0].path is"),
        ('routes = [{ path = "/api//users" }]', "routes[0].path is"),
        (
            'routes = [{ path = "/api/v1/users", rate_limit = { hour = 5 } }]',
            "routes[0].rate_limit allows 100 requests",
        ),
        ("policies.b-service.retries = 3", "policies.b-service is about a service that a-service does not call; add"),
        (
            'calls = ["b-service"]\npolicies.b-service = 3',
            "policies.b-service is 3; write a table, [services.a-service.policies.b-service].",
        ),
        (
            'calls = ["b-service"]\npolicies.b-service.breaker = "ajar"',
            'policies.b-service.breaker is "ajar"; write "auto", "open" or "closed".',
        ),
        ("colour = 3", "colour is not known; services.a-service may hold path, module, calls"),
        ("issue_user_tokens = true", 'issue_user_tokens is not known; did you mean "issues_user_tokens"?'),
    ],
)
def test_a_wrong_service_says_what_to_write(line: str, text: str) -> None:
    """The same for the keys of a service."""
    source = f"{HEAD}{line}\n[services.b-service]\n"
    place = 4 + line.count("\n")
    assert fault(source).startswith(f"bandstand.toml:{place}: services.a-service.{text}")


@pytest.mark.parametrize(
    "name", ["A", "a", "Shop", "1a", "-a", "a-", "a_b", "a.b", "a" * 42, "ü-service", "", "a b", "a\\n"]
)
def test_a_bad_name_is_refused(name: str) -> None:
    """Names become host names, databases and folders, so they are held to what all of these take."""
    assert "write a name of 2 to 41 small letters" in fault(f'platform.name = "shop"\n[services."{name}"]\n')
    assert "write a name of 2 to 41 small letters" in fault(f'platform.name = "{name}"\n[services.a-service]\n')


@pytest.mark.parametrize("name", ["ab", "a1", "a-b", "a" * 41])
def test_a_good_name_is_taken(name: str) -> None:
    """The shortest and the longest name work."""
    assert parse(f'platform.name = "{name}"\n[services.{name}]\n').service_names == (name,)


@pytest.mark.parametrize("name", ["gateway", "postgres", "redis", "nats", "rabbitmq"])
def test_a_service_cannot_have_the_name_of_a_server(name: str) -> None:
    """Logs and tables name both by these words."""
    assert "has the name of a part of the platform" in fault(f'platform.name = "shop"\n[services.{name}]\n')


@pytest.mark.parametrize("suffix", ["web", "worker", "migrate"])
def test_a_service_cannot_have_the_name_of_a_container(suffix: str) -> None:
    """The worker of a service and a service of that name would be one in Compose, in Consul and in logs."""
    other = f"[services.order-{suffix}]\n"
    text = f'platform.name = "shop"\n[services.order]\n{other}'
    assert "has the name of a container of order" in fault(text)
    assert parse(f'platform.name = "shop"\n{other}').service_names == (f"order-{suffix}",)


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        ("*", "name each origin"),
        ("https://*.shop.example", "name each origin"),
        ("http://localhost:3000/", 'write "http://localhost:3000".'),
        ("http://localhost:3000/shop", 'write "http://localhost:3000".'),
        ("HTTP://Shop.Example", 'write "http://shop.example".'),
        ("https://shop.example:443", 'write "https://shop.example".'),
        ("localhost:3000", "write scheme, host and port"),
        ("shop.example", "write scheme, host and port"),
        ("ftp://shop.example", "write scheme, host and port"),
        ("http://user@shop.example", "write scheme, host and port"),
        ("http://shop.example:70000", "write scheme, host and port"),
        ("http://[::1", "write scheme, host and port"),
        ("null", "write scheme, host and port"),
        ("", "write scheme, host and port"),
    ],
)
def test_a_wrong_origin_is_refused(origin: str, text: str) -> None:
    """An origin is compared letter by letter with what a browser sends, so it must be written as browsers do."""
    assert text in fault(f'{HEAD}[gateway]\ncors_origins = ["{origin}"]')


@pytest.mark.parametrize(
    ("network", "text"),
    [
        ("10.20.0.0", "write a network, such as"),
        ("10.20.0.7/16", "write a network, such as"),
        ("balancer.example", "write a network, such as"),
        ("0.0.0.0/0", "every client may say where it comes from"),
        ("::/0", "every client may say where it comes from"),
    ],
)
def test_a_wrong_proxy_is_refused(network: str, text: str) -> None:
    """A proxy is known by its address, and trust in all addresses is none."""
    told = fault(f'{HEAD}[gateway]\ntrusted_proxies = ["10.0.0.0/8", "{network}"]')
    assert f'gateway.trusted_proxies[1] is "{network}"' in told
    assert text in told


@pytest.mark.parametrize("network", ["10.20.0.0", "10.20.0.7/16", "0.0.0.0/0"])
def test_a_wrong_network_of_the_gateway_is_refused(network: str) -> None:
    """Services believe who connects from there: it is a network, and not everybody."""
    told = fault(f'{HEAD}[production]\ngateway_networks = ["{network}"]')
    assert f'production.gateway_networks[0] is "{network}"' in told


@pytest.mark.parametrize("network", ["10.20.0.0", "10.20.0.7/16", "10.20.0.0/29", "0.0.0.0/0", "fd00::/64", "docker"])
def test_a_wrong_network_for_compose_is_refused(network: str) -> None:
    """It must hold the gateway and every container."""
    told = fault(f'{HEAD}[production]\ncompose_subnet = "{network}"')
    assert f'production.compose_subnet is "{network}"' in told
    assert parse(f'{HEAD}[production]\ncompose_subnet = "10.20.0.0/28"').production.compose_subnet == "10.20.0.0/28"


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://shop.example", "http://[::1]:3000"])
def test_a_right_origin_is_taken(origin: str) -> None:
    """Scheme, host and a port that is not the scheme's own."""
    assert parse(f'{HEAD}[gateway]\ncors_origins = ["{origin}"]').gateway.cors_origins == (origin,)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ("/api/v1/users", "/api/v1/users", "leads /api/v1/users here, but services.a-service.routes[0] has it already"),
        (
            "/api/v1/users/",
            "/api/v1/users",
            "leads /api/v1/users here, but services.a-service.routes[0] has it already",
        ),
        ("/api/v1/users", "/api/users", "leads /api/users here, but services.a-service.routes[0] has it already"),
        (
            "/api/v1/users",
            "/api/v1/users/orders",
            "leads /api/v1/users/orders here, which meets /api/v1/users of a-service",
        ),
        (
            "/api/v1/users/orders",
            "/api/v1/users",
            "leads /api/v1/users here, which meets /api/v1/users/orders of a-service",
        ),
        ("/api/v1/users", "/api/users/orders", "leads /api/users/orders here, which meets /api/users of a-service"),
        ("/media/", "/media/logo.png", "leads /media/logo.png here, which meets /media of a-service"),
    ],
)
def test_routes_of_two_services_may_not_meet(first: str, second: str, text: str) -> None:
    """Each path leads to one service, also without its version."""
    source = f"""\
platform.name = "shop"
services.a-service.routes = [{{ path = "{first}" }}]
services.b-service.routes = [{{ path = "{second}" }}]
"""
    found = faults(source)
    assert any(text in one for one in found)
    assert all(one.startswith("bandstand.toml:3: services.b-service.routes[0].path ") for one in found)


def test_routes_of_one_service_may_lie_in_each_other() -> None:
    """A path below another may have a limit of its own; the same path twice may not."""
    nested = '{ path = "/api/v1/users" }, { path = "/api/v1/users/authenticate" }'
    assert len(parse(f"{HEAD}routes = [{nested}]").services[0].routes) == 2
    assert "has it already" in faults(f'{HEAD}routes = [{nested}, {{ path = "/api/v1/users/" }}]')[0]


def test_only_one_service_issues_user_tokens() -> None:
    """Two would not know each other's users; the later one is at fault."""
    source = f"{HEAD}issues_user_tokens = true\n[services.b-service]\nissues_user_tokens = true\n"
    assert fault(source).startswith("bandstand.toml:6: services.b-service.issues_user_tokens is true, but a-service")


def test_a_broken_service_is_not_unknown_as_well() -> None:
    """One mistake gives one fault: who calls a service that is written wrongly does nothing wrong."""
    assert "services.b-service is 5" in fault(f'services.b-service = 5\n{HEAD}calls = ["b-service"]\n')


def test_what_is_missing_is_told() -> None:
    """A platform has a name and at least one service."""
    assert [one.partition(" is missing")[0] for one in faults("[gateway]\nport = 1")] == [
        "bandstand.toml:1: platform.name",
        "bandstand.toml:1: services",
    ]


# --- on the disk ---------------------------------------------------------------------------------


def platform(folder: Path, *services: str, source: str = "") -> Path:
    """Write a manifest and a Django project for each of ``services``."""
    for name in services:
        package = folder / name / name.replace("-", "_")
        package.mkdir(parents=True)
        (folder / name / "manage.py").touch()
        (package / "wsgi.py").touch()
    path = folder / "bandstand.toml"
    path.write_text(source or '[platform]\nname = "shop"\n' + "".join(f"[services.{name}]\n" for name in services))
    return path


def test_a_platform_on_the_disk_is_loaded(tmp_path: Path) -> None:
    """Folders that hold Django projects are found beside the manifest."""
    workspace = load(platform(tmp_path, "a-service", "b-service"))
    assert [service.folder for service in workspace.services] == [tmp_path / "a-service", tmp_path / "b-service"]


def test_missing_folders_and_files_are_told_together(tmp_path: Path) -> None:
    """A folder, a manage.py and a package that are not there are faults of their services."""
    source = """\
[platform]
name = "shop"
[services.a-service]
path = "elsewhere"
[services.b-service]
[services.c-service]
module = "other"
"""
    path = platform(tmp_path, "b-service", "c-service", source=source)
    (tmp_path / "b-service" / "manage.py").unlink()
    with pytest.raises(ManifestError) as caught:
        load(path)
    first, second, third = caught.value.faults
    assert first.startswith(f"{path}:4: services.a-service.path needs the folder {tmp_path / 'elsewhere'}")
    assert second.startswith(f"{path}:5: services.b-service needs {tmp_path / 'b-service' / 'manage.py'}")
    assert third.startswith(f"{path}:7: services.c-service.module needs {tmp_path / 'c-service' / 'other' / 'wsgi.py'}")


def test_a_file_that_is_not_there_says_where_to_look(tmp_path: Path) -> None:
    """A wrong path is no traceback."""
    with pytest.raises(WorkspaceError, match="No such file"):
        load(tmp_path / "bandstand.toml")


def test_a_file_that_is_no_text_is_told_with_its_line(tmp_path: Path) -> None:
    """Latin-1 and binary files are refused where they stop being UTF-8."""
    path = tmp_path / "bandstand.toml"
    path.write_bytes(b'[platform]\nname = "caf\xe9"\n')
    with pytest.raises(ManifestError, match=":2: this is not UTF-8"):
        load(path)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    path = platform(tmp_path, "a-service")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load(path).name == "shop"
