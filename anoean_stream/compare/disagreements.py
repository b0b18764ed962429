"""The records of which two models say the most different things, kept until somebody asks why.

Letters: D disagreements of a chunk.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from anoean_stream.detector.sketch import SMALLEST
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.alert import FeatureShift
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.flow import flow_fields_of_large
from anoean_stream.records.shadowreport import Disagreement, Opinion

EXAMPLE_MAX_BYTES: Final = 65_536
"""A larger record is counted and no example: examples of both kinds are in memory until the report.
Below 1 KiB ordinary flows would be left out."""

Kind = Literal["only_champion", "only_candidate"]


@dataclass(frozen=True, slots=True, order=True)
class _Kept:
    size: float
    turn: int  # of two with the same size the earlier one stays
    topic: str = field(compare=False)
    partition: int = field(compare=False)
    offset: int = field(compare=False)
    value: bytes = field(compare=False)
    champion: float = field(compare=False)
    candidate: float = field(compare=False)


class Disagreements:
    """The largest disagreements of one kind, bounded in number and bytes. Not thread-safe.

    The size of a disagreement is the logarithm of how far one model is above its threshold plus how
    far the other is below its own: 4 times above and 5 times below is as much as 20 times above and
    just below.

    Parameters
    ----------
    kind : {"only_champion", "only_candidate"}
        Whose alerts these are.
    most : int
        Disagreements kept, >= 0.
    """

    def __init__(self, kind: Kind, *, most: int) -> None:
        self.kind = kind
        self._most = most
        self._n_seen = 0
        self._heap: list[_Kept] = []  # the smallest first

    def offer(
        self,
        chunk: Chunk,
        rows_D: NDArray[np.intp],
        *,
        champion_D: NDArray[np.float64],
        candidate_D: NDArray[np.float64],
        sizes_D: NDArray[np.float64],
    ) -> None:
        """Keep those of a chunk that are larger than what is kept.

        Parameters
        ----------
        chunk : Chunk
            Where the records are.
        rows_D : ndarray of intp, shape (D,)
            Their places.
        champion_D, candidate_D : ndarray of float64, shape (D,)
            Scores.
        sizes_D : ndarray of float64, shape (D,)
            From `disagreement_sizes`.
        """
        if len(self._heap) == self._most:
            smallest = self._heap[0].size if self._heap else np.inf
            places = np.flatnonzero(sizes_D > smallest)
        else:
            places = np.arange(len(sizes_D))
        largest = places[np.argsort(-sizes_D[places], kind="stable")[: self._most]]
        for place in largest.tolist():
            self._keep(
                chunk,
                int(rows_D[place]),
                size=float(sizes_D[place]),
                champion=float(champion_D[place]),
                candidate=float(candidate_D[place]),
            )

    def _keep(
        self, chunk: Chunk, row: int, *, size: float, champion: float, candidate: float
    ) -> None:
        value = chunk.values[row]
        if value is None or len(value) > EXAMPLE_MAX_BYTES:
            return
        self._n_seen += 1
        kept = _Kept(
            size,
            -self._n_seen,
            chunk.topic,
            chunk.partition,
            chunk.offsets[row],
            value,
            champion,
            candidate,
        )
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, kept)
        else:
            heapq.heappushpop(self._heap, kept)

    def explained(self, champion: Pipeline, candidate: Pipeline) -> tuple[Disagreement, ...]:
        """Return them, the largest first, with what each model looked at.

        Both models score the records again: about 100 us for each.
        """
        kept = sorted(self._heap, reverse=True)
        if not kept:
            return ()
        values = [one.value for one in kept]
        of_champion, of_candidate = (
            _explanations(champion, values),
            _explanations(candidate, values),
        )
        return tuple(
            Disagreement(
                kind=self.kind,
                topic=one.topic,
                partition=one.partition,
                offset=one.offset,
                flow=flow_fields_of_large(one.value),
                champion=_opinion(champion, one.champion, of_champion[place]),
                candidate=_opinion(candidate, one.candidate, of_candidate[place]),
            )
            for place, one in enumerate(kept)
        )


def disagreement_sizes(
    first_D: NDArray[np.float64],
    second_D: NDArray[np.float64],
    *,
    first_threshold: float,
    second_threshold: float,
) -> NDArray[np.float64]:
    """Return how far apart two opinions are, from 0: the log of one's score over threshold against the other's.

    Scores and thresholds below `SMALLEST` count as that.
    """
    relative_D = np.log(np.maximum(first_D, SMALLEST) / max(first_threshold, SMALLEST))
    relative_D -= np.log(np.maximum(second_D, SMALLEST) / max(second_threshold, SMALLEST))
    return np.abs(relative_D)


def _explanations(pipeline: Pipeline, values: Sequence[bytes]) -> list[tuple[FeatureShift, ...]]:
    n_values = len(values)
    chunk = Chunk(
        topic="",
        partition=0,
        values=values,
        keys=(None,) * n_values,
        offsets=range(n_values),
        timestamps_ms=(-1,) * n_values,
    )
    # A record with one field set back may overflow where the record itself does not.
    with np.errstate(over="ignore", invalid="ignore"):
        measured = pipeline.measure(chunk)
        assert len(measured.rows_G) == n_values  # this model has scored each of them before
        return pipeline.explain(measured, range(n_values))


def _opinion(pipeline: Pipeline, score: float, explanation: tuple[FeatureShift, ...]) -> Opinion:
    # JSON has no minus infinity, the threshold at which everything alerts.
    return Opinion(score=score, threshold=pipeline.shown_threshold, explanation=explanation)
