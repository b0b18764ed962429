"""The encoder at inference: a multilayer perceptron in numpy.

Letters: B records, D dense inputs, C categories, K codes of one category, H units of a layer,
Z latent dimensions.

A category enters as the row of its weight matrix that its code names, which is what a one-hot
input would select, without the multiplications. Measured on 2,000 records, D = 38, C = 3,
H = (128, 64, 32), Z = 16, one core: 0.6 us a record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from anoean_stream.features.batch import FeatureBatch
from anoean_stream.features.contract import FeatureContract

NEGATIVE_SLOPE: Final = 0.1
"""Slope of LeakyReLU below 0 when the tensors name none; in [0, 1)."""

_BLOCK_ROWS: Final = 256
"""Records multiplied at once. 256 x 128 float32 stay in a core's cache; 2,000 at once took twice as
long, 64 a third longer. At least 1."""

MAX_UNITS: Final = 65_536
"""Units of one layer, as in the settings of training. A layer of millions, a small file when the one
before is narrow, would need gigabytes for each block of records."""

MAX_LAYERS: Final = 64
"""Layers after the first: deeper ones are not trained this way, and each is a step for each block."""

MAX_VARIANT_VALUES: Final = 2**26
"""Fields times units of the first layer: an explanation holds so many float32, 256 MiB."""

MAX_LATENT: Final = 1e15
"""Largest value that a layer may reach for any record. float32 ends at 3e38, and sums on the way are
no larger than their bound; a trained network reaches 1e3."""

Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layer:
    """One linear layer after the first: ``x @ weight + bias``.

    Parameters
    ----------
    weight : ndarray of float32, shape (H_in, H_out)
    bias : ndarray of float32, shape (H_out,)
    """

    weight: Weights
    bias: Weights


@dataclass(frozen=True, slots=True)
class Encoder:
    """Features to latent coordinates; LeakyReLU between the layers, none after the last.

    Immutable and without shared buffers: safe to use from several threads.

    Parameters
    ----------
    dense_DH : ndarray of float32, shape (D, H1)
        First layer, dense inputs.
    categories : tuple of C ndarrays of float32, shape (K, H1)
        First layer, one row for each code.
    bias_H : ndarray of float32, shape (H1,)
        First layer.
    layers : tuple of Layer
        The following ones; the last gives the latent coordinates.
    negative_slope : float
        Of LeakyReLU, in [0, 1).
    """

    dense_DH: Weights
    categories: tuple[Weights, ...]
    bias_H: Weights
    layers: tuple[Layer, ...]
    negative_slope: float = NEGATIVE_SLOPE

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions, Z."""
        return len(self.layers[-1].bias) if self.layers else len(self.bias_H)

    @property
    def widest(self) -> int:
        """Units of the widest layer."""
        return max([len(self.bias_H), *(len(layer.bias) for layer in self.layers)])

    def forward(self, batch: FeatureBatch) -> NDArray[np.float32]:
        """Return the latent coordinates, float32, shape (B, Z).

        A row depends on its own record only, up to the rounding of float32 (about 1e-6 of its
        size): the matrix library may sum in another order in another batch.
        """
        latents_BZ = np.empty((batch.n_rows, self.latent_dim), dtype=np.float32)
        for start in range(0, batch.n_rows, _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            first_BH = self.first_layer(batch.dense_BD[rows], batch.codes_BC[rows])
            latents_BZ[rows] = self.later_layers(first_BH)
        return latents_BZ

    def first_layer(self, dense_BD: Weights, codes_BC: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the first layer before its LeakyReLU, a new array of shape (B, H1)."""
        first_BH = cast("NDArray[np.float32]", dense_BD @ self.dense_DH)
        for category, weight_KH in enumerate(self.categories):
            first_BH += weight_KH.take(codes_BC[:, category], axis=0)
        first_BH += self.bias_H
        return first_BH

    def later_layers(self, first_BH: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the latent coordinates; overwrites its argument."""
        slope = np.float32(self.negative_slope)
        hidden_BH = first_BH
        for layer in self.layers:
            np.maximum(hidden_BH, hidden_BH * slope, out=hidden_BH)
            hidden_BH = hidden_BH @ layer.weight
            hidden_BH += layer.bias
        return hidden_BH

    def whitened(self, mu_Z: NDArray[np.float64], cov_ZZ: NDArray[np.float64]) -> "Encoder":
        """Return the encoder whose latent norm is the Mahalanobis distance of this one.

        With ``cov = L L'``, the last layer becomes ``(z - mu) L'^-1``; the norm of that is
        ``sqrt((z - mu)' cov^-1 (z - mu))``, Eq. 3 of Gherbi et al. (ACML 2019), for the price of no
        further operation.

        Parameters
        ----------
        mu_Z : ndarray, shape (Z,)
        cov_ZZ : ndarray, shape (Z, Z)
            Symmetric and positive definite, as `fit_gaussian` returns it.

        Raises
        ------
        ValueError
            When the shapes do not fit, or cov is not positive definite.
        """
        n_latent = self.latent_dim
        if np.shape(mu_Z) != (n_latent,) or np.shape(cov_ZZ) != (n_latent, n_latent):
            message = (
                f"mu has shape {np.shape(mu_Z)} and cov {np.shape(cov_ZZ)}, the encoder has "
                f"{n_latent} latent dimensions; fit both on its own latents"
            )
            raise ValueError(message)
        try:
            factor_ZZ = np.linalg.cholesky(np.asarray(cov_ZZ, dtype=np.float64))
        except np.linalg.LinAlgError as error:
            message = (
                "the covariance of the latents is not positive definite; take it from fit_gaussian"
            )
            raise ValueError(message) from error

        def whiten(weight_HZ: Weights) -> Weights:
            return np.linalg.solve(factor_ZZ, weight_HZ.T.astype(np.float64)).T.astype(
                np.float32, order="C"
            )

        def shift(bias_Z: Weights) -> Weights:
            return np.linalg.solve(factor_ZZ, bias_Z.astype(np.float64) - mu_Z).astype(np.float32)

        if not self.layers:
            return replace(
                self,
                dense_DH=whiten(self.dense_DH),
                categories=tuple(whiten(weight) for weight in self.categories),
                bias_H=shift(self.bias_H),
            )
        *others, last = self.layers
        return replace(
            self, layers=(*others, Layer(weight=whiten(last.weight), bias=shift(last.bias)))
        )

    def check_bounded(self, contract: FeatureContract) -> None:
        """Refuse weights with which some record, not only those tried, would not get a finite score.

        Inputs are clipped by the contract, so each unit has a largest possible value.

        Raises
        ------
        ValueError
            When a layer could exceed `MAX_LATENT`.
        """
        clip_D = np.ones(contract.n_dense)  # flags and marks
        clip_D[: len(contract.numbers)] = [field.clip for field in contract.numbers]
        with np.errstate(over="ignore"):
            bound_H = clip_D @ np.abs(self.dense_DH.astype(np.float64)) + np.abs(self.bias_H)
            for weight_KH in self.categories:
                bound_H += np.abs(weight_KH).max(axis=0)
            widest = float(bound_H.max())
            for layer in self.layers:
                bound_H = bound_H @ np.abs(layer.weight.astype(np.float64)) + np.abs(layer.bias)
                widest = max(widest, float(bound_H.max()))
        if not widest <= MAX_LATENT:
            message = (
                f"with these weights a layer can reach {widest:.3g}, allowed is {MAX_LATENT:g}: "
                f"some record would get no finite score"
            )
            raise ValueError(message)

    def to_tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights by name, as `from_tensors` takes them."""
        tensors = {"dense.weight": self.dense_DH, "dense.bias": self.bias_H}
        for index, weight_KH in enumerate(self.categories):
            tensors[f"category.{index}.weight"] = weight_KH
        for index, layer in enumerate(self.layers, start=1):
            tensors[f"hidden.{index}.weight"] = layer.weight
            tensors[f"hidden.{index}.bias"] = layer.bias
        tensors["negative_slope"] = np.array([self.negative_slope], dtype=np.float32)
        return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, NDArray[np.float32]], contract: FeatureContract
    ) -> "Encoder":
        """Return the encoder of a contract from its weights.

        Parameters
        ----------
        tensors : mapping of name to ndarray of float32
            ``dense.weight`` (D, H1), ``category.<i>.weight`` (K_i, H1) for each category of the
            contract from 0, ``dense.bias`` (H1,), then ``hidden.<j>.weight`` (in, out) and
            ``hidden.<j>.bias`` (out,) from 1; the last one gives the latent coordinates.
            ``negative_slope`` (1,) is `NEGATIVE_SLOPE` when absent.
        contract : FeatureContract
            What the shapes must fit.

        Raises
        ------
        ValueError
            When a tensor is missing, unknown, of another shape or type, or not finite.
        """
        taken = _Tensors(tensors)
        bias_H = taken.take("dense.bias", (None,))
        n_units = len(bias_H)
        n_fields = len(contract.field_names)
        if n_units > MAX_UNITS or (n_fields + 1) * n_units > MAX_VARIANT_VALUES:
            message = (
                f"the first layer has {n_units} units for {n_fields} fields, allowed are "
                f"{MAX_UNITS} units and {MAX_VARIANT_VALUES} of both together"
            )
            raise ValueError(message)
        dense_DH = taken.take("dense.weight", (contract.n_dense, n_units))
        categories = tuple(
            taken.take(f"category.{index}.weight", (cardinality, n_units))
            for index, cardinality in enumerate(contract.cardinalities)
        )
        layers: list[Layer] = []
        while f"hidden.{len(layers) + 1}.weight" in tensors:
            prefix = f"hidden.{len(layers) + 1}"
            weight = taken.take(f"{prefix}.weight", (n_units, None))
            n_units = weight.shape[1]
            if n_units > MAX_UNITS or len(layers) == MAX_LAYERS:
                message = (
                    f"layer {len(layers) + 1} has {n_units} units, allowed are {MAX_UNITS} units "
                    f"and {MAX_LAYERS} layers"
                )
                raise ValueError(message)
            layers.append(Layer(weight=weight, bias=taken.take(f"{prefix}.bias", (n_units,))))
        slope = NEGATIVE_SLOPE
        if "negative_slope" in tensors:
            slope = float(taken.take("negative_slope", (1,))[0])
        if not 0 <= slope < 1:
            message = f"negative_slope is {slope}, expected a number in [0, 1)"
            raise ValueError(message)
        taken.check_none_left()
        return cls(
            dense_DH=dense_DH,
            categories=categories,
            bias_H=bias_H,
            layers=tuple(layers),
            negative_slope=slope,
        )


class _Tensors:
    """Takes tensors out of a mapping, checking each."""

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        self._tensors = tensors
        self._left = set(tensors)

    def take(self, name: str, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
        """Return a tensor; None in `shape` is any length but 0."""
        if name not in self._tensors:
            message = (
                f"tensor {name!r} is missing, there are {_listed(self._tensors)}; export again"
            )
            raise ValueError(message)
        tensor = self._tensors[name]
        fits = len(tensor.shape) == len(shape) and all(
            (wanted is None and seen > 0) or seen == wanted
            for seen, wanted in zip(tensor.shape, shape, strict=True)
        )
        if not fits or tensor.dtype != np.float32:
            expected = ", ".join("any" if length is None else str(length) for length in shape)
            message = (
                f"tensor {name!r} is {tensor.dtype} of shape {tensor.shape}, expected float32 of "
                f"shape ({expected}); the weights and the feature contract come from two trainings"
            )
            raise ValueError(message)
        if not np.isfinite(tensor).all():
            message = (
                f"tensor {name!r} has {np.sum(~np.isfinite(tensor))} values that are not finite"
            )
            raise ValueError(message)
        self._left.discard(name)
        return tensor

    def check_none_left(self) -> None:
        """Refuse tensors that would be ignored: they belong to another architecture."""
        if self._left:
            message = (
                f"tensors {_listed(self._left)} are not known; this program is too old for them"
            )
            raise ValueError(message)


def _listed(names: Iterable[str]) -> str:
    """Return names for a message, which a file with a million tensors must not fill."""
    shown = sorted(names)
    text = str([name[:60] for name in shown[:40]])
    return text if len(shown) <= 40 else f"{text} and {len(shown) - 40} more"  # noqa: PLR2004
