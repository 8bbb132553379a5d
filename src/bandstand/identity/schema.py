"""Tells drf-spectacular of user tokens. Importing this module is all that it takes; ``bandstand.apps`` does."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

__all__ = ["UserTokenScheme"]


class UserTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call] # registers itself there
    """``Authorization: Bearer <JWT>``, for UserTokenAuthentication and what is made of it."""

    target_class = "bandstand.identity.authentication.UserTokenAuthentication"
    match_subclasses = True
    name = "userToken"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:  # noqa: ARG002 - its signature
        """Return the security scheme as OpenAPI describes one."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The token that signing in returns.",
        }
