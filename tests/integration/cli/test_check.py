from pathlib import Path

import pytest
from typer.testing import CliRunner

from bandstand.cli.app import app

pytestmark = pytest.mark.integration

SHOP = Path(__file__).parents[3] / "shop"


def test_the_shop_survives_its_migrations() -> None:
    """Each service is asked as a process for its migrations, and nothing in the shop is a shortcut."""
    result = CliRunner().invoke(app, ["-C", str(SHOP), "check", "migrations"])
    assert result.exit_code == 0, result.output
