"""django-outbox-pattern: what an event costs in a transaction. Its relay speaks STOMP, and asks for no confirmation."""

from exchange import Given, answer, django_with, measure_rows

given = Given.read()
django_with(given, ["django.contrib.contenttypes", "django_outbox_pattern"])

from django_outbox_pattern.models import Published  # noqa: E402 - the settings come first

rows = Published.objects
answer(**measure_rows(given.events, lambda event: rows.create(body=event, destination="order.placed")))
