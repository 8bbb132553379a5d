from typing import Any

from django.db import migrations

from bandstand.mysql import make_exact


def prepare(_apps: Any, schema_editor: Any) -> None:
    make_exact(schema_editor, "bandstand_api_idempotencyrecord")


class Migration(migrations.Migration):
    atomic = False  # MySQL commits at each of these statements

    dependencies = [
        ("bandstand_api", "0001_initial"),
    ]

    operations = [migrations.RunPython(prepare, migrations.RunPython.noop)]
