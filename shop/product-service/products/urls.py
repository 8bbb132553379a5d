"""The endpoints below ``/api/v1/``."""

from rest_framework.routers import SimpleRouter

from products.views import ProductViewSet

router = SimpleRouter(use_regex_path=False)
router.register("products", ProductViewSet, basename="product")

urlpatterns = router.urls
