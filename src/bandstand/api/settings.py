"""The values of ``REST_FRAMEWORK`` and ``SPECTACULAR_SETTINGS``. Imports nothing that reads settings."""

from typing import Any, Final

__all__ = ["ASSETS_PATH", "DOCS_PATH", "rest_framework_settings", "spectacular_settings"]

DOCS_PATH: Final = "api/docs/"
ASSETS_PATH: Final = "api/docs/assets"


def rest_framework_settings(**overrides: Any) -> dict[str, Any]:
    """Return the ``REST_FRAMEWORK`` setting: JSON, user tokens, problem documents, 20 a page, throttled by client.

    ``overrides`` replace single keys: ``rest_framework_settings(DEFAULT_THROTTLE_RATES={"client": "60/min"})``.
    Everything is refused to strangers unless a view's own policy says otherwise.
    """
    return {
        "DEFAULT_RENDERER_CLASSES": ["bandstand.api.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["bandstand.api.StrictJSONParser"],
        "DEFAULT_AUTHENTICATION_CLASSES": ["bandstand.identity.UserTokenAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_THROTTLE_CLASSES": ["bandstand.api.ClientThrottle"],
        "DEFAULT_THROTTLE_RATES": {"client": "1200/min", "login": "10/15min", "login-address": "100/15min"},
        "DEFAULT_PAGINATION_CLASS": "bandstand.api.PageNumberPagination",
        "DEFAULT_SCHEMA_CLASS": "bandstand.api.ProblemAutoSchema",
        "EXCEPTION_HANDLER": "bandstand.api.exception_handler",
        "PAGE_SIZE": 20,
        "URL_FORMAT_OVERRIDE": None,  # `?format=` would be a second way to ask for what Accept asks
        "TEST_REQUEST_DEFAULT_FORMAT": "json",
        **overrides,
    }


def spectacular_settings(title: str, version: str, **overrides: Any) -> dict[str, Any]:
    """Return the ``SPECTACULAR_SETTINGS`` setting: an OpenAPI 3.1 document of every endpoint below ``/api/v…``.

    ``title`` and ``version`` head the document. Its pages take all their assets from this service.
    """
    return {
        "TITLE": title,
        "VERSION": version,
        "OAS_VERSION": "3.1.1",
        "SERVE_INCLUDE_SCHEMA": False,
        "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
        "SERVE_AUTHENTICATION": [],
        "PATH_CONVERTER_OVERRIDES": {"any_case_uuid": {"type": "string", "format": "uuid"}},
        "SCHEMA_PATH_PREFIX": r"/api/v[0-9]+",
        "COMPONENT_SPLIT_REQUEST": True,
        "COMPONENT_SPLIT_PATCH": True,
        "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
        "POSTPROCESSING_HOOKS": [
            "drf_spectacular.hooks.postprocess_schema_enums",
            "bandstand.api.schema.describe_problems",
        ],
        "SWAGGER_UI_DIST": f"/{ASSETS_PATH}",
        "SWAGGER_UI_FAVICON_HREF": f"/{ASSETS_PATH}/favicon-32x32.png",
        "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False},
        **overrides,
    }
