"""``bandstand policy explain``: what holds for the calls of one service to another."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from bandstand.cli.examples import epilog
from bandstand.cli.failing import failing, print_json
from bandstand.cli.terminal import console
from bandstand.cli.workspace import Context, FolderOption, JsonOption, opened
from bandstand.workspace.policies import Chain, Explanation, Value
from bandstand.workspace.policies import explain as explained

__all__ = ["policy"]

policy = typer.Typer(help="Look at what holds for calls between services.", no_args_is_help=True)


@policy.command("explain", epilog=epilog("policy explain"))
def explain(
    context: Context,
    caller: Annotated[str, typer.Argument(metavar="CALLER", help="The service that calls.", show_default=False)],
    callee: Annotated[str, typer.Argument(metavar="CALLEE", help="The service that is called.", show_default=False)],
    folder: FolderOption = None,
    json: JsonOption = False,
) -> None:
    """Show time-outs, retries, circuit and limits of one service's calls to another, and the worst case.

    Each value comes with its source: the default, bandstand.toml, or the settings of the caller. Nothing need run.
    """
    with failing(json=json):
        found = explained(opened(context, folder).workspace, caller, callee)
    if json:
        print_json(found)
        return
    target = console()
    target.print(_table(found.policy))
    target.print()
    for line in (*_worst_cases(found), *_protections(found.policy)):
        target.print(Text(line))
    for notice in found.notices:
        typer.secho(notice, fg="yellow", err=True)


def _table(values: dict[str, Value]) -> Table:
    table = Table.grid(padding=(0, 3))
    table.add_row(*(Text(name, "bold") for name in ("KEY", "VALUE", "FROM")))
    for name, value in values.items():
        usual = value.source == "default"
        table.add_row(name, _shown(value.value), Text(value.source, "dim" if usual else "cyan"))
    return table


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _worst_cases(found: Explanation) -> list[str]:
    first, *others = found.chains
    attempts = f"{_attempts(first.attempts)} (1 of a write without an idempotency key)"
    lines = [f"One call, at worst: {attempts}, and an answer or an error after {first.seconds:g} s."]
    if others:
        lines.append("With what it sets off, at worst:")
        lines += [f"  {_line(chain)}" for chain in others]
    return lines


def _line(chain: Chain) -> str:
    path = " → ".join(chain.services)
    blind = f", not {chain.blind}" if chain.blind > chain.attempts else ""
    return f"{path}: {_attempts(chain.attempts)} at {chain.services[-1]}{blind}; over after {chain.seconds:g} s"


def _protections(values: dict[str, Value]) -> list[str]:
    def shown(name: str) -> str:
        return _shown(values[name].value)

    budget = (
        f"All calls together: {values['retry_budget'].value:.0%} more by retries, and {shown('retry_floor')} a second."
    )
    if values["breaker"].value != "auto":
        return [budget, f"The circuit is forced {shown('breaker')}."]
    share = (
        f"{values['breaker_ratio'].value:.0%} of at least {shown('breaker_calls')} calls in {shown('breaker_window')} s"
    )
    return [budget, f"When {share} fail: no call for {shown('breaker_rest')} s, then one at a time."]


def _attempts(number: int) -> str:
    return "1 attempt" if number == 1 else f"{number} attempts"
