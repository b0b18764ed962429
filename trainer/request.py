"""What to train on, what comes back, and who is told on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from anoean_stream.detector.manifest import Manifest
from anoean_stream.errors import ConfigError, DataError
from anoean_stream.records.kdd import DATASETS
from anoean_stream.registry.evaluation import EvaluationInfo, EvaluationSet
from anoean_stream.settings import TrainingSettings
from trainer.anoean import Epoch
from trainer.datasets.files import read_labelled
from trainer.datasets.published import read_published
from trainer.datasets.table import LabelledTable, joined
from trainer.datasets.topic import Gathered, TopicRange, gather
from trainer.heldout import HeldOutRecord
from trainer.warmstart import WarmStart

_FEWEST_OF_TOPIC: Final = 100
"""Rows of a topic, at the least; as in ``training.max_rows``."""

_FEWEST_ANOMALIES: Final = 2
"""One to train on and one to hold out; a useful model needs some dozens."""


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
    topic : TopicRange, optional
        Or a range of a topic; the rows of `data` or `dataset` are added to it.
    warm_start : WarmStart, optional
        The version to begin from.
    evaluation : EvaluationSet, optional
        Records that judge the model, and are not trained on.
    keep_evaluation : callable, optional
        Without such a set: keeps held-out records as one. Called once, after training.
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
    topic: TopicRange | None = None
    warm_start: WarmStart | None = None
    evaluation: EvaluationSet | None = None
    keep_evaluation: Callable[[Sequence[HeldOutRecord]], EvaluationInfo] | None = None


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


@dataclass(frozen=True, slots=True)
class ReadData:
    """The rows to train on.

    Parameters
    ----------
    table : LabelledTable
        All of them.
    gathered : Gathered or None
        What of it was read from a topic.
    """

    table: LabelledTable
    gathered: Gathered | None = None


def read_data(request: TrainRequest, *, settings: TrainingSettings) -> ReadData:
    """Read what the request names.

    Raises
    ------
    ConfigError, DataError
        When the request or the data cannot work.
    """
    n_sources = (request.dataset is not None) + (request.data is not None)
    if n_sources > 1 or (n_sources == 0 and request.topic is None):
        message = (
            "give a published data set (--dataset NAME --data-dir DIR), a labelled file "
            f"(--data FILE) or a topic (--from-topic NAME), got {'both' if n_sources else 'neither'}"
            + (" of the first two" if n_sources else "")
        )
        raise ConfigError(message)
    if request.topic is None:
        return ReadData(_read_file(request, max_rows=settings.max_rows, both_classes=True))
    base = None
    if n_sources:
        base = _read_file(request, max_rows=settings.max_rows, both_classes=False)
    n_left = settings.max_rows - (0 if base is None else base.n_rows)
    if n_left < _FEWEST_OF_TOPIC:
        message = (
            f"{source_name(request)}: the file alone fills training.max_rows {settings.max_rows:,}; "
            "raise it, or give a smaller file"
        )
        raise ConfigError(message)
    gathered = gather(request.topic, max_rows=n_left, seed=settings.seed)
    table = gathered.table
    if base is not None:
        table = joined(base, table, name=f"{base.name} and {table.name}")
    if int(table.is_anomaly_N.sum()) < _FEWEST_ANOMALIES:
        message = (
            f"{table.name}: {int(table.is_anomaly_N.sum())} labelled anomalies among "
            f"{table.n_rows:,} rows, expected at least {_FEWEST_ANOMALIES}: training needs examples "
            f"of what to find. {gathered.counts.flagged:,} records were flagged and have no label: "
            "label some of them (their alerts are on topics.alerts), or add a labelled file of "
            "earlier attacks with --data FILE --label-column NAME"
        )
        raise DataError(message)
    return ReadData(table, gathered)


def _read_file(request: TrainRequest, *, max_rows: int, both_classes: bool) -> LabelledTable:
    if request.dataset is not None:
        if request.dataset not in DATASETS:
            message = f"unknown data set {request.dataset!r}; known are: {', '.join(DATASETS)}"
            raise ConfigError(message)
        if request.data_dir is None:
            message = f"--dataset {request.dataset} needs --data-dir DIR, the folder with its files"
            raise ConfigError(message)
        return read_published(request.dataset, data_dir=request.data_dir, max_rows=max_rows)
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
        max_rows=max_rows,
        both_classes=both_classes,
    )


def source_name(request: TrainRequest) -> str:
    """Return the name of the data without its folder, for reports that leave this machine."""
    file = request.dataset or (request.data.name if request.data else None)
    topic = None if request.topic is None else f"topic {request.topic.topic}"
    return " and ".join(part for part in (file, topic) if part) or "nothing"
