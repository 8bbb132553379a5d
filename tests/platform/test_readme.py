"""The README's purchase, typed as it stands."""

import re
import subprocess

import pytest

from tests.platform.conftest import ROOT, Shop
from tests.programs import INSTALL_CURL, require_program
from tests.waiting import GUARD

pytestmark = pytest.mark.platform

README = (ROOT / "README.md").read_text()
PURCHASE = re.compile(r"## Buy something\n.*?```sh\n(.*?)```", re.DOTALL)


def test_it_begins_with_two_commands() -> None:
    """Whoever opens the README sees `make up` and `make test` first."""
    first = README.partition("```sh\n")[2].partition("```")[0]
    assert re.findall(r"^make \w+", first, re.MULTILINE) == ["make up", "make test"]


def test_the_purchase_works_as_printed(shop: Shop) -> None:
    """The commands buy something; only the address is another than the page's, since other shops may run here."""
    require_program("curl", how=INSTALL_CURL)
    match = PURCHASE.search(README)
    assert match is not None
    commands = match[1].replace("http://127.0.0.1:8000", shop.gateway)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], capture_output=True, text=True, timeout=2 * GUARD, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    status, subject = done.stdout.splitlines()[-2:]
    assert status == "confirmed"
    assert subject.endswith("is confirmed")
