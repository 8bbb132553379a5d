from django.apps import AppConfig
from django.utils.module_loading import import_string

from bandstand.conf import defaults


def test_everything_named_exists() -> None:
    """Each app and each middleware can be imported under its name."""
    for name in defaults.INSTALLED_APPS:
        assert AppConfig.create(name)
    for name in defaults.MIDDLEWARE:
        assert callable(import_string(name))


def test_the_order_of_the_middleware() -> None:
    """Tracking is first, callers are known before anything is refused, and problems are made of all that fails."""
    order = [name.rpartition(".")[2] for name in defaults.MIDDLEWARE]
    assert order[:2] == ["RequestTrackingMiddleware", "ServiceAuthMiddleware"]
    assert order.index("ProblemDetailsMiddleware") < order.index("RequestLimitsMiddleware")
    assert order.index("RequestLimitsMiddleware") < order.index("SessionMiddleware")
