"""Waiting on a condition with a deadline; the only place in the tests that sleeps."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

LOOK_EVERY_S: Final = 0.02


def wait_until(
    condition: Callable[[], T], *, within_s: float, what: str, hint: Callable[[], str] = str
) -> T:
    """Return the first true value of the condition.

    `hint` gives what helps to understand why it did not come true, such as the last log lines.

    Raises
    ------
    AssertionError
        It did not become true in time; names what was waited for, and the last value.
    """
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {within_s:g} s: {what} (last seen: {value!r})\n{hint()}"
            )
        time.sleep(LOOK_EVERY_S)
    return value
