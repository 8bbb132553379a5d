import subprocess
import sys

PROGRAM = """
import sys
import bandstand.identity
from django.conf import settings

assert not settings.configured
assert not [name for name in sys.modules if name in {"rest_framework.views", "drf_spectacular.plumbing"}]
"""


def test_the_room_is_imported_before_views_and_settings() -> None:
    """DRF's settings name this room's authentication, and views import it: the room itself imports neither."""
    subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], check=True, timeout=60, env={})
