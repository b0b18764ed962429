"""The offline rules: candidate and champion on the labelled records of the model's evaluation set.

Both are scored by the worker's pipeline, each at the false-positive rate at which it would serve. A
record that a version cannot decode would be a dead letter and no alert: it counts as scored lowest.

Letters: N records of the set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.gate.bootstrap import Interval, measure_once, paired_differences
from anoean_stream.gate.figures import Ranking
from anoean_stream.gate.rules import RuleResult
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.decode import Rejected
from anoean_stream.registry.evaluation import EvaluationSet
from anoean_stream.settings import GateSettings

_CHUNK_RECORDS: Final = 2000
"""Records scored at once; as many as a worker's chunk has."""

_SHOWN: Final = 3
"""Undecodable records that a sentence names."""


@dataclass(frozen=True, slots=True)
class Scored:
    """An evaluation set, scored by one version.

    Parameters
    ----------
    version : str
        Which.
    budget : float
        Share of normals above the threshold with which it would serve, in (0, 1].
    scores_N : ndarray of float64, shape (N,)
        Higher is more anomalous; minus infinity where the record could not be decoded.
    undecoded : tuple of Rejected
        Those records, with their place in the set, from 0.
    """

    version: str
    budget: float
    scores_N: NDArray[np.float64]
    undecoded: tuple[Rejected, ...]

    @property
    def n_not_finite(self) -> int:
        """Scores that are no finite number, of records that could be decoded."""
        return int((~np.isfinite(self.scores_N)).sum()) - len(self.undecoded)


def score_set(pipeline: Pipeline, evaluation: EvaluationSet) -> Scored:
    """Score an evaluation set; blocking and CPU-bound, 10 ms for 2,000 records."""
    scores_N = np.full(len(evaluation.values), -np.inf)
    undecoded: list[Rejected] = []
    for first in range(0, len(scores_N), _CHUNK_RECORDS):
        values = evaluation.values[first : first + _CHUNK_RECORDS]
        verdict = pipeline.score_chunk(
            Chunk(
                topic="evaluation",
                partition=0,
                values=values,
                keys=(None,) * len(values),
                offsets=range(first, first + len(values)),
                timestamps_ms=(-1,) * len(values),
            )
        )
        scores_N[first + verdict.rows_G] = verdict.distances_G
        undecoded.extend(
            Rejected(first + one.index, one.reason, one.detail) for one in verdict.rejected
        )
    return Scored(pipeline.model.version, pipeline.chosen.budget, scores_N, tuple(undecoded))


def no_evaluation_set(name: str) -> RuleResult:
    """Return the broken rule of a model that has no evaluation set."""
    return RuleResult(
        rule="evaluation_set",
        setting="gate.offline",
        value=0,
        bound=1,
        bound_is="at least",
        passed=False,
        sentence="the model has no evaluation set",
        next_step=(
            f"give it labelled records with `anoean models evaluation set {name} FILE "
            "--label-column NAME --normal-value VALUE`, or set gate.offline=false"
        ),
    )


def offline_rules(
    evaluation: EvaluationSet, *, candidate: Pipeline, champion: Pipeline, gate: GateSettings
) -> list[RuleResult]:
    """Return what the evaluation set says; blocks for seconds.

    Parameters
    ----------
    evaluation : EvaluationSet
        The labelled records.
    candidate, champion : Pipeline
        Each as a worker would run it.
    gate : GateSettings
        The bounds.
    """
    labels = enough_labels(evaluation, gate=gate)
    if not labels.passed:
        return [labels]
    scored = [score_set(pipeline, evaluation) for pipeline in (candidate, champion)]
    return [labels, *compare(scored[0], scored[1], evaluation.is_anomaly_N, gate=gate)]


def enough_labels(evaluation: EvaluationSet, *, gate: GateSettings) -> RuleResult:
    """Return whether the set has enough of both classes to tell anything."""
    n_anomalies = int(evaluation.is_anomaly_N.sum())
    n_normals = len(evaluation.is_anomaly_N) - n_anomalies
    passed = min(n_anomalies, n_normals) >= gate.min_anomalies
    return RuleResult(
        rule="min_anomalies",
        setting="gate.min_anomalies",
        value=min(n_anomalies, n_normals),
        bound=gate.min_anomalies,
        bound_is="at least",
        passed=passed,
        sentence=(
            f"evaluation set {evaluation.info.number} has {n_anomalies:,} anomalies and "
            f"{n_normals:,} normals"
        ),
        next_step="" if passed else "set a larger one with `anoean models evaluation set`",
        figures={
            "evaluation_set": evaluation.info.number,
            "sha256": evaluation.info.sha256,
            "anomalies": n_anomalies,
            "normals": n_normals,
        },
    )


def compare(
    candidate: Scored,
    champion: Scored,
    is_anomaly_N: NDArray[np.bool_],
    *,
    gate: GateSettings,
) -> list[RuleResult]:
    """Return whether the candidate is not worse than the champion, beyond what chance explains.

    Parameters
    ----------
    candidate, champion : Scored
        The same set, scored by each.
    is_anomaly_N : ndarray of bool, shape (N,)
        Its labels; both classes are there.
    gate : GateSettings
        Confidence and number of resamples.

    Returns
    -------
    list of RuleResult
        ``finite_scores``, and when it is kept ``aupr`` and ``recall``.
    """
    finite = _finite(candidate, champion)
    if not finite.passed:
        return [finite]
    n_normals = int((~is_anomaly_N).sum())
    # Fewer false alarms than one of these normals would be none at all: that is another question.
    budgets = (max(candidate.budget, 1 / n_normals), max(champion.budget, 1 / n_normals))
    rankings = [Ranking.of(one.scores_N, is_anomaly_N) for one in (candidate, champion)]
    aupr, recall = paired_differences(
        rankings[0],
        rankings[1],
        is_anomaly_N,
        budgets=budgets,
        n_samples=gate.bootstrap_samples,
        confidence=gate.confidence,
    )
    new = measure_once(rankings[0], budget=budgets[0])
    old = measure_once(rankings[1], budget=budgets[1])
    dead = _undecoded(candidate) + _undecoded(champion)
    at = f"at {budgets[0]:.3g} false positives" + (
        "" if budgets[0] == budgets[1] else f" (champion at {budgets[1]:.3g})"
    )
    return [
        finite,
        _not_worse("aupr", "AUPR", (new[0], old[0]), aupr, gate=gate, aside=dead),
        _not_worse(
            "recall", "recall", (new[1], old[1]), recall, gate=gate, aside=dead, at=f" {at}"
        ),
    ]


def _not_worse(
    rule: str,
    noun: str,
    values: tuple[float, float],
    difference: Interval,
    *,
    gate: GateSettings,
    aside: str,
    at: str = "",
) -> RuleResult:
    passed = difference.high >= 0
    verdict = "" if passed else ", all of it below 0"
    return RuleResult(
        rule=rule,
        setting="gate.confidence",
        value=difference.high,
        bound=0,
        bound_is="at least",
        passed=passed,
        sentence=(
            f"{noun} {values[0]:.4f}, champion's {values[1]:.4f}{at}: difference "
            f"{difference.value:+.4f}, {gate.confidence * 100:g} % interval {difference.low:+.4f} to "
            f"{difference.high:+.4f}{verdict}{aside}"
        ),
        next_step="" if passed else "train it again, or look at `anoean evaluate` of both",
        figures={
            "candidate": values[0],
            "champion": values[1],
            "difference": difference.value,
            "low": difference.low,
            "high": difference.high,
            "confidence": gate.confidence,
        },
    )


def _finite(candidate: Scored, champion: Scored) -> RuleResult:
    n_candidate, n_champion = candidate.n_not_finite, champion.n_not_finite
    n_bad = n_candidate + n_champion
    return RuleResult(
        rule="finite_scores",
        setting="gate.offline",
        value=n_bad,
        bound=0,
        bound_is="at most",
        passed=n_bad == 0,
        sentence=(
            f"every score of {len(candidate.scores_N):,} records is finite"
            if n_bad == 0
            else f"{n_candidate} scores of version {candidate.version} and {n_champion} of version "
            f"{champion.version} (champion) are not finite"
        ),
        next_step="" if n_bad == 0 else "train the version again that gives them",
    )


def _undecoded(scored: Scored) -> str:
    """Return what to say of the records that a version cannot decode; nothing without any."""
    if not scored.undecoded:
        return ""
    shown = ", ".join(_named(scored.undecoded[:_SHOWN]))
    more = ", ..." if len(scored.undecoded) > _SHOWN else ""
    return (
        f"; {len(scored.undecoded)} records that version {scored.version} cannot decode count as "
        f"scored lowest (record {shown}{more})"
    )


def _named(rejected: Sequence[Rejected]) -> list[str]:
    return [f"{one.index + 1}: {one.reason}" for one in rejected]
