"""Management commands in a service that finds others by a registry."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, threading
import django
from django.core.management import call_command
from bandstand.discovery import instances
from bandstand.exceptions import DiscoveryError

def watches():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("discovery-")]

django.setup()
call_command("check", verbosity=0)
call_command("migrate", verbosity=0)
after_commands = watches()
try:
    instances("order-service")
except DiscoveryError:
    pass
print(json.dumps([after_commands, watches()]))
"""


@pytest.mark.parametrize("url", ["consul://127.0.0.1:1", "dns://127.0.0.1:1053/?port=8000"])
def test_check_and_migrate_start_no_watch(url: str, tmp_path: Path) -> None:
    """The thread that watches the registry starts with the first look-up of a service, and no command makes one."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.integration.discovery.settings",
        "DISCOVERY_URL": url,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'database.sqlite3'}",
        "CACHE_URL": "redis://127.0.0.1:1/0",
        "DEBUG": "1",
        "SECRET_KEY": "x" * 60,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    after_commands, after_look_up = json.loads(done.stdout.splitlines()[-1])
    assert after_commands == []
    assert len(after_look_up) == 1
