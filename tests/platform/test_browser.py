"""The pages that people open, in a browser that can reach this machine and nothing else."""

import subprocess
from pathlib import Path

import pytest

from tests.platform.conftest import Client, Shop
from tests.programs import require_program
from tests.waiting import GUARD

pytestmark = pytest.mark.platform

# Chromium's own background traffic is off, and every name but the loopback address is unknown to it: a page that
# takes a script or a font from elsewhere shows nothing.
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--virtual-time-budget=10000",
]


def rendered(url: str, profile: Path) -> str:
    """Return what a page looks like to a script, once it came to rest."""
    chromium = require_program("chromium", "chromium", "google-chrome")
    done = subprocess.run(
        [chromium, *OPTIONS, f"--user-data-dir={profile}", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=2 * GUARD,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("user-service", "/api/v1/users/authenticate/"),
        ("product-service", "/api/v1/products/featured/"),
        ("order-service", "/api/v1/orders/{id}/cancel/"),
        ("notification-service", "/api/v1/notifications/"),
    ],
)
def test_the_api_documentation_needs_nobody_else(shop: Shop, tmp_path: Path, service: str, path: str) -> None:
    """Each service's documentation lists its endpoints with assets from the service itself."""
    page = rendered(f"{shop.services[service]}/api/docs/", tmp_path)
    assert f'data-path="{path}"' in page


def test_the_admin_has_its_style(shop: Shop, tmp_path: Path) -> None:
    """The admin's sign-in page comes with its style sheets."""
    page = rendered(f"{shop.services['user-service']}/admin/login/", tmp_path)
    assert 'name="username"' in page
    sheet = Client(base=shop.services["user-service"]).get("/static/admin/css/base.css")
    assert sheet.status == 200
