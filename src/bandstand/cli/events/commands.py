"""The commands."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Annotated, Any, Final

import typer

from bandstand.cli.events.asking import Conversation, WrittenWrong, ask_all, reached
from bandstand.cli.events.joining import Question, Story, Trace, research
from bandstand.cli.events.showing import letter_table, status_table, story_trees
from bandstand.cli.failing import failing, print_json
from bandstand.cli.service import Inside, become, inside
from bandstand.cli.terminal import console
from bandstand.cli.workspace import Context, FolderOption, JsonOption, Opened, opened
from bandstand.exceptions import WorkspaceError

__all__ = ["events"]

_ACTIONS: Final = ("list", "show", "replay", "edit", "drop")

_EXAMPLES: Final = """
Examples:

  bandstand events status

  bandstand events trace 01989c1e-5a3b-7c4d-8e9f-0a1b2c3d4e5f

  bandstand events dead list --since 2h

  bandstand events dead replay 17 --wait 10 --service order-service
"""

_STATUS_EXAMPLES: Final = """
Examples:

  bandstand events status           what waits, is retried and is dead, for each subscription

  bandstand events status --json    for machines
"""

_TRACE_EXAMPLES: Final = """
Examples:

  bandstand events trace 01989c1e-5a3b-7c4d-8e9f-0a1b2c3d4e5f    by the id of an event

  bandstand events trace 4bf92f3577b34da6a3ce929d0e0e4736        by a correlation id, as X-Correlation-ID has it
"""

_DEAD_EXAMPLES: Final = """
Examples:

  bandstand events dead list --since 2h --json

  bandstand events dead show 17 --service order-service

  bandstand events dead replay 17 --wait 10 --service order-service

  bandstand events dead replay --error "no warehouse" --since 2h --service order-service

  bandstand events dead edit 17 --data '{"quantity": 2}' --service order-service

  bandstand events dead drop --reason invalid --yes --service order-service
"""


class UnknownEvent(WorkspaceError):
    """No service remembers an event or a correlation of that id."""

    code = "unknown_event"


events = typer.Typer(
    help="See where the events of all services are, follow one, and mend what failed for good.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
)


@events.command(epilog=_STATUS_EXAMPLES)
def status(context: Context, folder: FolderOption = None, json: JsonOption = False) -> None:
    """Show what waits in each outbox, at the broker and in retries, and what is dead."""
    with failing(json=json):
        place = opened(context, folder)
        answers, failed = ask_all(reached(place), _status_of)
        if json:
            print_json({"platform": place.workspace.name, "services": answers, "failed": failed})
        else:
            console().print(status_table(answers))
        _end(failed, json=json)


def _status_of(found: Inside) -> dict[str, Any]:
    with ExitStack() as stack:
        talk = Conversation(found, "status", "--json")
        stack.callback(talk.close)
        return talk.read(dict[str, Any])


@events.command(epilog=_TRACE_EXAMPLES)
def trace(
    context: Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="An event's id or a correlation id.")],  # noqa: A002 - its own name
    folder: FolderOption = None,
    json: JsonOption = False,
) -> None:
    """Follow an event, with all of its correlation id, through all services: published, relayed, each attempt, caused.

    Services remember what they published for a day after it was sent, and what they handled for two weeks, unless told
    otherwise.
    """
    with failing(json=json):
        place = opened(context, folder)
        story, failed = _investigate(place, id)
        if not (story.events or story.deliveries or failed):
            raise UnknownEvent(
                f"No service knows an event or a correlation {id!r}.",
                hint="They remember what they published for a day, and what they handled for two weeks, unless told.",
            )
        if json:
            print_json({"platform": place.workspace.name, "story": story, "failed": failed})
        elif story.events or story.deliveries:
            for tree in story_trees(story):
                console().print(tree)
            if story.truncated:
                typer.echo(f"There are more events than these {len(story.events)}.")
        _end(failed, json=json)


def _investigate(place: Opened, asked: str) -> tuple[Story, dict[str, str]]:
    services = {found.service.name: found for found in reached(place)}
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        talks: dict[str, Conversation] = {}
        for name, found in services.items():
            talks[name] = Conversation(found, "trace", "--json", "-")
            stack.callback(talks[name].close)

        def ask(question: Question) -> list[Trace]:
            asked_now = [found for name, found in services.items() if name not in failed]
            answers, silent = ask_all(asked_now, lambda found: talks[found.service.name].ask(question, Trace))
            failed.update(silent)
            return list(answers.values())

        return research(asked, ask), failed


@events.command(epilog=_DEAD_EXAMPLES, context_settings={"ignore_unknown_options": True})
def dead(
    context: Context,
    *,
    action: Annotated[str, typer.Argument(metavar="ACTION", help=f"One of {', '.join(_ACTIONS)}.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARGUMENTS]…", help="Numbers and conditions, as `manage.py events dead` takes them."),
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", "-s", metavar="NAME", help="Whose; only `list` can do without.")
    ] = None,
    folder: FolderOption = None,
    json: JsonOption = False,
) -> None:
    """List the dead letters of all services; list, show, replay, edit or drop those of one.

    Conditions: --subscription NAME, --type TYPE, --error TEXT, --reason failed|invalid|deaths, --since 2h, --all. For
    replay: --wait SECONDS. For edit: --data JSON or --file PATH, else $EDITOR. For drop: --yes.
    """
    words = [action, *(arguments or ()), *(["--json"] if json else [])]
    if action not in _ACTIONS:
        raise typer.BadParameter(f"it is one of {', '.join(_ACTIONS)}.", param_hint="ACTION")
    if service is None and action != "list":
        raise typer.BadParameter(f"say whose letters to {action}.", param_hint="--service")
    with failing(json=json):
        place = opened(context, folder)
        if service is not None:
            found = inside(place, service)
            become(found, ["python", "manage.py", "events", "dead", *words])
        answers, failed = _letters(place, words)
        if json:
            print_json({"platform": place.workspace.name, "services": answers, "failed": failed})
        elif any(each["count"] for each in answers.values()):
            console().print(letter_table({name: each["letters"] for name, each in answers.items()}))
        elif not failed:
            typer.echo("No dead letters.")
        _end(failed, json=json)


def _letters(place: Opened, words: list[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    try:
        return ask_all(reached(place), lambda found: _letters_of(found, words))
    except WrittenWrong as error:
        raise typer.BadParameter(str(error), param_hint="ARGUMENTS") from error


def _letters_of(found: Inside, words: list[str]) -> dict[str, Any]:
    with ExitStack() as stack:
        talk = Conversation(found, "dead", *words, *([] if "--json" in words else ["--json"]))
        stack.callback(talk.close)
        return talk.read(dict[str, Any])


def _end(failed: Mapping[str, str], *, json: bool) -> None:
    """Say who did not answer, and fail if anybody did not."""
    if not json:
        sys.stdout.flush()
        for error in dict.fromkeys(failed.values()):  # what is the same everywhere is told once
            names = ", ".join(name for name, its in failed.items() if its == error)
            typer.secho(f"{names} can't be asked: {error}", fg="red", err=True)
    if failed:
        raise typer.Exit(1)
