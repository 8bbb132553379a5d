"""Log settings of the PostgreSQL that Bandstand starts or renders: no values of statements are logged.

Django puts the values into the statements that it sends, so a logged statement holds password hashes and addresses. So
do the details of an error, as "Failing row contains (…)". Both the runner and the rendered Compose file set this.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["LOG_SETTINGS"]

LOG_SETTINGS: Final[Mapping[str, str]] = {
    "log_min_error_statement": "panic",  # no statement beside an error
    "log_error_verbosity": "terse",  # no rows and keys in its details
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_statement": "none",
    "log_duration": "off",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
