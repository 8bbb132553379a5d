"""The command line: one file for each command, which reads its arguments, calls the runtime, and prints.

``main`` is what the program ``bandstand`` runs. What commands share: ``workspace.py`` (how a workspace is found),
``failing.py`` (how a command fails), ``terminal.py`` (what people see).
"""

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments of this process name.

    Ctrl-C ends it with 130 and without a traceback at any time: while the commands are still being imported, and once
    more while it ends already.
    """
    try:
        from bandstand.cli.app import app  # noqa: PLC0415 - half a second, in which Ctrl-C may come

        app()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
