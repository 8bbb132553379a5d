"""Django's backend for MySQL and MariaDB, on the driver that is there: ``"ENGINE": "bandstand.mysql"``.

``DatabaseWrapper`` is Django's own but for three things. Without mysqlclient, which needs a compiler, it takes PyMySQL;
sessions are in UTC, as the times are that Django stores; and a server that does not answer is given up after 3 seconds.

- ``make_exact``: for migrations; has the texts of a table compared byte by byte.

The backend is not imported here: Django imports ``bandstand.mysql.base`` by name, and the driver comes with it.
"""

from bandstand.mysql.exact_text import make_exact

__all__ = ["make_exact"]
