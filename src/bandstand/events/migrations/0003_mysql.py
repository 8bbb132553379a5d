from typing import Any

from django.db import migrations

from bandstand.mysql import make_exact


def prepare(_apps: Any, schema_editor: Any) -> None:
    for table in ("bandstand_outbox", "bandstand_inbox", "bandstand_delivery", "bandstand_history"):
        make_exact(schema_editor, table)
    make_exact(schema_editor, "bandstand_dead_letter", but=["error"])


class Migration(migrations.Migration):
    atomic = False  # MySQL commits at each of these statements

    dependencies = [
        ("bandstand_events", "0002_history"),
    ]

    operations = [migrations.RunPython(prepare, migrations.RunPython.noop)]
