"""``bandstand migrate``: apply the migrations, and nothing else."""

from bandstand.cli.failing import failing, print_json
from bandstand.cli.terminal import LogPrinter, TerminalReporter, Writer, console
from bandstand.cli.workspace import Context, FolderOption, JsonOption, ServiceArgument, opened
from bandstand.workspace.manifest import Service
from bandstand.workspace.runtime import Report, run_migrations

__all__ = ["migrate"]


def migrate(
    context: Context, service: ServiceArgument = None, folder: FolderOption = None, json: JsonOption = False
) -> None:
    """Apply the migrations of all services, or of one.

    Where the platform is not running, its database server is started for as long as that takes.
    """
    with failing(json=json):
        place = opened(context, folder)
        services = [place.workspace.service(service)] if service else list(place.workspace.services)
        if json:
            run_migrations(place.workspace, services, _ignore)
            print_json({"migrated": [each.name for each in services]})
            return
        writer = Writer(console())
        try:
            run_migrations(place.workspace, services, _reporter(writer, services))
        finally:
            writer.close()


def _reporter(writer: Writer, services: list[Service]) -> TerminalReporter:
    names = [f"{service.name}-migrate" for service in services]
    return TerminalReporter(writer, LogPrinter(names), shown=lambda name, _line: name in names, foreground=True)


def _ignore(_report: Report) -> None:
    """For machines only the end counts."""
