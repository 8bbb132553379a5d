"""What is to be chosen for Kong beyond the manifest."""

from typing import Literal

import msgspec

from bandstand.exceptions import WorkspaceError
from bandstand.workspace.export.kong.keys import UserKey
from bandstand.workspace.manifest import Workspace

__all__ = ["KongOptions", "Redis", "checked"]


class Redis(msgspec.Struct, frozen=True, kw_only=True):
    """Where several gateways count together. ``password_variable`` names the variable that holds the password.

    The password itself is never rendered: Kong reads the variable when it starts.
    """

    host: str = "redis"
    port: int = 6379
    password_variable: str | None = "REDIS_PASSWORD"  # noqa: S105 - the name of a variable


class KongOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``version`` is ``"3"`` (3.6 and later) or ``"2.8"``.

    Requests are counted by each gateway for itself, or by all of them in ``counters``. Requests to the routes
    ``token_routes`` (paths as the manifest has them) need a token that one of ``user_keys`` signed; the services check
    it again, and more of it.
    """

    version: Literal["3", "2.8"] = "3"
    counters: Redis | None = None
    user_keys: tuple[UserKey, ...] = ()
    token_routes: tuple[str, ...] = ()


def checked(options: KongOptions, workspace: Workspace) -> KongOptions:
    """Return ``options`` if they fit each other and the workspace.

    Raises:
        WorkspaceError: they do not, and what to do.
    """
    paths = {route.path for service in workspace.services for route in service.routes}
    if unknown := sorted(set(options.token_routes) - paths):
        hint = f"Name paths as the manifest has them: {', '.join(sorted(paths))}."
        raise WorkspaceError(f"No route has the path {', '.join(unknown)}.", hint=hint)
    if bool(options.token_routes) != bool(options.user_keys):
        hint = "Give both, the routes and the key set of the service that issues the tokens, or neither."
        raise WorkspaceError("Tokens can be required only with routes and keys.", hint=hint)
    if options.user_keys and options.version == "2.8":
        hint = "Choose Kong 3 (3.7 or later), or leave the tokens to the services, which check them in any case."
        raise WorkspaceError("Kong 2.8 can't verify tokens of users: it does not know EdDSA.", hint=hint)
    return options
