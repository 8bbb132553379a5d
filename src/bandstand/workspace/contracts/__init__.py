"""What services promise each other by events, and whether they keep it.

- ``collect(workspace)``: what every service publishes and reads, by asking each.
- ``render(platform)``: the files of ``contracts/``; ``write`` puts them there, ``stale`` says what it would change.
- ``baseline(folder, revision)``: what was promised before; ``check(platform, promises)``: what breaks whom.
- ``compare(written, read)``: the question below it all: can a reader take everything that a writer may send?
- ``asyncapi(platform)``: the platform's events as one document.
"""

from bandstand.workspace.contracts.asyncapi import asyncapi
from bandstand.workspace.contracts.checking import Promise, check
from bandstand.workspace.contracts.collecting import collect
from bandstand.workspace.contracts.comparing import Difference, compare
from bandstand.workspace.contracts.findings import Finding
from bandstand.workspace.contracts.model import Consumption, Event, Platform, Publication, ServiceContracts, View
from bandstand.workspace.contracts.rendering import render
from bandstand.workspace.contracts.storing import Baseline, baseline, stale, write

__all__ = [
    "Baseline",
    "Consumption",
    "Difference",
    "Event",
    "Finding",
    "Platform",
    "Promise",
    "Publication",
    "ServiceContracts",
    "View",
    "asyncapi",
    "baseline",
    "check",
    "collect",
    "compare",
    "render",
    "stale",
    "write",
]
