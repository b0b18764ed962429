"""Training that can be continued: tensors and plain values in one file, and no code.

torch.load reads it with ``weights_only=True``; a checkpoint never leaves the trainer.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Final

import torch

from anoean_stream.errors import ConfigError, DataError
from anoean_stream.settings import TrainingSettings
from trainer.anoean import AnoeanState

_FORMAT_VERSION: Final = 1

# May differ between the run that stopped and the one that goes on: they change when training ends
# or how fast it is, and not what a step computes.
_FREE: Final = frozenset({"epochs", "patience", "threads", "max_rows", "false_positive_rate"})


def save_checkpoint(
    path: Path, state: AnoeanState, *, settings: TrainingSettings, identity: str
) -> None:
    """Write a checkpoint; the file is whole or absent at any moment.

    Parameters
    ----------
    path : Path
        Replaced when it is there.
    state : AnoeanState
        Between two epochs.
    settings : TrainingSettings
        Of this training.
    identity : str
        Of the data and its features; a checkpoint of other data is refused.
    """
    partial = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "format_version": _FORMAT_VERSION,
        "identity": identity,
        "settings": _binding(settings),
        "state": state.capture(),
    }
    torch.save(document, partial)
    partial.replace(path)


def load_checkpoint(
    path: Path, state: AnoeanState, *, settings: TrainingSettings, identity: str
) -> None:
    """Restore what `save_checkpoint` wrote into a new state.

    Raises
    ------
    DataError
        When the file is missing or no checkpoint, or of other data.
    ConfigError
        When it was made with other settings; names them.
    """
    try:
        document = torch.load(path, weights_only=True)
    except FileNotFoundError as error:
        message = f"no checkpoint {path} to resume from; leave out --resume to begin anew"
        raise DataError(message) from error
    except (
        OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        message = f"{path} is no checkpoint ({type(error).__name__}); leave out --resume"
        raise DataError(message) from error
    if not isinstance(document, dict) or document.get("format_version") != _FORMAT_VERSION:
        message = f"{path} is no checkpoint of this version; leave out --resume to begin anew"
        raise DataError(message)
    if document["identity"] != identity:
        message = (
            f"{path} was made with other data or other features; give the same --data and "
            "--features, or leave out --resume to begin anew"
        )
        raise DataError(message)
    wanted = _binding(settings)
    different = [
        f"training.{key} is {wanted[key]}, was {document['settings'].get(key)}"
        for key in wanted
        if wanted[key] != document["settings"].get(key)
    ]
    if different:
        message = (
            f"{path} was made with other settings ({'; '.join(different)}); set them back, or leave "
            "out --resume to begin anew"
        )
        raise ConfigError(message)
    state.restore(document["state"])


def _binding(settings: TrainingSettings) -> dict[str, object]:
    """Return the settings that a resumed training must share, as JSON values."""
    return {
        key: value for key, value in settings.model_dump(mode="json").items() if key not in _FREE
    }
