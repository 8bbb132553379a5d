"""The table of idempotency keys."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="IdempotencyRecord",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("caller", models.CharField(help_text="Who used the key: user, service, or both.", max_length=255)),
                ("route", models.CharField(help_text="Method and route.", max_length=255)),
                ("key", models.CharField(max_length=255)),
                ("fingerprint", models.CharField(help_text="Digest of method, path and body.", max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[("in_flight", "In Flight"), ("completed", "Completed")],
                        default="in_flight",
                        max_length=16,
                    ),
                ),
                ("status", models.PositiveSmallIntegerField(null=True)),
                ("headers", models.JSONField(default=dict)),
                ("body", models.BinaryField(null=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("caller", "route", "key"), name="bandstand_api_idempotency_key")
                ],
            },
        ),
    ]
