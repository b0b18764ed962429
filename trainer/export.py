"""A trained encoder as a bundle, with the proof that worker and trainer compute the same.

Letters: N validation rows, Z latent dimensions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.detector.bundle import Golden, write_bundle
from anoean_stream.detector.calibration import Calibration, fit_gaussian
from anoean_stream.detector.detector import Detector, norm
from anoean_stream.detector.encoder import Encoder as NumpyEncoder
from anoean_stream.detector.manifest import Decode, Manifest
from anoean_stream.errors import TrainingError
from anoean_stream.features.batch import RawBatch
from anoean_stream.features.contract import FeatureContract
from anoean_stream.records.decode import JsonDecoder
from anoean_stream.records.files import row_to_json
from trainer.anoean import encode
from trainer.batches import LabelledRows
from trainer.datasets.table import LabelledTable
from trainer.networks import Encoder

GOLDEN_ROWS: Final = 64
"""Records in the golden batch: enough to meet every layer and category, milliseconds to check."""

_AGREEMENT: Final = 1e-4
"""Largest difference of a latent coordinate between torch and numpy, relative above 1: float32 in
two libraries differs by some 1e-6. In (1e-6, 1e-2)."""


def make_detector(
    encoder: Encoder, contract: FeatureContract, *, validation: LabelledRows
) -> Detector:
    """Return the worker's detector for a trained encoder.

    mu, Sigma and the calibration come from the validation normals alone.

    Parameters
    ----------
    encoder : Encoder
        Trained.
    contract : FeatureContract
        What it was trained with.
    validation : LabelledRows
        Rows that were not trained on.

    Raises
    ------
    TrainingError
        When latent coordinates are not finite, the encoder has collapsed, or torch and numpy do not
        agree on them.
    """
    torch_latents_NZ = encode(encoder, validation)
    exported = NumpyEncoder.from_tensors(encoder.to_tensors(), contract)
    numpy_latents_NZ = exported.forward(validation.features)
    _require_agreement(torch_latents_NZ, numpy_latents_NZ)
    normal_N = ~validation.is_anomaly_N
    try:
        mu_Z, cov_ZZ = fit_gaussian(numpy_latents_NZ[normal_N])
    except ValueError as error:
        raise TrainingError(str(error)) from error
    whitened = exported.whitened(mu_Z, cov_ZZ)
    distances = norm(whitened.forward(validation.normals))
    return Detector(contract=contract, encoder=whitened, calibration=Calibration.fit(distances))


def golden_records(
    table: LabelledTable,
    contract: FeatureContract,
    *,
    rows: NDArray[np.intp],
    seed: int,
    n_records: int = GOLDEN_ROWS,
) -> list[str]:
    """Return real records as JSON with the contract's fields only, a quarter of them anomalies.

    Parameters
    ----------
    table : LabelledTable
        The table that was trained on.
    contract : FeatureContract
        Names the fields.
    rows : ndarray of intp
        Validation rows.
    seed : int
        Of the draw.
    n_records : int
        Records wanted; fewer when there are fewer rows.
    """
    rng = np.random.default_rng(seed)
    anomalies = rng.permutation(rows[table.is_anomaly_N[rows]])[: max(1, n_records // 4)]
    normals = rng.permutation(rows[~table.is_anomaly_N[rows]])[: n_records - len(anomalies)]
    fields = contract.field_names
    records = []
    for row in np.concatenate([normals, anomalies]).tolist():
        record = table.row(row)
        records.append(row_to_json({name: record[name] for name in fields}).decode())
    return records


def json_decode(contract: FeatureContract) -> Decode:
    """Return the worker's own decoder, as the golden batch wants it."""
    decoder = JsonDecoder(contract)

    def decode(values: Sequence[bytes]) -> RawBatch:
        return decoder.decode(values).raw

    return decode


def export_bundle(
    folder: Path,
    *,
    name: str,
    detector: Detector,
    records: Sequence[str],
    training: Mapping[str, Any],
    metrics: Mapping[str, float],
    false_positive_rate: float,
) -> Manifest:
    """Write a bundle whose golden scores are those of the numpy detector on JSON records.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    name : str
        Model.
    detector : Detector
        From `make_detector`.
    records : sequence of str
        From `golden_records`.
    training, metrics : mapping
        For the manifest.
    false_positive_rate : float
        In (0, 1); the calibration must be able to vouch for it.

    Raises
    ------
    TrainingError
        When the decoder refuses a golden record: the contract does not fit its own rows.
    """
    golden = Golden.compute(detector, records, decode=json_decode(detector.contract))
    if len(golden.scores) != len(records):
        message = f"{len(golden.scores)} of {len(records)} golden records could be decoded"
        raise TrainingError(message)
    return write_bundle(
        folder,
        name=name,
        detector=detector,
        golden=golden,
        training=training,
        metrics=metrics,
        false_positive_rate=false_positive_rate,
    )


def _require_agreement(torch_NZ: NDArray[np.float32], numpy_NZ: NDArray[np.float32]) -> None:
    difference_NZ = np.abs(torch_NZ - numpy_NZ) / np.maximum(1.0, np.abs(torch_NZ))
    worst = float(difference_NZ.max(initial=0.0))
    if not worst <= _AGREEMENT:
        message = (
            f"torch and numpy differ by {worst:.3g} in a latent coordinate, expected at most "
            f"{_AGREEMENT:g}: the export is wrong; please report this"
        )
        raise TrainingError(message)
