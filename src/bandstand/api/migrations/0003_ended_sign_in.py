from typing import Any

from django.db import migrations, models

from bandstand.mysql import make_exact


def prepare(_apps: Any, schema_editor: Any) -> None:
    make_exact(schema_editor, "bandstand_api_endedsignin")


class Migration(migrations.Migration):
    atomic = False  # MySQL commits at each of these statements

    dependencies = [
        ("bandstand_api", "0002_mysql"),
    ]

    operations = [
        migrations.CreateModel(
            name="EndedSignIn",
            fields=[
                (
                    "sid",
                    models.CharField(
                        help_text="The claim of that name in the tokens of the sign-in.",
                        max_length=255,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("ended_at", models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.RunPython(prepare, migrations.RunPython.noop),
    ]
