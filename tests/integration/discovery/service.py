"""A service of one file, as any server loads it: settings, URLs, WSGI and ASGI application, and manage.py."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from threading import enumerate as enumerate_threads

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from bandstand.discovery.backends import consul as backend
from tests.waiting import GUARD

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.integration.discovery.settings")


def who(_request: HttpRequest) -> HttpResponse:
    """Say which process answers."""
    return HttpResponse(str(os.getpid()), content_type="text/plain")


def threads(_request: HttpRequest) -> HttpResponse:
    """The names of the threads of the process that answers."""
    return HttpResponse(str([thread.name for thread in enumerate_threads()]), content_type="text/plain")


def count_probes(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that tells the test of each probe that was answered: the file is shared by all workers."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if "TEST_PROBES" in os.environ and "Consul" in request.headers.get("User-Agent", ""):
            with Path(os.environ["TEST_PROBES"]).open("ab") as file:
                file.write(b".")
        return response

    return middleware


urlpatterns = [path("who/", who), path("threads/", threads), path("", include("bandstand.urls"))]


def __getattr__(name: str) -> object:
    """Make the application when a server asks for it, and not when Django only reads the URLs."""
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    makers = {"application": get_wsgi_application, "asgi": get_asgi_application}
    if name not in makers:
        raise AttributeError(name)
    return makers[name]()


# On a busy machine an answer is late, and not missing.
backend._PROBE_TIMEOUT = backend._TIMEOUT = GUARD  # type: ignore[misc]

if "WITHOUT_RENEWAL" in os.environ:  # switches the protection off
    from bandstand.discovery import registration

    registration.RENEW = 3600.0

if "NO_THREAD_WHILE" in os.environ:  # as on a machine without a thread left, while that file is there
    start = Thread.start

    def start_or_fail(thread: Thread) -> None:
        if thread.name == "discovery-registration" and Path(os.environ["NO_THREAD_WHILE"]).exists():
            raise RuntimeError("can't start new thread")
        start(thread)

    Thread.start = start_or_fail  # type: ignore[method-assign]

if __name__ == "__main__":
    # Who runs in the background of a shell is deaf to Ctrl-C, and so are all its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, str(Path(__file__).parents[3]))
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
