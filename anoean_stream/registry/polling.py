"""Look at the registry again and again: at an interval, and at once when somebody says so."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

_MIN_WAIT_S: Final = 0.01
"""Seconds. Below, a jitter drawn badly would spin; above 0.1, the shortest interval of the
settings, it would not be kept."""

_BETWEEN_WAKES_S: Final = 0.2
"""Seconds between two looks that were asked for: whoever can write to the control topic must not be able
to keep a worker busy. Above a second a roll back would be slow."""

Look = Callable[[], Awaitable[object]]


class Polling:
    """Calls some looks in turn, on the event loop that calls `run`.

    Parameters
    ----------
    looks : sequence of callable
        Coroutine functions; one after the other, each time.
    interval_s : float
        Seconds between two rounds, > 0.
    jitter : float
        Random part of the interval, 0 to 0.9: each wait is drawn from interval * (1 +- jitter).
    """

    def __init__(self, looks: Sequence[Look], *, interval_s: float, jitter: float) -> None:
        self._looks = tuple(looks)
        self._interval_s = interval_s
        self._jitter = jitter
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()
        self._random = random.Random()

    async def run(self) -> None:
        """Look until `stop` is called or the task is cancelled.

        A look under way is abandoned then.

        Raises
        ------
        Exception
            Whatever a look raises: a bug, which ends the process.
        """
        self._loop = asyncio.get_running_loop()
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                self._woken.clear()
                looking = asyncio.ensure_future(self._look())
                try:
                    await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    looking.cancel()  # without effect on a round that is done
                await asyncio.wait({looking})
                if not looking.cancelled():
                    looking.result()
                await self._pause(stopping)
        finally:
            stopping.cancel()

    def stop(self) -> None:
        """Let `run` return at once; call it on the event loop. Calling it again does nothing."""
        self._stopping.set()

    def wake(self) -> None:
        """Look now, or right after the round under way; call it on the event loop."""
        self._woken.set()

    def wake_from_any_thread(self) -> None:
        """Do what `wake` does, from another thread than the event loop's; nothing unless it runs."""
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self.wake)
        except RuntimeError:
            return  # the loop is closed: the process is at its end

    async def _look(self) -> None:
        for look in self._looks:
            await look()

    async def _pause(self, stopping: "asyncio.Future[Literal[True]]") -> None:
        wait_s = self._wait_s()
        await asyncio.wait({stopping}, timeout=min(_BETWEEN_WAKES_S, wait_s))
        if wait_s > _BETWEEN_WAKES_S:
            woken = asyncio.ensure_future(self._woken.wait())
            await asyncio.wait(
                {stopping, woken},
                timeout=wait_s - _BETWEEN_WAKES_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            woken.cancel()

    def _wait_s(self) -> float:
        spread = self._interval_s * self._jitter
        return max(_MIN_WAIT_S, self._interval_s + self._random.uniform(-spread, spread))
