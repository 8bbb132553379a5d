"""The endpoints below ``/api/v1/``."""

from rest_framework.routers import SimpleRouter

from users.views import SignInViewSet, UserViewSet

router = SimpleRouter(use_regex_path=False)
router.register("users", SignInViewSet, basename="sign-in")
router.register("users", UserViewSet, basename="user")

urlpatterns = router.urls
