"""The OpenAPI document at ``/api/schema/`` and pages to read it at ``/api/docs/``."""

from django.urls import path

from bandstand.api.documentation import DocumentationView, SchemaView, asset
from bandstand.api.settings import ASSETS_PATH, DOCS_PATH

__all__ = ["urlpatterns"]

urlpatterns = [
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path(DOCS_PATH, DocumentationView.as_view(), name="docs"),
    path(f"{ASSETS_PATH}/<str:name>", asset, name="docs-asset"),
]
