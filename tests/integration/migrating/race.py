"""Migrates in many processes that begin together: ``python race.py COUNT plain|guarded [OPTIONS]``.

Prints how each of them ended, as JSON. Forked, so that they begin at the same moment and not as their imports end.
"""

import json
import multiprocessing
import sys
import time
from io import StringIO
from typing import Any

import django
from django.core.management import call_command
from django.core.management.commands import migrate

Outcomes = Any


def work(barrier: Any, outcomes: Outcomes, kind: str, options: dict[str, Any]) -> None:
    command: Any = migrate.Command() if kind == "plain" else "migrate"
    output, error, seconds = StringIO(), "", []
    barrier.wait()
    for _ in range(options.pop("times", 1)):
        begun = time.monotonic()
        try:
            call_command(command, interactive=False, stdout=output, stderr=output, **options)
        except Exception as problem:  # noqa: BLE001 - whatever fails is counted
            error = f"{type(problem).__name__}: {problem}"
        seconds.append(time.monotonic() - begun)
    outcomes.put({"error": error, "seconds": seconds, "output": output.getvalue()})


def main() -> None:
    count, kind, options = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    django.setup()
    fork = multiprocessing.get_context("fork")
    barrier, outcomes = fork.Barrier(count), fork.Queue()
    children = [fork.Process(target=work, args=(barrier, outcomes, kind, options)) for _ in range(count)]
    for child in children:
        child.start()
    found = [outcomes.get() for _ in children]
    for child in children:
        child.join()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
