"""Django's admin as an app whose site limits tries to sign in; it takes the place of Django's in ``INSTALLED_APPS``."""

from django.contrib.admin.apps import AdminConfig

__all__ = ["LimitedAdminConfig"]


class LimitedAdminConfig(AdminConfig):
    """``django.contrib.admin`` with :class:`bandstand.api.LimitedAdminSite` as its ``admin.site``."""

    default_site = "bandstand.api.admin_site.LimitedAdminSite"
