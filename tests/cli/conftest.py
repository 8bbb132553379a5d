"""A workspace of one service, as the commands that start nothing find it."""

from pathlib import Path

import pytest

MANIFEST = '[platform]\nname = "tiny"\n[services.user-service]\nissues_user_tokens = true\n'


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "user-service" / "user_service").mkdir(parents=True)
    (tmp_path / "user-service" / "manage.py").touch()
    (tmp_path / "user-service" / "user_service" / "wsgi.py").touch()
    (tmp_path / "bandstand.toml").write_text(MANIFEST)
    return tmp_path
