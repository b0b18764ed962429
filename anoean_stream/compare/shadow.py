"""The candidate beside the champion, on live traffic, without taking the champion's time.

Which chunks are compared depends only on where they begin: two workers that read the same chunk
agree. How much of them is compared depends on a budget of CPU time that scoring fills.
"""

import hashlib
import logging
import time
from datetime import UTC, datetime
from typing import Final

from anoean_stream.compare.comparison import Comparison
from anoean_stream.detector.sketch import ScoreSketch
from anoean_stream.pipeline import Pipeline, Verdict
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.shadowreport import ShadowReport
from anoean_stream.settings import ShadowSettings

PIECE_MAX_S: Final = 0.02
"""Most CPU seconds of the candidate between two chunks, as predicted: scoring stands still for so
long. Below 0.001 nothing but heads of a few records would be compared."""

CREDIT_MAX_S: Final = 0.5
"""Most CPU seconds that are saved up: a candidate that becomes slow must not spend hours of savings
one piece after the other. At least `PIECE_MAX_S`."""

HEAD_RECORDS: Final = 256
"""Records of the very first piece, which finds out what the candidate costs, and the fewest that are
worth a piece: below, most of the time is overhead."""

_FORGETS: Final = 0.9
"""Share that earlier pieces keep in the predicted cost after each new one, in (0, 1)."""

_log: Final = logging.getLogger(__name__)


class Shadow:
    """Compares a candidate with the champion while the champion works.

    All calls are made in the scoring thread; none raises because of the candidate. Memory is bounded.

    Parameters
    ----------
    champion, candidate : Pipeline
        The model that decides, and the one that is looked at. Another champion needs another shadow.
    settings : ShadowSettings
        Share of chunks, share of time, number of examples.
    seed : int
        Of the sample of scores; which chunks are drawn does not depend on it.

    Attributes
    ----------
    candidate_scores : ScoreSketch
        Scores that the candidate gave since the start. Whoever takes it over (``shadow.candidate_scores
        = ScoreSketch()``) begins a new stretch of time.
    champion_cpu_s, candidate_cpu_s : float
        CPU seconds since the start: of the champion's scoring, and of everything done here.
    failures : int
        Chunks and reports on which the candidate raised, since the start.
    """

    def __init__(
        self, champion: Pipeline, candidate: Pipeline, *, settings: ShadowSettings, seed: int
    ) -> None:
        self.champion = champion
        self.candidate = candidate
        self.candidate_scores = ScoreSketch()
        self.champion_cpu_s = 0.0
        self.candidate_cpu_s = 0.0
        self.failures = 0
        self._settings = settings
        self._seed = seed
        self._since = datetime.now(tz=UTC)
        self._credit_s = 0.0
        self._cost_s = 0.0  # of recent pieces, and their records: what is predicted from
        self._cost_records = 0.0
        self._n_left_out = 0
        self._comparison = self._fresh()

    def consider(self, verdict: Verdict, *, cpu_s: float) -> None:
        """Compare the chunk of a verdict, or the head of it, if it is drawn and there is time.

        Blocks for about `PIECE_MAX_S` at the most. An exception of the candidate is logged, and its
        records are counted as dead; it is tried again with the next chunk.

        Parameters
        ----------
        verdict : Verdict
            The champion's.
        cpu_s : float
            CPU time (`time.thread_time`) that the verdict took, seconds.
        """
        self.champion_cpu_s += cpu_s
        self._earn(cpu_s * self._settings.time_share)
        chunk = verdict.chunk
        if not chunk.n_records or not is_drawn(chunk, share=self._settings.sample_share):
            return
        n_records = self._affordable(chunk.n_records)
        if not n_records:
            self._n_left_out += 1
            return
        head = chunk.head(n_records)
        started_s = time.thread_time()
        try:
            pairs = self._comparison.add(
                head, verdict, champion_cpu_s=cpu_s * head.n_records / chunk.n_records
            )
            self.candidate_scores.add(pairs.candidate_P)
        except Exception:  # noqa: BLE001  whatever is wrong with the candidate, the champion goes on
            self._failed(f"scoring {chunk.topic}/{chunk.partition} from {chunk.offsets[0]}")
            self._comparison.add_failed(head, verdict)
        spent_s = self._spend(started_s)
        self._cost_s = self._cost_s * _FORGETS + spent_s
        self._cost_records = self._cost_records * _FORGETS + head.n_records

    def take_report(self, now: datetime) -> ShadowReport | None:
        """Return what was seen since the last report, and begin anew; None when no chunk was drawn.

        Blocks for 0.1 ms for each example; that time counts as the candidate's.

        Parameters
        ----------
        now : datetime
            End of the interval, aware.
        """
        comparison, n_left_out, since = self._comparison, self._n_left_out, self._since
        self._since = now
        if not comparison.n_chunks and not n_left_out:
            return None
        self._comparison, self._n_left_out = self._fresh(), 0
        started_s = time.thread_time()
        try:
            report = comparison.report(since=since, until=now, chunks_left_out=n_left_out)
        except Exception:  # noqa: BLE001  the same; the counts are worth having without examples
            self._failed("explaining examples")
            report = comparison.report(
                since=since, until=now, chunks_left_out=n_left_out, with_examples=False
            )
        self._spend(started_s)
        return report

    def _fresh(self) -> Comparison:
        return Comparison(
            self.champion, self.candidate, max_examples=self._settings.examples, seed=self._seed
        )

    def _earn(self, seconds: float) -> None:
        self._credit_s = min(self._credit_s + seconds, CREDIT_MAX_S)

    def _spend(self, started_s: float) -> float:
        spent_s = time.thread_time() - started_s
        self.candidate_cpu_s += spent_s
        self._credit_s -= spent_s
        return spent_s

    def _affordable(self, n_records: int) -> int:
        """Return how many records of a chunk there is time for; 0 when it is not worth it."""
        if not self._cost_records:
            return min(n_records, HEAD_RECORDS)
        a_record_s = max(self._cost_s / self._cost_records, 1e-9)
        wanted = min(n_records, max(1, int(PIECE_MAX_S / a_record_s)))
        affordable = int(max(self._credit_s, 0.0) / a_record_s)
        return min(wanted, affordable) if affordable >= min(wanted, HEAD_RECORDS) else 0

    def _failed(self, doing: str) -> None:
        self.failures += 1
        if self.failures == 1:
            _log.exception("candidate version %s failed %s", self.candidate.model.version, doing)


def is_drawn(chunk: Chunk, *, share: float) -> bool:
    """Return whether a chunk belongs to a share of all chunks; depends only on where it begins.

    Parameters
    ----------
    chunk : Chunk
        With at least one record.
    share : float
        In (0, 1]; 1 draws every chunk.
    """
    place = f"{chunk.topic}|{chunk.partition}|{chunk.offsets[0]}"
    digest = hashlib.blake2b(place.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64
