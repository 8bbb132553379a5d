"""Settings for all tests: what of the shell they see, how many cases Hypothesis generates, and without a time limit."""

import os
import signal

from hypothesis import HealthCheck, settings

from bandstand.workspace.runtime import remove_libpq_variables

# The tests' own servers are reached by their URLs alone, whatever is set in the shell.
remove_libpq_variables(os.environ)
# A shell without job control starts `make test &` with Ctrl-C ignored, which every process below it would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("short", **_COMMON)
settings.register_profile("long", max_examples=10_000, **_COMMON)
settings.load_profile("long" if os.environ.get("BANDSTAND_TEST_LONG") else "short")
