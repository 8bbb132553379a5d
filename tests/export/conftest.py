"""Golden files: what an exporter rendered when somebody last looked at it and found it right."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from bandstand.workspace.export import File, install

UPDATE = "BANDSTAND_UPDATE_GOLDEN"


@pytest.fixture
def matches_golden() -> Callable[[Iterable[File], str], None]:
    """Compare rendered files with a folder of golden ones; with BANDSTAND_UPDATE_GOLDEN=1 write them anew."""

    def compare(files: Iterable[File], name: str) -> None:
        folder = Path(__file__).parent / "golden" / name
        rendered = {str(file.path): file for file in files}
        if os.environ.get(UPDATE):
            for path in folder.glob("**/*.*"):
                path.unlink()
            install(rendered.values(), folder)
        golden = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
        assert rendered.keys() == golden.keys()
        for path, content in golden.items():
            assert rendered[path].content == content, f"{path} changed; look at it, then run with {UPDATE}=1"

    return compare
