"""Consul as Compose runs it: with its token a service may register its own name, and read; nothing else."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bandstand.conf import wire
from bandstand.discovery.backends.consul import ConsulRegistry
from bandstand.discovery.registrar import Entry
from bandstand.workspace.export.compose.consul import consul_tokens
from bandstand.workspace.manifest import Workspace, parse
from bandstand.workspace.runtime import write_secrets
from tests.integration.optional.servers import Consul, consul
from tests.programs import require_program
from tests.waiting import GUARD, until

pytestmark = pytest.mark.integration

SHOP: Final = """
[platform]
name = "shop"

[production]
discovery = "consul"

[services.user-service]
[services.order-service]
"""


class Registry:
    """A Consul with the tokens that Compose would give out, and what is asked of it with one of them."""

    def __init__(self, workspace: Workspace, secrets: Path, server: Consul) -> None:
        self.workspace, self.secrets, self.server = workspace, secrets, server

    def token(self, service: str) -> str:
        return (self.secrets / service / wire.DISCOVERY_TOKEN).read_text()

    def administrator(self) -> str:
        return (self.secrets / "consul" / "administrator").read_text()

    def issue_tokens(self) -> None:
        """Run the job of the Compose file; only the places of its files, and the server's address, are others."""
        [shell, option, script] = consul_tokens(self.workspace)["entrypoint"]
        script = script.replace("$$", "$").replace("/run/secrets/consul-administrator", "$S/consul/administrator")
        script = script.replace("/run/secrets/$2", "$S/consul/$1")
        assert "/run/secrets" not in script
        folder = Path(require_program("consul")).parent
        environment = {
            "S": str(self.secrets),
            "PATH": f"{folder}:{os.environ['PATH']}",
            "CONSUL_HTTP_ADDR": self.server.url,
        }
        subprocess.run([shell, option, script], env=environment, check=True, timeout=GUARD)

    def ask(self, verb: str, path: str, body: Any = None, *, token: str) -> tuple[int, bytes]:
        request = urllib.request.Request(
            f"{self.server.url}/v1/{path}",
            method=verb,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Consul-Token": token} if token else {},
        )
        try:
            with urllib.request.urlopen(request, timeout=GUARD) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def instances(self, service: str, *, token: str) -> list[str]:
        status, answer = self.ask("GET", f"health/service/{service}", token=token)
        return [entry["Service"]["ID"] for entry in json.loads(answer)] if status == 200 else []


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("consul")
    workspace, secrets = parse(SHOP), folder / "secrets"
    write_secrets(workspace, secrets)
    with consul(folder, (secrets / "consul" / "consul.json").read_text()) as server:
        registry = Registry(workspace, secrets, server)
        registry.issue_tokens()
        check = {"TTL": "1h", "Status": "passing"}
        instance = {
            "Name": "user-service",
            "ID": "user-service-1",
            "Address": "127.0.0.1",
            "Port": 8000,
            "Check": check,
        }
        assert registry.ask("PUT", "agent/service/register", instance, token=registry.token("user-service"))[0] == 200
        until(lambda: registry.instances("user-service", token=registry.administrator()), "Consul lists the instance")
        yield registry


VICTIM: Final = {"ID": "user-service-1", "Service": "user-service"}
ROGUE: Final = {"Address": "203.0.113.9", "Port": 1}
FOREIGN: Final[list[tuple[str, str, Any]]] = [
    ("PUT", "agent/service/register", {"Name": "user-service", "ID": "rogue", **ROGUE}),
    # Under a name of its own it would take the other's place.
    ("PUT", "agent/service/register", {"Name": "order-service", "ID": "user-service-1", **ROGUE}),
    ("PUT", "agent/service/deregister/user-service-1", None),
    ("PUT", "agent/service/maintenance/user-service-1?enable=true", None),
    ("PUT", "agent/check/register", {"Name": "false", "ServiceID": "user-service-1", "TTL": "1s"}),
    ("PUT", "agent/check/fail/service:user-service-1", None),
    ("PUT", "agent/check/deregister/service:user-service-1", None),
    ("PUT", "agent/maintenance?enable=true", None),
    ("PUT", "agent/leave", None),
    ("PUT", "agent/force-leave/bandstand", None),
    ("PUT", "agent/reload", None),
    ("PUT", "agent/join/127.0.0.1", None),
    ("PUT", "agent/token/agent", {"Token": "x"}),
    ("GET", "agent/self", None),
    ("GET", "agent/metrics", None),
    ("PUT", "catalog/register", {"Node": "rogue", "Address": "203.0.113.9", "Service": {"Service": "user-service"}}),
    ("PUT", "catalog/register", {"Node": "bandstand", "Address": "203.0.113.9"}),
    ("PUT", "catalog/deregister", {"Node": "bandstand", "ServiceID": "user-service-1"}),
    ("PUT", "catalog/deregister", {"Node": "bandstand"}),
    ("PUT", "kv/user-service/x", "1"),
    ("GET", "kv/user-service/x", None),
    ("DELETE", "kv/?recurse", None),
    ("PUT", "session/create", {"Name": "rogue", "Node": "bandstand"}),
    ("PUT", "event/fire/rogue", None),
    ("POST", "query", {"Name": "user-service", "Service": {"Service": "order-service"}}),
    ("PUT", "config", {"Kind": "service-resolver", "Name": "user-service", "Redirect": {"Service": "order-service"}}),
    ("PUT", "config", {"Kind": "service-defaults", "Name": "user-service", "Protocol": "http"}),
    ("PUT", "connect/intentions/exact?source=*&destination=user-service", {"Action": "deny"}),
    ("PUT", "acl/bootstrap", {}),
    ("PUT", "acl/token", {"ServiceIdentities": [{"ServiceName": "user-service"}]}),
    ("PUT", "acl/policy", {"Name": "all", "Rules": 'service_prefix "" { policy = "write" }'}),
    ("GET", "acl/tokens", None),
    ("PUT", "operator/keyring", {"Key": "x"}),
    ("DELETE", "operator/raft/peer?address=127.0.0.1:8300", None),
    ("PUT", "operator/autopilot/configuration", {"CleanupDeadServers": False}),
    ("GET", "snapshot", None),
    ("PUT", "txn", [{"Service": {"Verb": "delete", "Node": "bandstand", "Service": VICTIM}}]),
    ("PUT", "txn", [{"KV": {"Verb": "set", "Key": "user-service/x", "Value": "MQ=="}}]),
]


@pytest.mark.parametrize("who", ["order-service", ""], ids=["another service", "nobody"])
@pytest.mark.parametrize(("verb", "path", "body"), FOREIGN, ids=lambda value: value if isinstance(value, str) else "")
def test_nothing_of_another_service_can_be_changed(
    registry: Registry, verb: str, path: str, body: Any, who: str
) -> None:
    """Refused, and the other's instance stands as it was."""
    before = registry.ask("GET", "health/service/user-service", token=registry.administrator())[1]
    status, answer = registry.ask(verb, path, body, token=registry.token(who) if who else "")
    assert status >= 400, (status, answer)
    assert b"permission denied" in answer.lower() or b"denied due to ACLs" in answer, (status, answer)
    assert registry.ask("GET", "health/service/user-service", token=registry.administrator())[1] == before


def test_the_same_attempts_succeed_for_who_may(registry: Registry) -> None:
    """The attempts are ones that Consul knows: the owner's token changes its own instance."""
    own = registry.token("user-service")
    for enable in ("true", "false"):
        assert registry.ask("PUT", f"agent/service/maintenance/user-service-1?enable={enable}", token=own)[0] == 200


def test_without_a_token_nothing_is_seen(registry: Registry) -> None:
    """Instances are listed for a service with its token, and for nobody without one."""
    assert registry.instances("user-service", token="") == []
    assert registry.instances("user-service", token=registry.token("order-service")) == ["user-service-1"]


def test_services_find_each_other_with_their_tokens(registry: Registry) -> None:
    """The toolkit needs no other right: it registers, is found by another service, and leaves."""
    url = f"{registry.server.url.replace('http', 'consul')}/?check=ttl"
    order, user = (ConsulRegistry(url, token=registry.token(name)) for name in ("order-service", "user-service"))
    entry = Entry(
        id="order-service-1", service="order-service", name="order-service", host="127.0.0.1", port=8000, probe=""
    )
    try:
        order.register(entry, ready=True)
        order.renew(entry, ready=lambda: True)
        until(
            lambda: [found.url for found in user.instances("order-service")] == ["http://127.0.0.1:8000"],
            "the other service finds it",
        )
        order.withdraw(entry)
        until(lambda: not any(found.healthy for found in user.look_up("order-service") or ()), "it is found no more")
        order.deregister(entry)
    finally:
        order.close()
        user.close()


def test_a_new_token_replaces_the_one_before(registry: Registry) -> None:
    """After the file of a token was removed and made anew, the job creates the new token and revokes the old one."""
    before = registry.token("order-service")
    registry.issue_tokens()  # a second time changes nothing
    assert registry.ask("GET", "acl/token/self", token=before)[0] == 200
    (registry.secrets / "order-service" / wire.DISCOVERY_TOKEN).unlink()
    write_secrets(registry.workspace, registry.secrets)
    registry.issue_tokens()
    assert registry.ask("GET", "acl/token/self", token=before)[0] == 403
    assert registry.instances("user-service", token=registry.token("order-service")) == ["user-service-1"]
