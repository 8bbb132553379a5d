"""Django's PostgreSQL backend with a pool that heals: ``"ENGINE": "bandstand.postgresql"``.

``DatabaseWrapper`` is Django's own but for five things. The pool survives a restart of the database without an error
and tells soon when the database is away (``HealingPool``); the deadline of the bound context ends statements and waits
(``keep_deadline``); a dead network path is noticed within 15 seconds; timestamps are read by psycopg's C code; and
cursors of the server stay out of sessions that a pooler shares (``chunked_cursor``, ``Validation``).

The backend is not imported here: Django imports ``bandstand.postgresql.base`` by name, and the driver comes with it.
``pool_mode`` tells PostgreSQL from a pooler before it, whatever the backend.
"""

from bandstand.postgresql.sessions import PoolMode, connect_outside_pool, pool_mode

__all__ = ["PoolMode", "connect_outside_pool", "pool_mode"]
