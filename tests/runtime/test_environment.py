"""What processes inherit from the surroundings of the runner, and what not."""

from bandstand.conf import wire
from bandstand.workspace.runtime.environment import base_environment, remove_libpq_variables


def test_the_surroundings_decide_nothing_of_the_wire() -> None:
    """A variable of the wire or of another project that is set in the shell does not reach a service."""
    outer = {
        "PATH": "/bin",
        "LANG": "C",
        wire.DATABASE_URL: "postgres://production",
        "DATABASE_URL_FILE": "/run/secrets/DATABASE_URL",
        wire.SERVICE: "other",
        "DJANGO_SETTINGS_MODULE": "other.settings",
        "GRANIAN_PORT": "1",
        "PGHOST": "production",
        "PGSSLMODE": "verify-full",
        "PGSERVICE": "production",
        "PYTHONSAFEPATH": "1",
        "PYTHONOPTIMIZE": "2",
        "NATS_URL": "nats://production",
        "RABBITMQ_NODENAME": "production",
    }
    assert base_environment(outer) == {"PATH": "/bin", "LANG": "C"}


def test_the_client_library_of_the_runner_itself() -> None:
    """Variables of libpq are removed from the runner too, since they are defaults for each connection."""
    environment = {"PATH": "/bin", "PGSERVICE": "production", "PGOPTIONS": "-c search_path=elsewhere"}
    remove_libpq_variables(environment)
    assert environment == {"PATH": "/bin"}


def test_fault_tests_reach_the_services() -> None:
    """The switches of fault tests are meant to come from outside."""
    outer = {wire.TESTING: "1", wire.FAILPOINTS: "relay.after_publish=kill:1"}
    assert base_environment(outer) == outer
