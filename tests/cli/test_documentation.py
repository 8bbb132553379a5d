"""The page on the command line says what the command line does."""

import json
import re
from pathlib import Path

import click
import pytest
import typer

import bandstand.exceptions
from bandstand.cli.app import app
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.runtime.messages import Phase

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
COMMANDS = typer.main.get_command(app)


def rows(header: str) -> dict[str, str]:
    """Return the table under ``header``: the first cell to the rest of its line."""
    table = PAGE.split(header)[1].split("\n\n")[0]
    return dict(re.findall(r"^\| `?(.+?)`? \| (.*) \|$", table.partition("|---")[2], re.MULTILINE))


def options_of(command: click.Command) -> set[str]:
    common = {"--workspace", "-C", "--help"}
    return {name for parameter in command.params for name in parameter.opts if name.startswith("-")} - common


def command_of(name: str) -> click.Command:
    """The command that a row or a line names, also one in a group: `events trace ID`."""
    found: click.Command = COMMANDS
    for word in name.split():
        if word not in getattr(found, "commands", {}):
            break
        found = found.commands[word]  # type: ignore[attr-defined]
    return found


def test_every_command_is_on_the_page() -> None:
    """The table lists the commands that there are, and no other."""
    assert isinstance(COMMANDS, click.Group) or hasattr(COMMANDS, "commands")
    listed = {name.split()[0] for name in rows("| Command | Does | Options |")}
    assert listed == set(COMMANDS.commands)


def test_every_option_is_on_the_page() -> None:
    """Each command's row names all of its options, and none that it does not have."""
    for name, text in rows("| Command | Does | Options |").items():
        listed = set(re.findall(r"(?<![\w-])--?[a-z]+(?:-[a-z]+)*", text)) - {"--detach"}
        options = options_of(command_of(name))
        assert listed | (options & {"--detach"}) == options, name


def test_every_example_can_be_parsed() -> None:
    """The lines at the top of the page are right as they are printed."""
    lines = re.findall(r"^bandstand (.+?) *#", PAGE.split("```")[1], re.MULTILINE)
    assert len(lines) >= 10
    for line in lines:
        name, *arguments = line.split()
        COMMANDS.commands[name].make_context(name, arguments, resilient_parsing=False)


def test_states_and_codes_are_on_the_page() -> None:
    """What `ps` and errors may say is listed."""
    states = {part.strip("` ") for name in rows("| `state` | Means |") for part in name.split(",")}
    assert states == {str(phase) for phase in Phase} - {"done"}  # tasks only, which ps does not show
    codes = {
        value.code
        for value in vars(bandstand.exceptions).values()
        if isinstance(value, type) and issubclass(value, WorkspaceError)
    }
    assert set(rows("| `code` | Means |")) == codes


def test_the_object_of_up_is_shown_as_it_is() -> None:
    """The example has the keys that the table promises."""
    example = json.loads(PAGE.split("```json")[1].split("```")[0])
    assert list(example) == re.findall(r"`(\w+)`", rows("| Command | Object |")["up --detach"])


@pytest.mark.parametrize("name", ["up", "down", "ps", "logs", "migrate", "reload", "exec", "events"])
def test_help_and_page_agree_on_the_name(name: str) -> None:
    """Each command is one line of the examples in --help."""
    assert f"bandstand {name}" in (COMMANDS.epilog or "")
