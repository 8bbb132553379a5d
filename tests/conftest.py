"""Settings for all tests: how many cases Hypothesis generates, and that none of them has a time limit."""

import os

from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("short", **_COMMON)
settings.register_profile("long", max_examples=10_000, **_COMMON)
settings.load_profile("long" if os.environ.get("BANDSTAND_TEST_LONG") else "short")
