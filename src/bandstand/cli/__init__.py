"""The command line: one file for each command, which reads its arguments, calls the runtime, and prints.

``main`` is what the program ``bandstand`` runs. What commands share: ``workspace.py`` (how a workspace is found),
``failing.py`` (how a command fails), ``terminal.py`` (what people see).
"""

from bandstand.cli.app import app

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments of this process name."""
    app()
