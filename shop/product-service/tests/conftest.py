"""What the tests of the product service share."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from products.models import Product


@pytest.fixture
def make_product(db: None) -> Callable[..., Product]:
    """Return a function that saves a product; everything can be given, nothing must."""
    numbers = count(1)

    def make(**fields: Any) -> Product:
        number = next(numbers)
        return Product.objects.create(
            **{
                "sku": f"LAMP-{number:04}",
                "name": f"Lamp {number}",
                "price": "19.90",
                "inventory_count": 10,
                "customer_limit": 1000,  # most tests are about other bounds
                **fields,
            }
        )

    return make


@pytest.fixture
def lamp(make_product: Callable[..., Product]) -> Product:
    return make_product()
