"""What makes a record stand out: how far it moves when one field is set back to normal.

Letters: A alerts, B rows, F fields, D dense inputs, H units of the first layer, V = F + 1 variants
of a record: one for each field set back, and the record itself.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.detector.detector import Detector, norm
from anoean_stream.features.batch import FeatureBatch, RawBatch
from anoean_stream.features.contract import FeatureContract
from anoean_stream.features.values import to_category

_VARIANT_ROWS: Final = 4096
"""Variants computed at once: 2 MB of float32 at 128 units. At least 1."""

_VARIANT_VALUES: Final = 2**23
"""Values of a layer computed at once, 32 MB: fewer variants when layers are very wide."""

_NOISE: Final = 1e-5
"""Contributions below this share of the distance are rounding, not findings; in (0, 1)."""

_LOW, _HIGH = 0.05, 0.95


@dataclass(frozen=True, slots=True)
class Contribution:
    """One field's part in an alert.

    Parameters
    ----------
    feature : str
        Name of the field.
    value : float, str or None
        What the record had, in its own unit; None is missing.
    normal_p5, normal_p50, normal_p95 : float, str or None
        Percentiles of normal training records. A category has its commonest word as `normal_p50`
        and no others.
    contribution : float
        By how much the distance shrinks when the field is set back to `normal_p50`; above 0.
    """

    feature: str
    value: float | str | None
    normal_p5: float | None
    normal_p50: float | str | None
    normal_p95: float | None
    contribution: float


def explain(detector: Detector, raw: RawBatch, *, top: int) -> list[list[Contribution]]:
    """Return the fields behind the distance of A records, the largest contribution first.

    One field moves the first layer by a term of rank one, so the first layer is computed once for a
    record and only the later ones for each field: about 50 us a record of 41 fields. Meant for
    alerts, not for every record. Pure and safe to call from several threads.

    Contributions are taken one at a time and need not add up to the distance: of two fields that
    say the same, each alone may explain little.

    Parameters
    ----------
    detector : Detector
        The model that scored the records.
    raw : RawBatch
        A records.
    top : int
        Most fields for each record; fewer are returned when fewer move the distance.
    """
    if top <= 0 or raw.n_rows == 0:
        return [[] for _ in range(raw.n_rows)]
    features = detector.contract.transform(raw)
    n_variants = min(_VARIANT_ROWS, _VARIANT_VALUES // detector.encoder.widest)
    n_block = max(1, n_variants // (len(detector.contract.field_names) + 1))
    explanations: list[list[Contribution]] = []
    for start in range(0, raw.n_rows, n_block):
        indices = np.arange(start, min(start + n_block, raw.n_rows))
        gain_AF = _gains(detector, features.take(indices))
        for row, gain_F in zip(indices.tolist(), gain_AF, strict=True):
            strongest = np.argsort(-gain_F, kind="stable")[:top]
            explanations.append(
                [
                    _contribution(detector.contract, raw, row=row, field=field, gain=gain_F[field])
                    for field in strongest.tolist()
                    if gain_F[field] > 0
                ]
            )
    return explanations


def _gains(detector: Detector, features: FeatureBatch) -> NDArray[np.float64]:
    """Return how much nearer each record comes when each field is set back, shape (A, F)."""
    contract, encoder = detector.contract, detector.encoder
    dense_AD, codes_AC = features.dense_BD, features.codes_BC
    first_AH = encoder.first_layer(dense_AD, codes_AC)
    n_alerts, n_units = first_AH.shape
    n_columns, n_fields = len(contract.number_names), len(contract.field_names)
    # The record itself comes last: computed beside its variants, it is rounded as they are.
    first_AVH = np.repeat(first_AH[:, np.newaxis], n_fields + 1, axis=1)
    delta_AN = contract.neutral_N - dense_AD[:, :n_columns]
    first_AVH[:, :n_columns] += delta_AN[:, :, np.newaxis] * encoder.dense_DH[:n_columns]
    for mark, column in enumerate(contract.indicator_columns.tolist(), start=n_columns):
        first_AVH[:, column] -= dense_AD[:, mark, np.newaxis] * encoder.dense_DH[mark]
    for index, field in enumerate(contract.categories):
        weight_KH = encoder.categories[index]
        delta_AH = weight_KH[field.normal_code] - weight_KH[codes_AC[:, index]]
        first_AVH[:, n_columns + index] += delta_AH
    latents = encoder.later_layers(first_AVH.reshape(-1, n_units))
    distance_AV = norm(latents).reshape(n_alerts, n_fields + 1)
    gain_AF = distance_AV[:, -1:] - distance_AV[:, :-1]
    gain_AF[gain_AF <= _NOISE * np.maximum(distance_AV[:, -1:], 1.0)] = 0.0
    return gain_AF


def _contribution(
    contract: FeatureContract, raw: RawBatch, *, row: int, field: int, gain: float
) -> Contribution:
    """Return what an alert says about one field."""
    n_numbers, n_columns = len(contract.numbers), len(contract.number_names)
    name = contract.field_names[field]
    value: float | str | None
    if field >= n_columns:
        value = to_category(raw.categories[field - n_columns][row])
        mode = contract.categories[field - n_columns].normal_mode
        return Contribution(name, value, None, mode, None, float(gain))
    cell = float(raw.numbers_BN[row, field])
    value = None if np.isnan(cell) else cell
    if field >= n_numbers:
        flag = contract.flags[field - n_numbers]
        p5, p95 = float(flag.rate > _HIGH), float(flag.rate > _LOW)
        return Contribution(name, value, p5, flag.mode, p95, float(gain))
    number = contract.numbers[field]
    return Contribution(name, value, number.p5, number.median, number.p95, float(gain))
