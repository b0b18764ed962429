"""Looking at the registry: at an interval, at once when told, and not in a frenzy."""

import asyncio
import time
from itertools import pairwise

import pytest

from anoean_stream.registry.polling import Polling

NEVER_S = 86400.0


class Looks:
    """Remembers when somebody looked."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._looked = asyncio.Event()

    async def look(self) -> None:
        self.times.append(time.monotonic())
        self._looked.set()

    async def until(self, n: int) -> None:
        async with asyncio.timeout(10):
            while len(self.times) < n:
                self._looked.clear()
                await self._looked.wait()


def run(interval_s: float, n_wakes: int, *, expect: int) -> list[float]:
    async def scenario() -> list[float]:
        looks = Looks()
        polling = Polling((looks.look,), interval_s=interval_s, jitter=0)
        running = asyncio.create_task(polling.run())
        await looks.until(1)
        for _ in range(n_wakes):
            polling.wake()
        await looks.until(expect)
        polling.stop()
        await running
        return looks.times

    return asyncio.run(scenario())


def test_a_wake_looks_at_once() -> None:
    times = run(NEVER_S, 1, expect=2)

    assert times[1] - times[0] < 2


def test_a_thousand_wakes_are_one_look() -> None:
    async def scenario() -> int:
        looks = Looks()
        polling = Polling((looks.look,), interval_s=NEVER_S, jitter=0)
        running = asyncio.create_task(polling.run())
        await looks.until(1)
        for _ in range(1000):
            polling.wake()
        await looks.until(2)
        # A third look would come after the distance between two.
        await asyncio.wait({running}, timeout=0.6)
        polling.stop()
        await running
        return len(looks.times)

    assert asyncio.run(scenario()) == 2


def test_looks_keep_a_distance_however_often_it_is_woken() -> None:
    async def scenario() -> list[float]:
        looks = Looks()

        async def flood() -> None:
            polling.wake()

        polling = Polling((looks.look, flood), interval_s=NEVER_S, jitter=0)
        running = asyncio.create_task(polling.run())
        await looks.until(4)
        polling.stop()
        await running
        return looks.times

    assert min(after - before for before, after in pairwise(asyncio.run(scenario()))) >= 0.19


def test_a_wake_during_a_look_is_not_lost() -> None:
    async def scenario() -> int:
        looks = Looks()

        async def slow() -> None:
            if len(looks.times) == 1:
                polling.wake()
                await asyncio.sleep(0.05)

        polling = Polling((looks.look, slow), interval_s=NEVER_S, jitter=0)
        running = asyncio.create_task(polling.run())
        await looks.until(2)
        polling.stop()
        await running
        return len(looks.times)

    assert asyncio.run(scenario()) == 2


def test_the_interval_is_kept() -> None:
    times = run(0.3, 0, expect=4)

    assert min(after - before for before, after in pairwise(times)) >= 0.29


def test_a_look_that_raises_ends_it() -> None:
    async def look() -> None:
        message = "a bug"
        raise ZeroDivisionError(message)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(Polling((look,), interval_s=1, jitter=0).run())
