"""Training that begins from a version: its weights, and the contract that gives them their meaning.

A bundle's encoder has the whitening folded into its last layer, which is a layer as any other: as a
torch network it computes the bundle's latents, in which normals are close to N(0, I) already. The
discriminator is not in the bundle and starts anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from anoean_stream.detector.bundle import Bundle
from anoean_stream.detector.encoder import NEGATIVE_SLOPE
from anoean_stream.detector.encoder import Encoder as NumpyEncoder
from anoean_stream.errors import ConfigError, DataError
from anoean_stream.features.contract import FeatureContract
from anoean_stream.features.fit import FieldSpec
from anoean_stream.settings import TrainingSettings
from trainer.datasets.infer import Inferred
from trainer.datasets.table import LabelledTable
from trainer.networks import Encoder


@dataclass(frozen=True, slots=True)
class WarmStart:
    """The version to begin from.

    Parameters
    ----------
    name, version : str
        In the registry.
    bundle : Bundle
        Its content.
    """

    name: str
    version: str
    bundle: Bundle

    @property
    def contract(self) -> FeatureContract:
        """What the weights mean."""
        return self.bundle.detector.contract

    @property
    def provenance(self) -> dict[str, str]:
        """What the manifest says of it."""
        return {"model": self.name, "version": self.version, "sha256": self.bundle.sha256}

    def __str__(self) -> str:
        """Return it as a command line names it."""
        return f"{self.name}@{self.version}"

    def check(self, settings: TrainingSettings) -> None:
        """Refuse settings of another shape.

        Raises
        ------
        ConfigError
            Names what differs, and the settings that fit.
        """
        encoder = self.bundle.detector.encoder
        units = (len(encoder.bias_H), *(len(layer.bias) for layer in encoder.layers))
        wanted = (*settings.encoder_hidden, settings.latent_dim)
        if units != wanted:
            hidden = ",".join(map(str, units[:-1]))
            message = (
                f"--warm-start {self}: its layers have {_listed(units)} units, the settings ask for "
                f"{_listed(wanted)}; give --set training.encoder_hidden=[{hidden}] --set "
                f"training.latent_dim={units[-1]}, or leave out --warm-start"
            )
            raise ConfigError(message)
        if not np.isclose(encoder.negative_slope, NEGATIVE_SLOPE):
            message = (
                f"--warm-start {self}: its slope below 0 is {encoder.negative_slope:g}, this program "
                f"trains with {NEGATIVE_SLOPE:g}; leave out --warm-start"
            )
            raise ConfigError(message)

    def fields(self, table: LabelledTable) -> Inferred:
        """Return the columns that the contract reads.

        Raises
        ------
        DataError
            When the table lacks one.
        """
        missing = [name for name in self.contract.field_names if name not in table.columns]
        if missing:
            message = (
                f"{table.name} has no {', '.join(missing)}, which {self} reads; it has: "
                f"{', '.join(table.columns)}; map the fields, or leave out --warm-start"
            )
            raise DataError(message, column=missing[0])
        contract = self.contract
        specs = (
            *(FieldSpec(one.name, "number", log1p=one.log1p, unit=one.unit) for one in contract.numbers),
            *(FieldSpec(one.name, "flag") for one in contract.flags),
            *(FieldSpec(one.name, "category") for one in contract.categories),
        )  # fmt: skip
        return Inferred(specs, contract.excluded)

    def differing_settings(self, settings: TrainingSettings) -> list[str]:
        """Return the training settings that are not those of the version, as a person reads them."""
        before: dict[str, Any] = self.bundle.manifest.training.get("hyperparameters") or {}
        now = settings.model_dump(mode="json")
        return [
            f"training.{key} is {value}, was {before[key]}"
            for key, value in now.items()
            if key in before and before[key] != value
        ]


def torch_encoder(encoder: NumpyEncoder) -> Encoder:
    """Return a bundle's encoder as a network that can be trained, weight for weight."""
    units = (len(encoder.bias_H), *(len(layer.bias) for layer in encoder.layers))
    network = Encoder(
        len(encoder.dense_DH),
        cardinalities=[len(weight_KH) for weight_KH in encoder.categories],
        hidden=units[:-1],
        latent_dim=units[-1],
    )
    state = {"dense.weight": encoder.dense_DH.T, "dense.bias": encoder.bias_H}
    state["category_KH"] = np.concatenate(
        [np.empty((0, units[0]), dtype=np.float32), *encoder.categories]
    )
    for index, layer in enumerate(encoder.layers):
        state[f"hidden.{index}.weight"] = layer.weight.T
        state[f"hidden.{index}.bias"] = layer.bias
    network.load_state_dict({name: _copied(tensor) for name, tensor in state.items()})
    return network


def _copied(array: NDArray[np.float32]) -> torch.Tensor:
    # A bundle's arrays may be read-only views of its file.
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def _listed(units: Sequence[int]) -> str:
    return ", ".join(map(str, units))
