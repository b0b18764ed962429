"""So many a second, without drifting."""

import time
from collections.abc import Callable
from typing import Final

_SLICE_S: Final = 0.02
"""Seconds of records that may go out at once: sleeping less than a few milliseconds is not exact."""


class Pace:
    """Tells a sender when to wait.

    Parameters
    ----------
    rate_per_s : float or None
        Records a second, > 0; None never waits.
    clock : callable
        Monotonic seconds; given by tests.
    """

    def __init__(
        self, rate_per_s: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate_per_s = rate_per_s
        self._clock = clock
        self._start_s = clock()
        self._n_begun = 0

    def wait_s(self) -> float:
        """Count one record, and return how many seconds to wait before it; mostly 0.0.

        Being late is made up for, so that the mean rate is the one asked for.
        """
        if self._rate_per_s is None:
            return 0.0
        due_s = self._start_s + self._n_begun / self._rate_per_s
        self._n_begun += 1
        early_s = due_s - self._clock()
        return early_s if early_s > _SLICE_S else 0.0
