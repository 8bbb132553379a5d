import json
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import registry

from bandstand.conf import wire
from bandstand.exceptions import ConfigurationError
from bandstand.identity import generate_key, key_set, load_keys, service_token
from bandstand.identity.checks import check_identity, register_checks
from tests.identity.conftest import World

MIDDLEWARE = ["bandstand.context.RequestTrackingMiddleware", "bandstand.identity.ServiceAuthMiddleware"]


@pytest.fixture(autouse=True)
def sound(configured: World, settings: Any) -> None:
    settings.MIDDLEWARE = MIDDLEWARE


def found() -> list[str]:
    return [str(message.id).removeprefix("bandstand.identity.") for message in check_identity()]


def test_a_sound_service_passes(configured: World) -> None:
    """With keys in place, closed to others, and middleware in order there is nothing to say."""
    assert check_identity() == []
    load_keys()


def test_a_service_without_any_keys_passes(settings: Any) -> None:
    """A service that calls nobody and is called by nobody needs no keys."""
    settings.BANDSTAND = {"SERVICE": "test-service"}
    assert check_identity() == []
    load_keys()


FILES = {
    "SERVICE_KEY_FILE": wire.SERVICE_KEY_FILE,
    "TRUSTED_KEYS_FILE": wire.TRUSTED_KEYS_FILE,
    "USER_KEY_FILE": wire.USER_KEY_FILE,
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["missing", "empty", "not JSON", "of another kind"])
def test_each_file_that_can_not_be_used_is_named(configured: World, settings: Any, name: str, harm: str) -> None:
    """A key file that is missing or wrong is an error that names variable and path, and the process does not start."""
    path = configured.folder / "wrong.json"
    if harm != "missing":
        content = {"empty": "", "not JSON": "{", "of another kind": json.dumps({"kty": "RSA", "kid": "a"})}
        path.write_text(content[harm])
        path.chmod(0o600)
    settings.BANDSTAND = configured.setting(**{name: str(path)})
    (message,) = check_identity()
    assert (message.id, FILES[name] in message.msg, str(path) in message.msg) == ("bandstand.identity.E001", True, True)
    with pytest.raises(ConfigurationError, match=FILES[name]):
        load_keys()


def test_all_wrong_files_are_told_at_once(configured: World, settings: Any) -> None:
    """load_keys() has one sentence for each wrong file."""
    settings.BANDSTAND = configured.setting(**dict.fromkeys(FILES, configured.path("missing.json")))
    with pytest.raises(ConfigurationError) as error:
        load_keys()
    assert len(error.value.faults) == 3
    assert found() == ["E001"] * 3


def test_the_key_set_behind_a_file_url_is_read(configured: World, settings: Any) -> None:
    """BANDSTAND_USER_JWKS_URL may name a file, whose path may hold what URLs write differently."""
    folder = configured.folder / "a b%20ü"
    folder.mkdir()
    (folder / "jwks.json").write_text(json.dumps(key_set([configured.users.public])))
    settings.BANDSTAND = configured.setting(USER_JWKS_URL=(folder / "jwks.json").as_uri())
    assert check_identity() == []
    settings.BANDSTAND = configured.setting(USER_JWKS_URL=(folder / "missing.json").as_uri())
    assert found() == ["E001"]


def test_the_key_of_another_service_is_refused(configured: World, settings: Any) -> None:
    """A service that was given somebody else's key learns so at start, not from its callees' 401."""
    configured.write("own.json", configured.caller.to_jwk())
    (message,) = check_identity()
    assert "holds a key of 'order-service', but this is 'test-service'" in message.msg


def test_a_trusted_key_of_nobody_is_refused(configured: World) -> None:
    """A trusted key has to say whose it is."""
    key = {name: value for name, value in configured.caller.public.to_jwk().items() if name != "service"}
    configured.write("trusted.json", {"keys": [key]})
    assert found() == ["E001"]


class TestDevelopmentKeys:
    """Keys with the development mark work while DEBUG is on, and never else."""

    @pytest.fixture(params=["own.json", "trusted.json", "users.json", "jwks.json"])
    def marked(self, request: pytest.FixtureRequest, configured: World, settings: Any) -> str:
        name: str = request.param
        key = generate_key("test-service", kid_prefix=wire.DEVELOPMENT_MARK)
        private = name in {"own.json", "users.json"}
        configured.write(name, key.to_jwk() if private else key_set([key.public]))
        if name == "users.json":
            settings.BANDSTAND = configured.setting(USER_KEY_FILE=configured.path(name))
        return name

    def test_with_debug_off_the_service_does_not_start(self, marked: str, settings: Any) -> None:
        """The check and the load refuse a marked key, private or trusted."""
        assert settings.DEBUG is False
        (message,) = check_identity()
        assert "a key made for development, but DEBUG is off" in message.msg
        with pytest.raises(ConfigurationError, match="made for development"):
            load_keys()

    def test_with_debug_on_it_does(self, marked: str, settings: Any) -> None:
        """On a laptop the same key is in order."""
        settings.DEBUG = True
        assert check_identity() == []
        load_keys()

    def test_nothing_is_signed_with_it(self, configured: World) -> None:
        """Also a process that nobody checked refuses at the first use."""
        configured.write("own.json", generate_key("test-service", kid_prefix=wire.DEVELOPMENT_MARK).to_jwk())
        with pytest.raises(ConfigurationError, match="made for development"):
            service_token("user-service")


@pytest.mark.parametrize(
    ("mode", "open_to_others"),
    [(0o600, False), (0o400, False), (0o440, False), (0o640, False), (0o644, True), (0o604, True), (0o660, True)],
)
def test_a_private_key_that_others_may_use_is_warned_of(configured: World, mode: int, open_to_others: bool) -> None:
    """Others than the owner and its group may not read a private key, and only the owner may write it."""
    Path(configured.path("own.json")).chmod(mode)
    assert found() == (["W001"] if open_to_others else [])


def test_a_key_that_is_mounted_by_itself_is_not(configured: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker mounts a secret as its file is; in the container there is nobody else, and chmod would be refused."""
    Path(configured.path("own.json")).chmod(0o444)
    monkeypatch.setattr("os.path.ismount", lambda path: path == configured.path("own.json"))
    assert found() == []


@pytest.mark.parametrize(("lifetime", "faults"), [(0, 1), (-1, 1), (1, 0), (60, 0), (61, 1)])
def test_lifetimes_that_others_refuse_are_told(configured: World, settings: Any, lifetime: int, faults: int) -> None:
    """A service that would sign tokens which every callee refuses does not pass."""
    settings.BANDSTAND = configured.setting(SERVICE_TOKEN_LIFETIME=lifetime)
    assert found() == ["E002"] * faults
    settings.BANDSTAND = configured.setting(USER_TOKEN_LIFETIME=lifetime * 1440)
    assert found() == ["E002"] * faults


def test_the_address_of_the_key_set_is_checked(configured: World, settings: Any) -> None:
    """Only files and web addresses can be fetched."""
    for url, faults in {
        "http://user-service/jwks": [],
        "https://x/jwks": [],
        "ftp://x/": ["E003"],
        "jwks": ["E003"],
    }.items():
        settings.BANDSTAND = configured.setting(USER_JWKS_URL=url)
        assert found() == faults


def test_callers_need_somebody_who_verifies_them(configured: World, settings: Any) -> None:
    """A list of callers without middleware or without trusted keys is a mistake."""
    settings.MIDDLEWARE = MIDDLEWARE[:1]
    assert found() == ["E004"]
    settings.MIDDLEWARE = MIDDLEWARE
    settings.BANDSTAND = configured.setting(TRUSTED_KEYS_FILE="")
    assert found() == ["E005"]


def test_the_order_of_middleware_is_checked(settings: Any) -> None:
    """Refusals before the tracking would have neither correlation id nor log line."""
    settings.MIDDLEWARE = MIDDLEWARE[::-1]
    assert found() == ["E006"]


def test_denying_replay_needs_a_shared_cache(configured: World, settings: Any) -> None:
    """With a cache of its own each process would believe a token once."""
    settings.BANDSTAND = configured.setting(REPLAY="deny")
    assert found() == ["W002"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://x"}}
    assert found() == []


def test_the_checks_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """register_checks() tells Django of the check."""
    monkeypatch.setattr(registry.registry, "registered_checks", set())
    register_checks()
    assert check_identity in registry.registry.registered_checks
