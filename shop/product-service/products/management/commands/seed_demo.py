"""Fills an empty catalogue for demonstrations."""

import csv
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from products.models import Product, usual_limit

CATALOGUE = Path(__file__).parents[2] / "catalogue.csv"


class Command(BaseCommand):
    """Loads the catalogue of the demonstration. What is there already stays as it is, its stock above all."""

    help = "Load the demonstration's catalogue with its stock. Products whose SKU exists are left as they are."

    def handle(self, *args: Any, **options: Any) -> None:
        known = set(Product.objects.values_list("sku", flat=True))
        with CATALOGUE.open(encoding="utf-8", newline="") as file:
            new = [self.product(row) for row in csv.DictReader(file) if row["sku"] not in known]
        Product.objects.bulk_create(new, ignore_conflicts=True)
        self.stdout.write(f"{len(new)} products added, {len(known)} were there.")

    def product(self, row: dict[str, str]) -> Product:
        """Return the product of one line of the catalogue."""
        return Product(
            sku=row["sku"],
            name=row["name"],
            description=row["description"],
            price=Decimal(row["price"]),
            inventory_count=int(row["stock"]),
            customer_limit=usual_limit(int(row["stock"])),
            is_featured=row["featured"] == "yes",
        )
