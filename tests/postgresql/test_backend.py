from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.postgresql.psycopg_any import get_adapters_template
from django.db.utils import ConnectionHandler
from psycopg import postgres, pq

from bandstand.postgresql.pool import HealingPool
from bandstand.postgresql.timestamps import with_fast_timestamps

OID = postgres.types["timestamptz"].oid


def connection(alias: str = DEFAULT_DB_ALIAS, **settings: Any) -> Any:
    """A connection that is never opened."""
    options = {"pool": {"min_size": 1, "max_size": 2}, **settings.pop("OPTIONS", {})}
    database = {"ENGINE": "bandstand.postgresql", "NAME": "shop", "USER": "shop", "OPTIONS": options, **settings}
    return ConnectionHandler({DEFAULT_DB_ALIAS: database, alias: database})[alias]


def test_the_pool_is_one_for_all_threads_of_an_alias() -> None:
    """Two wrappers of one alias, as two threads have them, share the healing pool."""
    first, second = connection("shared"), connection("shared")
    try:
        assert isinstance(first.pool, HealingPool)
        assert first.pool is second.pool
    finally:
        first.close_pool()


def test_no_pool_unless_asked_for() -> None:
    """Without the option it is Django's backend."""
    assert connection(OPTIONS={"pool": None}).pool is None


def test_a_pool_and_lasting_connections_exclude_each_other() -> None:
    """The contradiction is told with what to leave out."""
    with pytest.raises(ImproperlyConfigured, match="Leave CONN_MAX_AGE out"):
        _ = connection("lasting", CONN_MAX_AGE=60).pool


def test_a_silent_network_is_noticed() -> None:
    """Connections have keep-alives and a limit for unacknowledged data; a service's own options win."""
    parameters = connection(OPTIONS={"keepalives_idle": 60}).get_connection_params()
    assert parameters["tcp_user_timeout"] == 10_000
    assert parameters["keepalives_interval"] == 3
    assert parameters["keepalives_idle"] == 60


@pytest.mark.parametrize("zone", [None, ZoneInfo("Europe/Berlin")])
def test_only_utc_has_the_fast_loader(zone: ZoneInfo | None) -> None:
    """Any other zone, and naive times, stay with Django's own loader."""
    template = get_adapters_template(True, zone)
    assert with_fast_timestamps(template, zone) is template


def test_djangos_template_is_not_changed() -> None:
    """Other backends in the same process keep what Django gave them; the loader names its zone as Django asks it to."""
    template = get_adapters_template(True, UTC)
    before = template.get_loader(OID, pq.Format.TEXT)
    loader: Any = with_fast_timestamps(template, UTC).get_loader(OID, pq.Format.TEXT)
    assert template.get_loader(OID, pq.Format.TEXT) is before
    assert loader is not before
    assert loader.timezone is UTC
