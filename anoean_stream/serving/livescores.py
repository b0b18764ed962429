"""The scores of the last hour, for whoever has to choose a threshold."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.detector.sketch import ScoreSketch
from anoean_stream.records.times import rfc3339
from anoean_stream.records.workerreport import ScoreDistribution

SLOT_S: Final = 300.0
"""Seconds in one slot: what is forgotten at once when it is too old."""

_SLOTS: Final = 12
"""Slots kept: an hour."""


@dataclass(slots=True)
class _Slot:
    began: float
    began_at: datetime
    sketch: ScoreSketch = field(default_factory=ScoreSketch)


class LiveScores:
    """Scores of one version, by stretches of five minutes. Safe to call from any thread.

    Parameters
    ----------
    clock : callable
        Monotonic seconds; given by tests.
    now : callable
        The time; given by tests.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._version: str | None = None
        self._slots: deque[_Slot] = deque(maxlen=_SLOTS)

    def begin(self, version: str | None) -> None:
        """Forget all scores: another version gives them from now on; None: none does."""
        with self._lock:
            self._version = version
            self._slots.clear()
            if version is not None:
                self._slots.append(_Slot(self._clock(), self._now()))

    def add(self, version: str, distances_G: NDArray[np.float64]) -> None:
        """Count the scores of a chunk; those of another version are left out."""
        with self._lock:
            if version != self._version:
                return
            if self._clock() - self._slots[-1].began >= SLOT_S:
                self._slots.append(_Slot(self._clock(), self._now()))
            self._slots[-1].sketch.add(distances_G)

    def distribution(self) -> ScoreDistribution | None:
        """Return what was counted; None while no version serves."""
        with self._lock:
            if self._version is None:
                return None
            now = self._clock()
            while len(self._slots) > 1 and now - self._slots[0].began > (_SLOTS + 1) * SLOT_S:
                self._slots.popleft()  # an idle topic adds no slots
            total = ScoreSketch()
            for slot in self._slots:
                total.merge(slot.sketch.counts)
            return ScoreDistribution(
                version=self._version,
                since=rfc3339(self._slots[0].began_at),
                until=rfc3339(self._now()),
                seconds=round(now - self._slots[0].began, 3),
                records=total.n_scores,
                bins=total.counts,
            )
