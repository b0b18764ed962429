"""What to train on, what comes back, and who is told on the way."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from anoean_stream.detector.manifest import Manifest
from anoean_stream.errors import ConfigError
from anoean_stream.records.kdd import DATASETS
from anoean_stream.settings import TrainingSettings
from trainer.anoean import Epoch
from trainer.datasets.files import read_labelled
from trainer.datasets.published import read_published
from trainer.datasets.table import LabelledTable


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What to train on, and where the result goes.

    Parameters
    ----------
    folder : Path
        Receives the bundle, and the report in ``report/``; made when it is not there.
    name : str
        Model.
    dataset : str, optional
        A published data set; needs `data_dir`.
    data_dir : Path, optional
        Folder with its files.
    data : Path, optional
        Or a labelled file; needs `label_column` and `normal_value`.
    label_column, normal_value : str, optional
        Column of the label, and the label of normal rows.
    attack_column : str, optional
        Column with the kind of attack.
    features : Path, optional
        Features file.
    checkpoint : Path, optional
        Written after every epoch and removed when training is complete.
    resume : bool
        Continue from the checkpoint.
    """

    folder: Path
    name: str
    dataset: str | None = None
    data_dir: Path | None = None
    data: Path | None = None
    label_column: str | None = None
    normal_value: str | None = None
    attack_column: str | None = None
    features: Path | None = None
    checkpoint: Path | None = None
    resume: bool = False


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What training gave.

    Parameters
    ----------
    bundle_folder : Path
        The request's folder.
    manifest : Manifest
        Of the bundle.
    report : dict
        What report.json holds.
    interrupted : bool
        Whether Ctrl-C ended it: the bundle is the best model until then.
    """

    bundle_folder: Path
    manifest: Manifest
    report: dict[str, Any]
    interrupted: bool


class TrainProgress(Protocol):
    """Someone who is told how training goes; called in the training thread, must be quick."""

    def stage(self, text: str) -> None:
        """Take note of what happens now."""

    def note(self, text: str) -> None:
        """Take note of something that a person should know."""

    def step(self, done: int, total: int) -> None:
        """Take note of the steps done in this epoch."""

    def epoch(self, epoch: Epoch) -> None:
        """Take note of a finished epoch."""


def read_table(request: TrainRequest, *, settings: TrainingSettings) -> LabelledTable:
    """Read what the request names.

    Raises
    ------
    ConfigError, DataError
        When the request or the data cannot work.
    """
    if (request.dataset is None) == (request.data is None):
        message = (
            "give either a published data set (--dataset NAME --data-dir DIR) or a labelled file "
            f"(--data FILE), got {'neither' if request.data is None else 'both'}"
        )
        raise ConfigError(message)
    if request.dataset is not None:
        if request.dataset not in DATASETS:
            message = f"unknown data set {request.dataset!r}; known are: {', '.join(DATASETS)}"
            raise ConfigError(message)
        if request.data_dir is None:
            message = f"--dataset {request.dataset} needs --data-dir DIR, the folder with its files"
            raise ConfigError(message)
        return read_published(
            request.dataset, data_dir=request.data_dir, max_rows=settings.max_rows
        )
    assert request.data is not None
    if request.label_column is None or request.normal_value is None:
        message = (
            "--data needs --label-column NAME and --normal-value VALUE: which column is the label, "
            "and what it says of normal rows"
        )
        raise ConfigError(message)
    return read_labelled(
        request.data,
        label_column=request.label_column,
        normal_value=request.normal_value,
        attack_column=request.attack_column,
        max_rows=settings.max_rows,
    )


def source_name(request: TrainRequest) -> str:
    """Return the name of the data without its folder, for reports that leave this machine."""
    return request.dataset or (request.data.name if request.data else "nothing")
