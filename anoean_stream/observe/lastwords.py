"""The end of a process that cannot end in order: what is to be said, then at once.

Saying it may hang as well (a full pipe, a lock held by the thread at fault), so it happens in a
thread that gets a moment and no more.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import Final, NoReturn

LAST_WORDS_S: Final = 1.0
"""Seconds for the last lines: they take a millisecond, or for ever."""


def say_aside(words: Callable[[], None]) -> threading.Thread:
    """Log from a thread of its own, so that the caller goes on when logging hangs."""
    speaker = threading.Thread(target=words, name="anoean-aside", daemon=True)
    speaker.start()
    return speaker


def end_process(
    code: int, last_words: Callable[[], None], *, within_s: float = LAST_WORDS_S
) -> NoReturn:
    """End this process from any thread, whatever the others do.

    Nothing is cleaned up: no ``finally``, no goodbye to the group.

    Parameters
    ----------
    code : int
        Exit code.
    last_words : callable
        Logs why; cut off after `within_s`.
    within_s : float
        Seconds that the last words may take.
    """

    def speak() -> None:
        try:
            last_words()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    say_aside(speak).join(within_s)
    os._exit(code)
