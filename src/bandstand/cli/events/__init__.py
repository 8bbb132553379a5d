"""``bandstand events``: where the events of all services are, the way of one, and dead letters.

Each service is asked by its own ``manage.py events``, all of them side by side (``asking.py``); ``joining.py`` makes
one story of their traces, ``showing.py`` trees and tables.
"""

from bandstand.cli.events.commands import events

__all__ = ["events"]
