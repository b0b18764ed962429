"""Bytes of a chunk in, a verdict out: decode, transform, encode, measure, decide, explain.

Knows neither Faust nor Kafka, waits for nothing, and keeps nothing between two chunks, so it runs
the same in the worker's scoring thread, in ``anoean score`` and in a notebook. `Pipeline.measure` is the part
of it that costs every record the same: no alerts, no dead letters.

Letters: B records of a chunk, G good ones, A anomalies, E records to explain.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from anoean_stream.detector.bundle import Bundle, ServedModel
from anoean_stream.detector.explain import Contribution, explain
from anoean_stream.detector.threshold import ThresholdChoice, work_out
from anoean_stream.errors import IntegrityError
from anoean_stream.features.batch import Indices, RawBatch
from anoean_stream.features.contract import FeatureContract
from anoean_stream.records.alert import AlertWriter, FeatureShift, Finding, Model
from anoean_stream.records.bounds import short_text
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.deadletter import dead_letter
from anoean_stream.records.decode import JsonDecoder, Rejected
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.settings import AlertSettings, ScoringSettings


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a model says of a chunk, before anything is made of it.

    Parameters
    ----------
    rows_G : ndarray of intp, shape (G,)
        Place of each scored record in the chunk, increasing.
    distances_G : ndarray of float64, shape (G,)
        Scores; higher is more anomalous.
    p_values_G : ndarray of float64, shape (G,)
        Conformal p-values, (0, 1].
    anomalous_G : ndarray of bool, shape (G,)
        Above the threshold.
    n_missing : int
        Values of the contract's fields that were missing and imputed, over the chunk.
    rejected : tuple of Rejected
        Records that could not be scored.
    raw : RawBatch
        The G scored records in their own units.
    """

    rows_G: NDArray[np.intp]
    distances_G: NDArray[np.float64]
    p_values_G: NDArray[np.float64]
    anomalous_G: NDArray[np.bool_]
    n_missing: int
    rejected: tuple[Rejected, ...]
    raw: RawBatch


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a chunk: every record is in `rows_G` or in `rejected`, once.

    Parameters
    ----------
    chunk : Chunk
        What was judged.
    model : ServedModel
        Which model judged all of it.
    rows_G : ndarray of intp, shape (G,)
        Place of each scored record in the chunk.
    distances_G : ndarray of float64, shape (G,)
        Scores; higher is more anomalous.
    p_values_G : ndarray of float64, shape (G,)
        Conformal p-values, (0, 1].
    anomalous_G : ndarray of bool, shape (G,)
        Above the threshold.
    threshold : float
        Distance above which a record is anomalous; -inf when every record is to alert.
    n_missing : int
        Values of the contract's fields that were missing and imputed, over the chunk.
    rejected : tuple of Rejected
        Records that could not be scored.
    alerts, dead_letters : tuple of OutRecord
        To be delivered before the chunk is acknowledged; notices stand among the alerts.
    n_sampled_out : int
        Records of the fetched chunk that were dropped before it was judged (``overload.policy``).
    n_notices : int
        Notices among the alerts.
    """

    chunk: Chunk
    model: ServedModel
    rows_G: NDArray[np.intp]
    distances_G: NDArray[np.float64]
    p_values_G: NDArray[np.float64]
    anomalous_G: NDArray[np.bool_]
    threshold: float
    n_missing: int
    rejected: tuple[Rejected, ...]
    alerts: tuple[OutRecord, ...]
    dead_letters: tuple[OutRecord, ...]
    n_sampled_out: int = 0
    n_notices: int = 0

    @property
    def n_records(self) -> int:
        """Records of the fetched chunk: scored, rejected and sampled out ones together."""
        return self.chunk.n_records + self.n_sampled_out

    def beside(self, notices: tuple[OutRecord, ...], *, n_sampled_out: int) -> "Verdict":
        """Return the verdict with notices before its alerts, and a count of what was not judged."""
        if not notices and not n_sampled_out:
            return self
        return replace(
            self,
            alerts=(*notices, *self.alerts),
            n_notices=len(notices),
            n_sampled_out=n_sampled_out,
        )

    @property
    def n_scored(self) -> int:
        """Records that have a score."""
        return len(self.rows_G)

    @property
    def rejected_by_reason(self) -> Counter[str]:
        """Rejected records by reason."""
        return Counter(rejected.reason for rejected in self.rejected)


class Pipeline:
    """One model, ready to judge chunks.

    Parameters
    ----------
    model : ServedModel
        The model; its feature contract decides which fields are read.
    scoring : ScoringSettings
        False-positive rate (None: the model's own) and the largest record.
    alerts : AlertSettings
        Depth of the explanation, size of the original.
    worker_id : str
        Name written into alerts and dead letters.
    choice : ThresholdChoice, optional
        Of the registry; stronger than the settings.

    Raises
    ------
    ConfigError
        When the model's validation normals are too few for the wanted false-positive rate.
    """

    def __init__(
        self,
        model: ServedModel,
        *,
        scoring: ScoringSettings,
        alerts: AlertSettings,
        worker_id: str,
        choice: ThresholdChoice | None = None,
    ) -> None:
        self.model = model
        self._detector = model.bundle.detector
        self._decoder = JsonDecoder(
            self._detector.contract, max_record_bytes=scoring.max_record_bytes
        )
        self.chosen = work_out(
            choice,
            version=model.version,
            calibration=self._detector.calibration,
            model_rate=model.bundle.manifest.false_positive_rate,
            model_threshold=model.bundle.manifest.threshold,
            settings_rate=scoring.false_positive_rate,
        )
        self.threshold = self.chosen.distance
        self._top_features = alerts.top_features
        self._worker_id = worker_id
        self._alert_writer = AlertWriter(
            Model(
                name=model.name,
                version=model.version,
                sha256=model.bundle.sha256,
                feature_contract_sha256=model.bundle.manifest.contract_id,
                trained_at=model.bundle.manifest.created_at,
            ),
            threshold=self.threshold,
            worker_id=worker_id,
            original_max_bytes=alerts.original_max_bytes,
        )

    @property
    def shown_threshold(self) -> float:
        """The threshold as JSON, metrics and people have it: 0, not -inf, when every record alerts."""
        return max(self.threshold, 0.0)

    def score_chunk(self, chunk: Chunk) -> Verdict:
        """Judge every record of a chunk.

        Blocking and CPU-bound: 2,000 records of 41 fields take about 10 ms. Never raises for a bad
        record; an exception here is a bug and ends the process.
        """
        measured = self.measure(chunk)
        return Verdict(
            chunk=chunk,
            model=self.model,
            rows_G=measured.rows_G,
            distances_G=measured.distances_G,
            p_values_G=measured.p_values_G,
            anomalous_G=measured.anomalous_G,
            threshold=self.threshold,
            n_missing=measured.n_missing,
            rejected=measured.rejected,
            alerts=self._alerts(chunk, measured),
            dead_letters=self._dead_letters(chunk, measured.rejected),
        )

    def measure(self, chunk: Chunk) -> Measurement:
        """Score every record of a chunk and decide, and make nothing of it.

        Blocking, CPU-bound and pure. Never raises for a bad record; an exception here is a bug.
        """
        decoded = self._decoder.decode(chunk.values)
        features = self._detector.contract.transform(decoded.raw)
        scores = self._detector.score(features)
        return Measurement(
            rows_G=decoded.rows_G,
            distances_G=scores.distance_B,
            p_values_G=scores.p_value_B,
            anomalous_G=scores.distance_B > self.threshold,
            n_missing=int(features.n_missing_B.sum()),
            rejected=decoded.rejected,
            raw=decoded.raw,
        )

    def explain(
        self, measurement: Measurement, places_E: Indices, *, top: int | None = None
    ) -> list[tuple[FeatureShift, ...]]:
        """Return what moved the scores of E records, for each the largest contribution first.

        About 50 us a record of 41 fields: meant for a few of them.

        Parameters
        ----------
        measurement : Measurement
            By this pipeline.
        places_E : indices
            Which of its G scored records.
        top : int, optional
            Most features for each; that of the settings if left out.
        """
        explanations = explain(
            self._detector,
            measurement.raw.take(places_E),
            top=self._top_features if top is None else top,
        )
        return [
            tuple(_shift(contribution) for contribution in contributions)
            for contributions in explanations
        ]

    def _alerts(self, chunk: Chunk, measured: Measurement) -> tuple[OutRecord, ...]:
        places_A = np.flatnonzero(measured.anomalous_G)
        if not len(places_A):
            return ()
        explanations = self.explain(measured, places_A)
        detected_at = datetime.now(tz=UTC)
        return tuple(
            self._alert_writer.write(
                chunk,
                Finding(index=row, distance=distance, p_value=p_value, explanation=explanation),
                detected_at=detected_at,
            )
            for row, distance, p_value, explanation in zip(
                measured.rows_G[places_A].tolist(),
                measured.distances_G[places_A].tolist(),
                measured.p_values_G[places_A].tolist(),
                explanations,
                strict=True,
            )
        )

    def _dead_letters(self, chunk: Chunk, rejected: Sequence[Rejected]) -> tuple[OutRecord, ...]:
        return tuple(
            dead_letter(
                chunk,
                record.index,
                reason=record.reason,
                detail=record.detail,
                worker_id=self._worker_id,
                model_version=self.model.version,
            )
            for record in rejected
        )


def _shift(contribution: Contribution) -> FeatureShift:
    return FeatureShift(
        feature=short_text(contribution.feature),
        value=_short(contribution.value),
        normal_p5=contribution.normal_p5,
        normal_p50=_short(contribution.normal_p50),
        normal_p95=contribution.normal_p95,
        contribution=contribution.contribution,
    )


def _short(value: float | str | None) -> float | str | None:
    return short_text(value) if isinstance(value, str) else value


def decode_golden(contract: FeatureContract, values: Sequence[bytes]) -> RawBatch:
    """Decode the golden records of a bundle exactly as the worker decodes traffic.

    Raises
    ------
    IntegrityError
        When a golden record cannot be decoded.
    """
    decoded = JsonDecoder(contract).decode(values)
    if decoded.rejected:
        first = decoded.rejected[0]
        message = (
            f"golden record {first.index} cannot be decoded ({first.reason}: {first.detail}); "
            f"export the model again"
        )
        raise IntegrityError(message, file="golden.json")
    return decoded.raw


def verify_bundle(bundle: Bundle) -> None:
    """Prove that this process computes what the trainer computed, bytes to scores.

    Raises
    ------
    IntegrityError
        When a golden score differs, or is not finite.
    """
    contract = bundle.detector.contract
    bundle.verify(lambda values: decode_golden(contract, values))
