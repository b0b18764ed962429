"""The encoder in numpy: the arithmetic, the folded distance, the refusals."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anoean_stream.detector.calibration import fit_gaussian
from anoean_stream.detector.detector import Detector, norm
from anoean_stream.detector.encoder import Encoder
from anoean_stream.features.batch import FeatureBatch
from anoean_stream.features.contract import CategoryField, FeatureContract
from tests.support.models import (
    attack_row,
    make_contract,
    make_detector,
    make_encoder,
    make_rows,
)

SHAPES: list[tuple[tuple[int, ...], int]] = [((16, 8), 4), ((32,), 3), ((), 5), ((128, 64, 32), 16)]


def features_of(contract: FeatureContract, *, n_rows: int = 300, seed: int = 5) -> FeatureBatch:
    rows = [*make_rows(n_rows - 1, seed=seed), attack_row()]
    return contract.transform(contract.raw_from_rows(rows))


def forward_plainly(encoder: Encoder, batch: FeatureBatch) -> NDArray[np.float64]:
    """One-hot categories, float64, no blocks."""
    inputs, weights = [batch.dense_BD.astype(np.float64)], [encoder.dense_DH]
    for index, weight_KH in enumerate(encoder.categories):
        inputs.append(np.eye(len(weight_KH))[batch.codes_BC[:, index]])
        weights.append(weight_KH)
    hidden = np.hstack(inputs) @ np.vstack(weights) + encoder.bias_H
    for layer in encoder.layers:
        hidden = np.where(hidden > 0, hidden, encoder.negative_slope * hidden)
        hidden = hidden @ layer.weight + layer.bias
    return np.asarray(hidden)


@pytest.mark.parametrize(("hidden", "latent_dim"), SHAPES)
def test_forward_equals_one_hot_and_plain_arithmetic(
    hidden: tuple[int, ...], latent_dim: int
) -> None:
    contract = make_contract()
    encoder = make_encoder(contract, hidden=hidden, latent_dim=latent_dim)
    batch = features_of(contract, n_rows=600)

    latents_BZ = encoder.forward(batch)

    assert latents_BZ.dtype == np.float32
    assert encoder.latent_dim == latent_dim
    np.testing.assert_allclose(latents_BZ, forward_plainly(encoder, batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("hidden", "latent_dim"), SHAPES)
def test_the_norm_after_whitening_is_the_mahalanobis_distance_of_the_textbook(
    hidden: tuple[int, ...], latent_dim: int
) -> None:
    contract = make_contract()
    encoder = make_encoder(contract, hidden=hidden, latent_dim=latent_dim)
    latents = forward_plainly(encoder, features_of(contract, n_rows=2000, seed=6))
    mu_Z, cov_ZZ = fit_gaussian(latents)
    batch = features_of(contract)

    distance_B = norm(encoder.whitened(mu_Z, cov_ZZ).forward(batch))

    away_BZ = forward_plainly(encoder, batch) - mu_Z
    textbook_B = np.sqrt(np.einsum("bi,ij,bj->b", away_BZ, np.linalg.inv(cov_ZZ), away_BZ))
    np.testing.assert_allclose(distance_B, textbook_B, rtol=1e-5, atol=1e-5)


def test_records_like_the_fitted_ones_are_one_unit_away_in_each_dimension() -> None:
    contract = make_contract()
    encoder = make_encoder(contract)
    batch = features_of(contract, n_rows=5000, seed=6)

    whitened_BZ = encoder.whitened(*fit_gaussian(encoder.forward(batch))).forward(batch)

    np.testing.assert_allclose(whitened_BZ.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(whitened_BZ.T), np.eye(4), atol=1e-4)


@settings(deadline=None)
@given(st.lists(st.integers(0, 599), min_size=1, max_size=600), st.integers(0, 3))
def test_a_score_does_not_depend_on_the_company_of_the_record(picked: list[int], seed: int) -> None:
    detector, batch = _detector_and_batch(seed)

    whole_B, part_B = detector.distances(batch), detector.distances(batch.take(picked))

    np.testing.assert_allclose(part_B, whole_B[picked], rtol=1e-5, atol=1e-5)


@cache
def _detector_and_batch(seed: int) -> tuple[Detector, FeatureBatch]:
    detector = make_detector(seed=seed, hidden=(128, 64, 32), latent_dim=16)
    return detector, features_of(detector.contract, n_rows=600)


def test_forward_leaves_its_argument_alone() -> None:
    contract = make_contract()
    batch = features_of(contract)
    before = batch.dense_BD.copy(), batch.codes_BC.copy()

    make_encoder(contract, hidden=()).forward(batch)

    np.testing.assert_array_equal(batch.dense_BD, before[0])
    np.testing.assert_array_equal(batch.codes_BC, before[1])


def test_an_empty_batch_has_no_latents() -> None:
    contract = make_contract()

    assert make_encoder(contract).forward(features_of(contract).take([])).shape == (0, 4)


def test_a_contract_of_categories_only_can_be_encoded() -> None:
    field = CategoryField("word", vocabulary=("a", "b"), normal_mode="a")
    contract = FeatureContract(categories=(field,))
    encoder = make_encoder(contract, hidden=(), latent_dim=2)

    rows: list[dict[str, object]] = [{"word": "b"}, {}]
    latents_BZ = encoder.forward(contract.transform(contract.raw_from_rows(rows)))

    np.testing.assert_allclose(latents_BZ, encoder.categories[0][[1, 3]] + encoder.bias_H)


def test_tensors_round_trip() -> None:
    contract = make_contract()
    encoder = make_encoder(contract)
    batch = features_of(contract)

    again = Encoder.from_tensors(encoder.to_tensors(), contract)

    np.testing.assert_array_equal(again.forward(batch), encoder.forward(batch))
    assert again.negative_slope == pytest.approx(0.1)


def test_the_slope_is_part_of_the_model_and_has_a_default() -> None:
    contract = make_contract()
    tensors = make_encoder(contract).to_tensors()

    steep = Encoder.from_tensors(
        tensors | {"negative_slope": np.array([0.5], dtype=np.float32)}, contract
    )
    del tensors["negative_slope"]

    assert steep.negative_slope == 0.5
    assert Encoder.from_tensors(tensors, contract).negative_slope == 0.1


def _zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dense.weight": None}, "'dense.weight' is missing"),
        ({"dense.weight": _zeros(7, 16)}, r"'dense.weight' is float32 of shape \(7, 16\), .*6, 16"),
        ({"dense.bias": _zeros(16, 1)}, "'dense.bias'"),
        ({"dense.bias": _zeros(0)}, "'dense.bias'"),
        ({"category.0.weight": _zeros(2, 16)}, r"'category.0.weight'.*expected float32"),
        ({"category.1.weight": None}, "'category.1.weight' is missing"),
        ({"category.2.weight": _zeros(2, 16)}, "'category.2.weight'.*not known"),
        ({"hidden.1.weight": _zeros(15, 8)}, r"'hidden.1.weight'.*\(16, any\)"),
        ({"hidden.2.bias": None}, "'hidden.2.bias' is missing"),
        ({"hidden.1.weight": None}, "hidden.1.bias.*not known"),
        ({"hidden.2.weight": _zeros(8, 4, dtype=np.float64)}, "is float64"),
        ({"hidden.2.bias": np.full(4, np.nan, np.float32)}, "4 values that are not finite"),
        ({"negative_slope": np.ones(1, np.float32)}, r"negative_slope is 1.0"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(changes: dict[str, Any], why: str) -> None:
    contract = make_contract()
    tensors = make_encoder(contract).to_tensors() | changes
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}

    with pytest.raises(ValueError, match=why):
        Encoder.from_tensors(tensors, contract)


def test_whitening_refuses_what_was_fitted_on_other_latents() -> None:
    encoder = make_encoder(make_contract())

    with pytest.raises(ValueError, match="4 latent dimensions"):
        encoder.whitened(np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match="not positive definite"):
        encoder.whitened(np.zeros(4), -np.eye(4))
