"""The WSGI application that granian loads."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "plain_service.settings")

application = get_wsgi_application()
