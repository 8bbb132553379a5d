"""Tables whose texts are what they are: ``a``, ``A`` and ``a `` are three ids, and every character can be stored.

MySQL and MariaDB compare texts as a dictionary would, and a database may have been made for Latin letters alone. An
inbox that takes two ids for one loses an event.
"""

from collections.abc import Collection
from typing import Any, Final

__all__ = ["make_exact"]


_PADLESS_SINCE: Final = (8, 0, 17)  # before that, MySQL takes a blank at the end for none


def make_exact(schema_editor: Any, table: str, *, but: Collection[str] = ()) -> None:
    """Have the texts of ``table`` compared byte by byte, but for the columns ``but``, in which people search.

    Does nothing on other databases. Call it in a migration.
    """
    connection = schema_editor.connection
    if connection.vendor != "mysql":
        return
    collation = _exact_collation(connection)
    quote = connection.ops.quote_name
    schema_editor.execute(f"ALTER TABLE {quote(table)} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}")
    for column in but:
        schema_editor.execute(
            f"ALTER TABLE {quote(table)} MODIFY {quote(column)} longtext "
            f"CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL"
        )


def _exact_collation(connection: Any) -> str:
    if connection.mysql_is_mariadb:
        return "utf8mb4_nopad_bin"
    return "utf8mb4_0900_bin" if connection.mysql_version >= _PADLESS_SINCE else "utf8mb4_bin"
