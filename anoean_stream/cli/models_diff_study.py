"""What ``anoean models diff`` finds out while it replays, and the document that is made of it.

Letters: B records of a chunk, P those that both scored, S pairs in the sample, N chunks that were
timed.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from anoean_stream import __version__
from anoean_stream.cli.models_diff_figures import cells, decades, distribution, overlap
from anoean_stream.compare.comparison import Comparison, Pairs, timed_measure
from anoean_stream.compare.sample import PairSample
from anoean_stream.compare.timeline import Timeline
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.shadowreport import Disagreement
from anoean_stream.records.times import rfc3339

_SAMPLE_PAIRS: Final = 200_000
"""Pairs of scores that are kept for the scatter, the correlation and the overlap: 10 MB at the most. Inputs with no
more are drawn exactly."""

_SEED: Final = 5
"""Of the sample: the same input gives the same report."""

_TIME_BIN_MS: Final = 10

_TIMED_CHUNKS: Final = 1000
"""Chunks behind the time of a record: the median of them, as a busy machine slows some."""

_FEWEST_CHUNKS: Final = 8
"""Chunks below which nothing is said about time."""

_KEPT_EXAMPLES: Final = 200
"""Flows of each kind of disagreement that are kept, to show one of each sort: below 50 a burst of one
sort hides the others; each may hold 64 KiB."""

_SORT_FIELDS: Final = ("proto", "app_proto", "dst_port", "tcp_flags")
_SORT_FEATURES: Final = 2


class Study:
    """Replays chunks through two models; bounded memory, not thread-safe.

    Parameters
    ----------
    first, second : Pipeline
        A and B.
    max_examples : int
        Sorts of flows that are shown of each kind of disagreement.
    """

    def __init__(self, first: Pipeline, second: Pipeline, *, max_examples: int) -> None:
        self.first, self.second = first, second
        self.comparison = Comparison(
            first,
            second,
            max_examples=_KEPT_EXAMPLES if max_examples else 0,
            seed=_SEED,
            sample_pairs=_SAMPLE_PAIRS,
        )
        self._max_examples = max_examples
        self._times_us = PairSample(_TIMED_CHUNKS, seed=_SEED)
        self.n_records = 0
        self._n_chunks = 0
        self._rejected: Counter[str] = Counter()
        self._timeline: Timeline | None = None
        self._unit = ""
        self._times_ms: tuple[int, int] | None = None
        self._began = datetime.now(tz=UTC)

    def add(self, chunk: Chunk) -> None:
        """Let both models score a chunk."""
        if not self._n_chunks:
            # The first call of all is slow, and would be charged to one of the two.
            timed_measure(self.first, chunk)
            timed_measure(self.second, chunk)
        # Who comes second finds the records in the processor's cache: they take turns.
        if self._n_chunks % 2:
            candidate, candidate_cpu_s = timed_measure(self.second, chunk)
            champion, champion_cpu_s = timed_measure(self.first, chunk)
        else:
            champion, champion_cpu_s = timed_measure(self.first, chunk)
            candidate, candidate_cpu_s = timed_measure(self.second, chunk)
        a_record_us = 1e6 / max(chunk.n_records, 1)
        self._times_us.add(
            np.array([champion_cpu_s * a_record_us]), np.array([candidate_cpu_s * a_record_us])
        )
        self._n_chunks += 1
        self.n_records += chunk.n_records
        self._rejected.update(rejected.reason for rejected in champion.rejected)
        pairs = self.comparison.add_measured(
            chunk,
            champion,
            candidate,
            champion_cpu_s=champion_cpu_s,
            candidate_cpu_s=candidate_cpu_s,
        )
        self._place(chunk, pairs)

    def document(self) -> dict[str, Any]:
        """Return all figures and everything that is plotted, as JSON values."""
        report = self.comparison.report(since=self._began, until=datetime.now(tz=UTC))
        first_S, second_S = self.comparison.sample.pairs()
        champion_N, candidate_N = self._times_us.pairs()
        return {
            "anoean": __version__,
            "a": _described(self.first),
            "b": _described(self.second),
            **report.to_detail(),
            "champion_us": float(np.median(champion_N)),
            "candidate_us": float(np.median(candidate_N)),
            "time_ratio": _time_ratio(champion_N, candidate_N),
            "examples": _one_of_each_sort(report.examples, most=self._max_examples),
            "records_read": self.n_records,
            "champion_dead": self.comparison.champion_dead,
            "champion_rejected": dict(sorted(self._rejected.items())),
            "record_times": self._record_times(),
            "plots": {
                "alert_rate": self._alert_rate(),
                "scores": {
                    "champion": distribution(self.comparison.champion_scores, self.first.threshold),
                    "candidate": distribution(
                        self.comparison.candidate_scores, self.second.threshold
                    ),
                },
                "scatter": cells(
                    decades(first_S, self.first.threshold),
                    decades(second_S, self.second.threshold),
                ),
                "overlap": overlap(first_S, second_S),
                "sampled_pairs": len(first_S),
            },
        }

    def _place(self, chunk: Chunk, pairs: Pairs) -> None:
        times_B = np.asarray(chunk.timestamps_ms, dtype=np.int64)
        if self._timeline is None:
            has_times = bool((times_B >= 0).all())
            self._unit = "ms" if has_times else "row"
            self._timeline = Timeline(width=_TIME_BIN_MS if has_times else 1)
        if self._unit == "row":
            positions = np.asarray(chunk.offsets, dtype=np.int64)[pairs.rows_P]
            known_P = np.ones(len(positions), dtype=np.bool_)
        else:
            positions = times_B[pairs.rows_P]
            known_P = positions >= 0
            if known_P.any():
                low, high = int(positions[known_P].min()), int(positions[known_P].max())
                seen = self._times_ms or (low, high)
                self._times_ms = min(seen[0], low), max(seen[1], high)
        self._timeline.add(
            positions[known_P], pairs.champion_alerts_P[known_P], pairs.candidate_alerts_P[known_P]
        )

    def _record_times(self) -> list[str] | None:
        return self._times_ms and [_time_text(one) for one in self._times_ms]

    def _alert_rate(self) -> dict[str, Any]:
        assert self._timeline is not None  # something was added
        held = self._timeline.stretch()
        return {
            "unit": self._unit,
            "width": held.width,
            "begins": held.begins_T.tolist(),
            "records": held.records_T.tolist(),
            "champion_alerts": held.champion_T.tolist(),
            "candidate_alerts": held.candidate_T.tolist(),
            "both_alerts": held.both_T.tolist(),
        }


def _described(pipeline: Pipeline) -> dict[str, Any]:
    manifest = pipeline.model.bundle.manifest
    return {
        "model": pipeline.model.name,
        "version": pipeline.model.version,
        "sha256": pipeline.model.bundle.sha256,
        "trained_at": manifest.created_at,
        "contract": manifest.contract_id,
        "threshold": pipeline.shown_threshold,
        "threshold_from": pipeline.chosen.source,
    }


def _time_ratio(
    champion_N: NDArray[np.float64], candidate_N: NDArray[np.float64]
) -> list[float] | None:
    """Return the quartiles of B's time over A's, chunk by chunk; None when there are too few.

    Both score a chunk right after each other, so a busy machine slows both.
    """
    if len(champion_N) < _FEWEST_CHUNKS or not champion_N.all():
        return None
    quartiles: list[float] = np.quantile(candidate_N / champion_N, (0.25, 0.5, 0.75)).tolist()
    return quartiles


def _one_of_each_sort(examples: Sequence[Disagreement], *, most: int) -> list[dict[str, Any]]:
    """Return the largest disagreement of each sort, and how many others there are like it.

    Of one sort are flows with the same protocol, service, port and flags for which the model that
    alerts names the same features first.
    """
    sorts: dict[tuple[object, ...], list[Disagreement]] = {}
    for example in examples:
        alerting = example.champion if example.kind == "only_champion" else example.candidate
        features = sorted(shift.feature for shift in alerting.explanation[:_SORT_FEATURES])
        sort = example.kind, *(example.flow.get(name) for name in _SORT_FIELDS), *features
        sorts.setdefault(sort, []).append(example)
    shown: list[dict[str, Any]] = []
    n_of_kind: Counter[str] = Counter()
    for alike in sorts.values():  # in the order of their largest
        kind = alike[0].kind
        if n_of_kind[kind] < most:
            n_of_kind[kind] += 1
            shown.append(msgspec.to_builtins(alike[0]) | {"like_it": len(alike) - 1})
    return shown


def _time_text(milliseconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms"  # the producer chose it, up to the year 292 million
    return rfc3339(moment)
