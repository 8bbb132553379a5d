"""Signing in to the admin: as limited as the API, and there only where it is wanted."""

import secrets
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import Client
from django.urls import path
from pytest_django.fixtures import Settings
from rest_framework.parsers import FormParser
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from bandstand.api import LimitedAdminSite, rest_framework_settings, throttles
from bandstand.conf import defaults
from bandstand.conf.environment import ServiceEnvironment

from .test_throttles import BrokenCache

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"
PASSWORD = "correct-horse"


class Urls:
    """The site's pages, as a service mounts them."""

    urlpatterns: ClassVar[list[Any]] = []


@pytest.fixture(autouse=True)
def _service(settings: Settings) -> Iterator[None]:
    settings.MIDDLEWARE = defaults.MIDDLEWARE
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.BANDSTAND = settings.BANDSTAND | {"API": {"ADMIN": True}}
    settings.REST_FRAMEWORK = rest_framework_settings(
        DEFAULT_THROTTLE_RATES={"client": "1000/min", "login": "10/15min", "login-address": "30/15min"}
    )
    Urls.urlpatterns = [path("admin/", LimitedAdminSite().urls)]
    settings.ROOT_URLCONF = Urls
    cache.clear()
    get_user_model().objects.create_superuser("root", password=PASSWORD)
    yield
    cache.clear()


def sign_in(
    name: str = "root", password: str = "wrong", address: str = "203.0.113.1", client: Client | None = None
) -> Any:
    return (client or Client()).post(
        LOGIN, {"username": name, "password": password}, REMOTE_ADDR=address, headers={"Accept": "text/html"}
    )


def test_ten_tries_for_an_account() -> None:
    """From however many addresses and in whatever spelling; then even the right password is refused, with the wait."""
    tries = [sign_in(("root", " ROOT")[n % 2], address=f"203.0.113.{n}").status_code for n in range(12)]
    assert tries == [200] * 10 + [429] * 2
    refused = sign_in(password=PASSWORD, address="203.0.113.99")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 900
    assert "Too many tries. Try again in 15 min." in refused.content.decode()
    assert "sessionid" not in refused.cookies


def test_thirty_tries_from_an_address() -> None:
    """On however many accounts, those that do not exist among them."""
    assert [sign_in(f"user{n}").status_code for n in range(32)] == [200] * 30 + [429] * 2
    assert sign_in("root", PASSWORD, "203.0.113.99").status_code == 302


def test_a_network_of_ipv6_is_one_address() -> None:
    """As everywhere else."""
    tries = [sign_in(f"user{n}", address=f"2001:db8::{n:x}").status_code for n in range(32)]
    assert tries == [200] * 30 + [429] * 2


def test_only_guesses_count() -> None:
    """Signing in as often as one likes locks nobody out."""
    assert [sign_in(password=PASSWORD).status_code for _ in range(12)] == [302] * 12


def test_a_browser_that_was_here_is_not_locked_out() -> None:
    """It has a cookie that no script reads and that gives no access; a stranger's guesses do not count there."""
    known = Client()
    cookie = sign_in(password=PASSWORD, client=known).cookies["bandstand_device"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    for number in range(11):
        sign_in(address=f"203.0.113.{number}")
    assert sign_in(password=PASSWORD).status_code == 429
    del known.cookies["sessionid"]
    assert known.get("/admin/").status_code == 302
    assert sign_in(password=PASSWORD, client=known).status_code == 302


def test_the_admin_is_no_second_door() -> None:
    """Tries in the admin and at the API are tries on one account."""
    for number in range(10):
        sign_in("ada@example.com", address=f"203.0.113.{number}")
    counted = throttles.LoginThrottle()
    request = APIRequestFactory().post("/", "email=ada@example.com", content_type="application/x-www-form-urlencoded")
    assert not counted.allow_request(Request(request, parsers=[FormParser()]), None)  # type: ignore[arg-type]


def test_without_a_cache_nobody_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with the time to wait, as at the API."""
    monkeypatch.setattr(throttles, "_cache", lambda: BrokenCache("x", {}))
    answer = sign_in(password=PASSWORD)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"


def test_the_old_password_is_not_guessed_either() -> None:
    """Whoever sits at somebody's open admin has ten tries; changing it with the right one costs none."""
    browser = Client()
    sign_in(password=PASSWORD, client=browser)

    def change(old: str) -> int:
        form = {"old_password": old, "new_password1": PASSWORD, "new_password2": PASSWORD}
        status: int = browser.post("/admin/password_change/", form, headers={"Accept": "text/html"}).status_code
        return status

    assert [change(PASSWORD) for _ in range(3)] == [302] * 3
    assert [change(f"wrong{number}") for number in range(11)] == [200] * 10 + [429]
    assert change(PASSWORD) == 429


def test_the_form_itself_is_free() -> None:
    """Looking at the page is no try."""
    pages = [Client().get(LOGIN) for _ in range(40)]
    assert {page.status_code for page in pages} == {200}
    assert "no-store" in pages[0].headers["Cache-Control"]


def test_the_form_is_there_where_everything_else_asks_who_one_is(settings: Settings) -> None:
    """Also with LoginRequiredMiddleware, as that of Django's own site."""
    settings.MIDDLEWARE = [*defaults.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert Client().get(LOGIN).status_code == 200


def test_an_admin_that_nobody_asked_for_is_not_there(settings: Settings) -> None:
    """Every path below it is 404, the form among them."""
    settings.BANDSTAND = settings.BANDSTAND | {"API": {"ADMIN": False}}
    Urls.urlpatterns = [path("admin/", LimitedAdminSite().urls)]
    settings.ROOT_URLCONF = type("Empty", (), {"urlpatterns": Urls.urlpatterns})
    for page in ("/admin/", LOGIN, "/admin/auth/user/"):
        assert Client().get(page).status_code == 404
    assert sign_in(password=PASSWORD).status_code == 404


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({"DEBUG": "true"}, True),
        ({}, False),
        ({"BANDSTAND_ADMIN": "true"}, True),
        ({"DEBUG": "true", "BANDSTAND_ADMIN": "false"}, False),
    ],
)
def test_production_has_none_unless_it_is_asked_for(variables: dict[str, str], shown: bool) -> None:
    """A process shows it in development, or where its environment says so."""
    source = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "DATABASE_URL": "sqlite:///:memory:",
        "BROKER_URL": "nats://broker",
        "CACHE_URL": "redis://cache",
        "ALLOWED_HOSTS": "shop.example",
    }
    environment = ServiceEnvironment.read("test-service", source | variables)
    assert environment.bandstand()["API"]["ADMIN"] is shown


def test_services_have_the_limited_site() -> None:
    """It stands in for Django's own in every service's apps."""
    assert "bandstand.api.admin_app.LimitedAdminConfig" in defaults.INSTALLED_APPS
    assert "django.contrib.admin" not in defaults.INSTALLED_APPS
