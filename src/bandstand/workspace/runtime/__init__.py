"""Starts a whole platform on this machine, keeps it running, and leaves nothing behind.

``run_platform`` is a run in the foreground, ``start_in_background`` one that outlives its command; both tell a
``Reporter`` what happens. ``look``, ``stop_platform``, ``reload_platform``, ``restart_services``, ``run_migrations``
and ``command_environment`` are what the other commands are made of. ``render_record`` makes lines of logs readable,
``write_secrets`` makes the passwords and keys of production, ``rotate_running`` and ``rotate_files`` replace those of
this machine and of production, and ``version_differences`` compares its servers with
those of this machine.

Inside, a plan is data (``plan.py`` makes it from a workspace and the facts of this machine, ``resources.py`` is what
it is made of), the rules by which it is brought up and kept up are pure (``supervision.py``), and one loop acts
(``supervisor.py``). ``servers/`` holds what each server needs; ``find_postgres`` and its like find programs.
"""

from bandstand.workspace.runtime.background import Background, start_in_background
from bandstand.workspace.runtime.differences import version_differences
from bandstand.workspace.runtime.environment import remove_libpq_variables
from bandstand.workspace.runtime.folder import StateFolder, file_hint
from bandstand.workspace.runtime.operations import (
    Overview,
    command_environment,
    look,
    reload_platform,
    restart_services,
    stop_platform,
)
from bandstand.workspace.runtime.plan import make_plan
from bandstand.workspace.runtime.ports import LOOPBACK, free_port
from bandstand.workspace.runtime.reading import Follower, last_lines
from bandstand.workspace.runtime.rendering import Line, render_record
from bandstand.workspace.runtime.reports import Failed, Notice, Output, Ready, Report, Reporter, StepDone, Stopping
from bandstand.workspace.runtime.resources import Plan
from bandstand.workspace.runtime.rotating import Rotated, rotate_running
from bandstand.workspace.runtime.runner import run_migrations, run_platform
from bandstand.workspace.runtime.secrets import rotate_files, write_secrets
from bandstand.workspace.runtime.services import log_names
from bandstand.workspace.runtime.state import ProcessState, foreign_state
from bandstand.workspace.runtime.system import find_rabbitmq, find_system_postgres
from bandstand.workspace.runtime.wheels import find_envoy, find_nats, find_postgres, find_valkey

__all__ = [
    "LOOPBACK",
    "Background",
    "Failed",
    "Follower",
    "Line",
    "Notice",
    "Output",
    "Overview",
    "Plan",
    "ProcessState",
    "Ready",
    "Report",
    "Reporter",
    "Rotated",
    "StateFolder",
    "StepDone",
    "Stopping",
    "command_environment",
    "file_hint",
    "find_envoy",
    "find_nats",
    "find_postgres",
    "find_rabbitmq",
    "find_system_postgres",
    "find_valkey",
    "foreign_state",
    "free_port",
    "last_lines",
    "log_names",
    "look",
    "make_plan",
    "reload_platform",
    "remove_libpq_variables",
    "render_record",
    "restart_services",
    "rotate_files",
    "rotate_running",
    "run_migrations",
    "run_platform",
    "start_in_background",
    "stop_platform",
    "version_differences",
    "write_secrets",
]
