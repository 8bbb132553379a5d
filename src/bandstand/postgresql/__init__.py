"""Django's PostgreSQL backend with a pool that heals: ``"ENGINE": "bandstand.postgresql"``.

``DatabaseWrapper`` is Django's own but for five things. The pool survives a restart of the database without an error
and tells soon when the database is away (``HealingPool``); the deadline of the bound context ends statements and waits
(``keep_deadline``); a dead network path is noticed within 15 seconds; timestamps are read by psycopg's C code; and
``publish()`` writes its row and its NOTIFY in the round trip of the commit (``write_later``, ``follow_commit``), and
the inbox writes its row past the cursors (``run_direct``).

Nothing is imported here: Django imports ``bandstand.postgresql.base`` by name, and the driver comes with it.
"""

__all__: list[str] = []
