import inspect
import re
from pathlib import Path

from django.test.utils import isolate_apps

from bandstand.remote import RemoteForeignKey

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/remote.md").read_text()


@isolate_apps("bandstand.api")
def test_the_examples_run() -> None:
    """Each block of code on the page works as printed."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for block in blocks:
        exec(compile(block, "remote.md", "exec"), {"__name__": "page"})
    assert len(blocks) == 1


def test_every_option_is_explained() -> None:
    """The table of options names what there is."""
    parameters = [name for name in inspect.signature(RemoteForeignKey.__init__).parameters if name != "self"]
    named = re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)))
    assert set(parameters) - {"options"} <= set(named)
    assert all(f"`{check}`" in PAGE for check in ("bandstand.remote.E001", "bandstand.remote.W001"))
