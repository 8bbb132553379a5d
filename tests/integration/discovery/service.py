"""A service of one file, as any server loads it: settings, URLs, WSGI and ASGI application, and manage.py."""

import os
import signal
import sys
import time
from pathlib import Path
from threading import Thread

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.integration.discovery.settings")


def who(_request: HttpRequest) -> HttpResponse:
    """Say which process answers."""
    return HttpResponse(str(os.getpid()), content_type="text/plain")


def slow(_request: HttpRequest) -> HttpResponse:
    time.sleep(1)
    return HttpResponse("done", content_type="text/plain")


urlpatterns = [path("who/", who), path("slow/", slow), path("", include("bandstand.urls"))]


def __getattr__(name: str) -> object:
    """Make the application when a server asks for it, and not when Django only reads the URLs."""
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    makers = {"application": get_wsgi_application, "asgi": get_asgi_application}
    if name not in makers:
        raise AttributeError(name)
    return makers[name]()


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
