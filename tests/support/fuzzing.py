"""How long to look for an input that hurts: seconds in the normal run, always the same examples.

``ANOEAN_FUZZ_EXAMPLES=20000 python -m pytest tests/fuzz`` looks at so many for each test, others at
each run, and prints how to see a failure again.
"""

import os
from typing import Final

from hypothesis import HealthCheck, settings

VARIABLE: Final = "ANOEAN_FUZZ_EXAMPLES"

_asked_for: Final = os.environ.get(VARIABLE)


def fuzz(examples: int) -> settings:
    """Return the settings of one test: so many examples unless `VARIABLE` says another number."""
    return settings(
        max_examples=int(_asked_for or examples),
        derandomize=_asked_for is None,
        database=None,
        deadline=None,  # the tests with a bound on time measure it themselves
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
