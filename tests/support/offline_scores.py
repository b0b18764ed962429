"""What each version says of each record of a traffic, worked out without any worker; and who was right."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.pipeline import Pipeline
from anoean_stream.records.chunk import Chunk

TOLERANCE: Final = 1e-4
"""Relative: float32 sums in another order in another batch."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One alert, as far as it is compared."""

    partition: int
    offset: int
    version: str
    score: float


class OfflineScores:
    """Scores of V values by each of several models.

    Parameters
    ----------
    values : sequence of bytes, length V
        The traffic, as `SteadyTraffic` repeats it.
    partitions : int
        Of the topic.
    """

    def __init__(self, values: Sequence[bytes], *, partitions: int) -> None:
        n = len(values)
        self._partitions = partitions
        self._chunk = Chunk("t", 0, values, [None] * n, range(n), [-1] * n)
        self._scores: dict[str, NDArray[np.float64]] = {}
        self._is_anomalous: dict[str, NDArray[np.bool_]] = {}
        self._is_close: dict[str, NDArray[np.bool_]] = {}

    def add(self, version: str, pipeline: Pipeline) -> None:
        """Score all values with a version."""
        verdict = pipeline.score_chunk(self._chunk)
        assert not verdict.rejected
        self._scores[version] = verdict.distances_G
        self._is_anomalous[version] = verdict.anomalous_G
        margin = np.abs(verdict.distances_G - verdict.threshold)
        self._is_close[version] = margin <= TOLERANCE * max(verdict.threshold, 1e-9)

    def anomalous_share(self, version: str) -> float:
        """Return the share of the values that a version calls anomalous."""
        return float(self._is_anomalous[version].mean())

    def wrong_scores(self, alerts: Iterable[Seen]) -> list[str]:
        """Return each alert whose score is not that of the version that it names."""
        return [
            f"{alert}: expected {expected:.6g}"
            for alert in alerts
            for expected in (self._scores[alert.version][self._row(alert.partition, alert.offset)],)
            if not np.isclose(alert.score, expected, rtol=TOLERANCE, atol=TOLERANCE)
        ]

    def wrong_decisions(self, alerts: Sequence[Seen], ends: Mapping[int, int]) -> list[str]:
        """Return each record that no version can have judged as it was judged.

        Between the first and the last alert of a version in a partition that version judged every
        record: exactly its anomalies alert. Between two versions there must be a place at which one
        took over from the other.
        """
        problems = []
        for partition, end in ends.items():
            own = sorted(
                (alert for alert in alerts if alert.partition == partition),
                key=lambda alert: alert.offset,
            )
            runs = [list(run) for _, run in groupby(own, key=lambda alert: alert.version)]
            for run in runs:
                problems += self._inside(partition, run)
            edges = [(None, runs[0]), *pairwise(runs), (runs[-1], None)]
            for left, right in edges:
                problems += self._between(partition, left, right, end=end)
        return problems

    def _inside(self, partition: int, run: Sequence[Seen]) -> list[str]:
        version, first, last = run[0].version, run[0].offset, run[-1].offset
        offsets = np.arange(first, last + 1)
        rows = self._rows(partition, offsets)
        expected = set(offsets[self._is_anomalous[version][rows]].tolist())
        either = set(offsets[self._is_close[version][rows]].tolist())
        found = {alert.offset for alert in run}
        return [
            f"{partition}/{offset}: {'no alert' if offset in expected else 'an alert'} by {version}"
            for offset in sorted((expected ^ found) - either)
        ]

    def _between(
        self, partition: int, left: Sequence[Seen] | None, right: Sequence[Seen] | None, *, end: int
    ) -> list[str]:
        begin = 0 if left is None else left[-1].offset + 1
        until = end if right is None else right[0].offset
        offsets = np.arange(begin, until)
        first_of_left, last_of_right = until, begin - 1
        if left is not None:
            missed = self._sure(left[0].version, partition, offsets)
            first_of_left = int(missed[0]) if len(missed) else until
        if right is not None:
            missed = self._sure(right[0].version, partition, offsets)
            last_of_right = int(missed[-1]) if len(missed) else begin - 1
        if left is None:
            first_of_left = begin  # nobody before: right judged all of it
        if right is None:
            last_of_right = until - 1
        fits = (
            last_of_right < first_of_left
            if left is not None and right is not None
            else (last_of_right < begin if left is None else first_of_left >= until)
        )
        if fits:
            return []
        names = [run[0].version if run else None for run in (left, right)]
        return [f"{partition}/{begin}-{until}: neither {names[0]} nor {names[1]} judged so"]

    def _sure(self, version: str, partition: int, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = self._rows(partition, offsets)
        return offsets[self._is_anomalous[version][rows] & ~self._is_close[version][rows]]

    def _rows(self, partition: int, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = (offsets * self._partitions + partition) % len(self._chunk.values)
        return rows

    def _row(self, partition: int, offset: int) -> int:
        return (offset * self._partitions + partition) % len(self._chunk.values)
