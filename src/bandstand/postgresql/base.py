"""The backend. Django asks for a class of this name in a module of this name."""

from typing import TYPE_CHECKING, Any, Final, cast

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base

from bandstand.postgresql.deadlines import keep_deadline
from bandstand.postgresql.pool import HealingPool
from bandstand.postgresql.timestamps import with_fast_timestamps

__all__ = ["DatabaseWrapper"]

# libpq's own words. A peer that vanished without a word is noticed after 5 + 3 * 3 seconds on an idle connection, and
# after 10 on one that waits for an answer; the kernel's defaults are 2 hours and about 15 minutes.
_NETWORK: Final = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own with a healing pool, deadlines, network time-outs and a fast loader of timestamps."""

    limited = False
    """Whether the transaction that is open may have a time limit for its statements."""

    if TYPE_CHECKING:
        # Django's type information does not know the pool yet.
        _connection_pools: dict[str, HealingPool]

        def _configure_connection(self, connection: Any) -> bool: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(keep_deadline)

    @property
    def pool(self) -> HealingPool | None:
        """The pool of this alias in this process, or None when ``OPTIONS["pool"]`` is not set."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        known = self._connection_pools.get(self.alias)
        if known is None:
            # When two threads are first at once, one of the two pools is never opened and just forgotten.
            known = self._connection_pools.setdefault(self.alias, self._new_pool({} if options is True else options))
        return known

    def get_connection_params(self) -> dict[str, Any]:
        """Return the arguments for a new connection."""
        parameters: dict[str, Any] = {**_NETWORK, **super().get_connection_params()}
        if "context" in parameters:
            parameters["context"] = with_fast_timestamps(parameters["context"], self.timezone)
        return parameters

    def _new_pool(self, options: dict[str, Any]) -> HealingPool:
        if cast("int | None", self.settings_dict.get("CONN_MAX_AGE", 0)) != 0:
            raise ImproperlyConfigured(
                f"DATABASES[{self.alias!r}] has a pool and CONN_MAX_AGE; a pool keeps connections itself. "
                f"Leave CONN_MAX_AGE out."
            )
        return HealingPool(
            kwargs={**self.get_connection_params(), "autocommit": True},
            configure=self._configure_connection,
            **options,
        )
