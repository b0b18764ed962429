"""What a candidate says of the records that the champion scored, counted in bounded memory.

The same code compares live traffic (`anoean_stream.compare.shadow`) and a range of a topic or a
file (``anoean models diff``).

Letters: B records of a chunk, C those that the champion scored, P those that both scored.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.compare.disagreements import Disagreements, disagreement_sizes
from anoean_stream.compare.sample import PairSample, rank_correlation
from anoean_stream.detector.sketch import ScoreSketch
from anoean_stream.pipeline import Measurement, Pipeline, Verdict
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.shadowreport import ShadowReport
from anoean_stream.records.times import rfc3339

SAMPLE_PAIRS: Final = 10_000
"""Pairs of scores behind the rank correlation: off by 0.01 at 10,000. Below 1,000 it is a guess."""

_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


@dataclass(frozen=True, slots=True)
class Pairs:
    """The records of a chunk that both models scored.

    Parameters
    ----------
    rows_P : ndarray of intp, shape (P,)
        Place in the chunk, increasing.
    champion_P, candidate_P : ndarray of float64, shape (P,)
        Scores, finite; higher is more anomalous.
    champion_alerts_P, candidate_alerts_P : ndarray of bool, shape (P,)
        Above the threshold of each.
    """

    rows_P: NDArray[np.intp]
    champion_P: NDArray[np.float64]
    candidate_P: NDArray[np.float64]
    champion_alerts_P: NDArray[np.bool_]
    candidate_alerts_P: NDArray[np.bool_]


class Comparison:
    """Two models side by side; what it holds does not grow with the records. Not thread-safe.

    Parameters
    ----------
    champion, candidate : Pipeline
        The model that decides, and the one that is looked at. Their feature contracts may differ.
    max_examples : int
        Most examples of each kind of disagreement, >= 0.
    seed : int
        Of the sample of pairs.
    sample_pairs : int
        Size of that sample.

    Attributes
    ----------
    champion_scores, candidate_scores : ScoreSketch
        Of the records that both scored.
    sample : PairSample
        Champion's and candidate's scores of some of them.
    champion_dead : int
        Records that the candidate scored and the champion could not.
    """

    def __init__(
        self,
        champion: Pipeline,
        candidate: Pipeline,
        *,
        max_examples: int,
        seed: int,
        sample_pairs: int = SAMPLE_PAIRS,
    ) -> None:
        self.champion = champion
        self.candidate = candidate
        self.champion_scores = ScoreSketch()
        self.candidate_scores = ScoreSketch()
        self.sample = PairSample(sample_pairs, seed=seed)
        self.champion_dead = 0
        self._only_champion = Disagreements("only_champion", most=max_examples)
        self._only_candidate = Disagreements("only_candidate", most=max_examples)
        self._largest = (0.0, 0.0)
        self._n_chunks = self._n_records = self._n_dead = self._n_timed = 0
        self._n_champion = self._n_candidate = self._n_both = 0
        self._champion_cpu_s = self._candidate_cpu_s = 0.0

    def add(self, chunk: Chunk, champion: Verdict | Measurement, *, champion_cpu_s: float) -> Pairs:
        """Let the candidate score a chunk, and count both opinions.

        Blocking and CPU-bound. Records that the candidate rejects, or to which it gives a score that
        is not finite, are counted as `candidate_dead`.

        Parameters
        ----------
        chunk : Chunk
            The chunk that the champion has scored, or the head of it.
        champion : Verdict or Measurement
            What the champion says of it; what lies beyond the head is left out.
        champion_cpu_s : float
            CPU time that the champion took for these records, seconds.

        Raises
        ------
        Exception
            Whatever the candidate raises: a bug in it, or no memory. Nothing was counted then.
        """
        candidate, candidate_cpu_s = timed_measure(self.candidate, chunk)
        return self.add_measured(
            chunk,
            champion,
            candidate,
            champion_cpu_s=champion_cpu_s,
            candidate_cpu_s=candidate_cpu_s,
        )

    def add_measured(
        self,
        chunk: Chunk,
        champion: Verdict | Measurement,
        candidate: Measurement,
        *,
        champion_cpu_s: float,
        candidate_cpu_s: float,
    ) -> Pairs:
        """Count both opinions of a chunk, as `add` does, when the candidate's is there already."""
        self._champion_cpu_s += champion_cpu_s
        self._candidate_cpu_s += candidate_cpu_s
        self._n_timed += chunk.n_records
        self._n_chunks += 1
        pairs = self._pairs(chunk, champion, candidate)
        self._count(pairs)
        self._offer(chunk, pairs)
        return pairs

    def add_failed(self, chunk: Chunk, champion: Verdict | Measurement) -> None:
        """Count a chunk on which the candidate raised: it could score none of its records."""
        self._n_chunks += 1
        self._n_dead += len(_scored_places(champion, chunk.n_records))

    @property
    def n_chunks(self) -> int:
        """Chunks that were added, failed ones too."""
        return self._n_chunks

    def report(
        self,
        *,
        since: datetime,
        until: datetime,
        chunks_left_out: int = 0,
        with_examples: bool = True,
    ) -> ShadowReport:
        """Return what was counted; both models explain the examples now.

        Blocks for about 0.1 ms for each example. Changes nothing.

        Parameters
        ----------
        since, until : datetime
            The time that it covers, aware.
        chunks_left_out : int
            Chunks that were to be compared and were not.
        with_examples : bool
            Whether examples are explained and given.

        Raises
        ------
        Exception
            Whatever the candidate raises while it explains; not without examples.
        """
        examples = (
            self._only_champion.explained(self.champion, self.candidate)
            + self._only_candidate.explained(self.champion, self.candidate)
            if with_examples
            else ()
        )
        n_timed = max(self._n_timed, 1)
        return ShadowReport(
            champion=self.champion.model.version,
            candidate=self.candidate.model.version,
            since=rfc3339(since),
            until=rfc3339(until),
            records=self._n_records,
            champion_alerts=self._n_champion,
            candidate_alerts=self._n_candidate,
            both_alerts=self._n_both,
            candidate_dead=self._n_dead,
            rank_correlation=rank_correlation(*self.sample.pairs()),
            champion_quantiles=_quantiles(self.champion_scores, self._largest[0]),
            candidate_quantiles=_quantiles(self.candidate_scores, self._largest[1]),
            champion_us=1e6 * self._champion_cpu_s / n_timed,
            candidate_us=1e6 * self._candidate_cpu_s / n_timed,
            chunks=self._n_chunks,
            chunks_left_out=chunks_left_out,
            examples=examples,
        )

    def _pairs(
        self, chunk: Chunk, champion: Verdict | Measurement, candidate: Measurement
    ) -> Pairs:
        good = np.flatnonzero(np.isfinite(candidate.distances_G))
        place_B = np.full(chunk.n_records, -1, dtype=np.intp)
        place_B[candidate.rows_G[good]] = good
        scored_C = _scored_places(champion, chunk.n_records)
        place_C = place_B[champion.rows_G[scored_C]]
        both_C = place_C >= 0
        self._n_dead += int((~both_C).sum())
        first_P, second_P = scored_C[both_C], place_C[both_C]
        self.champion_dead += len(good) - len(second_P)
        return Pairs(
            rows_P=champion.rows_G[first_P],
            champion_P=champion.distances_G[first_P],
            candidate_P=candidate.distances_G[second_P],
            champion_alerts_P=champion.anomalous_G[first_P],
            candidate_alerts_P=candidate.anomalous_G[second_P],
        )

    def _count(self, pairs: Pairs) -> None:
        self._n_records += len(pairs.rows_P)
        self._n_champion += int(pairs.champion_alerts_P.sum())
        self._n_candidate += int(pairs.candidate_alerts_P.sum())
        self._n_both += int((pairs.champion_alerts_P & pairs.candidate_alerts_P).sum())
        self.champion_scores.add(pairs.champion_P)
        self.candidate_scores.add(pairs.candidate_P)
        self.sample.add(pairs.champion_P, pairs.candidate_P)
        self._largest = (
            float(np.max(pairs.champion_P, initial=self._largest[0])),
            float(np.max(pairs.candidate_P, initial=self._largest[1])),
        )

    def _offer(self, chunk: Chunk, pairs: Pairs) -> None:
        for keeper, differ_P in (
            (self._only_champion, pairs.champion_alerts_P & ~pairs.candidate_alerts_P),
            (self._only_candidate, pairs.candidate_alerts_P & ~pairs.champion_alerts_P),
        ):
            places = np.flatnonzero(differ_P)
            if not len(places):
                continue
            champion_D, candidate_D = pairs.champion_P[places], pairs.candidate_P[places]
            keeper.offer(
                chunk,
                pairs.rows_P[places],
                champion_D=champion_D,
                candidate_D=candidate_D,
                sizes_D=disagreement_sizes(
                    champion_D,
                    candidate_D,
                    first_threshold=self.champion.threshold,
                    second_threshold=self.candidate.threshold,
                ),
            )


def timed_measure(pipeline: Pipeline, chunk: Chunk) -> tuple[Measurement, float]:
    """Return what a model says of a chunk, and the CPU seconds that it took."""
    started_s = time.thread_time()
    # A score that overflows is counted as dead; a warning for each chunk would help nobody.
    with np.errstate(over="ignore", invalid="ignore"):
        measured = pipeline.measure(chunk)
    return measured, time.thread_time() - started_s


def _scored_places(measured: Verdict | Measurement, n_records: int) -> NDArray[np.intp]:
    """Return which of the G scored records are among the first ones of a chunk, with a finite score."""
    n_head = int(np.searchsorted(measured.rows_G, n_records))
    return np.flatnonzero(np.isfinite(measured.distances_G[:n_head]))


def _quantiles(scores: ScoreSketch, largest: float) -> dict[str, float]:
    """Return the quantiles of a sketch, empty without scores; only the maximum is exact."""
    if not scores.counts:
        return {}
    found = {name: scores.quantile(share) for name, share in _QUANTILES.items()}
    return {name: min(value, largest) for name, value in found.items() if value is not None} | {
        "max": largest
    }
