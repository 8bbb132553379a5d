import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("products", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="product",
            name="customer_limit",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="How many pieces one customer may hold at once. Empty: a quarter of the stock, and at least five.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
        migrations.AddField(model_name="reservation", name="customer_id", field=models.UUIDField(null=True)),
        migrations.CreateModel(
            name="CustomerHolding",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("customer_id", models.UUIDField()),
                ("pieces", models.PositiveIntegerField()),
                ("since", models.DateTimeField()),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="holdings", to="products.product"
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("customer_id", "product"), name="held_once")],
            },
        ),
    ]
