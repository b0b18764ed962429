"""Records of a file, through a model of the registry, by the very pipeline that the worker runs.

A row becomes the payload it would be on a topic, payloads become a `Chunk`, and
`Pipeline.score_chunk` judges it: what ``anoean score`` says of a row is what a worker says of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer

from anoean_stream.detector.bundle import ServedModel
from anoean_stream.errors import ConfigError, DataError
from anoean_stream.pipeline import Pipeline, Verdict, verify_bundle
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.files import dataset_file
from anoean_stream.records.kdd import DATASETS
from anoean_stream.registry import Registry
from anoean_stream.settings import Settings

_WORKER_ID: Final = "offline"

FileArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        help="CSV, JSON lines (each also .gz) or Parquet.",
        show_default=False,
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help=f"A published data set instead of a file: {', '.join(DATASETS)}.",
        show_default=False,
    ),
]
SplitOption = Annotated[
    str,
    typer.Option("--split", help="Part of the data set (train, test, test-21)."),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Folder of the data set's files.", show_default=False
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Model; else model.name of the settings.",
        show_default=False,
    ),
]
VersionOption = Annotated[
    str | None,
    typer.Option(
        "--version",
        metavar="REF",
        help="Version or alias; else model.alias of the settings.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Source:
    """A file of records.

    Parameters
    ----------
    path : Path
        The file.
    columns : tuple of str or None
        Names of the columns when the file has no header line.
    n_rows : int or None
        Rows, where that is known before reading.
    dataset : str or None
        The published data set it belongs to.
    """

    path: Path
    columns: tuple[str, ...] | None = None
    n_rows: int | None = None
    dataset: str | None = None


def source(file: Path | None, *, dataset: str | None, split: str, data_dir: Path | None) -> Source:
    """Return the file that a command line means.

    Raises
    ------
    ConfigError
        When neither or both of file and data set are given, or the folder is missing.
    DataError
        When the file, the data set or its split is not there.
    """
    if file is not None and dataset is None:
        if not file.is_file():
            # Here, before anything is written: an output must not be emptied for a mistyped name.
            message = f"no such file: {file}; give a CSV, JSON lines or Parquet file"
            raise DataError(message)
        return Source(file)
    if file is not None or dataset is None:
        message = (
            "give either a FILE or --dataset NAME with --data-dir DIR, "
            f"got {'neither' if file is None else 'both'}"
        )
        raise ConfigError(message)
    if data_dir is None:
        message = f"--dataset {dataset} needs --data-dir DIR, the folder that holds its files"
        raise ConfigError(message)
    path, columns = dataset_file(dataset, split, data_dir)
    return Source(path, columns, DATASETS[dataset].splits[split].n_rows, dataset)


def open_model(settings: Settings, *, name: str | None, ref: str | None) -> ServedModel:
    """Load a version and check it as the worker does.

    Parameters
    ----------
    settings : Settings
        Registry, and the model to take where the command line names none.
    name : str or None
        Name of the model.
    ref : str or None
        Version or alias.

    Raises
    ------
    RegistryError, BundleError
        When it is not there, or is refused.
    """
    registry = Registry.from_settings(settings.registry)
    name = name or settings.model.name
    version = registry.resolve(name, ref or settings.model.alias)
    bundle = registry.load(name, version)
    verify_bundle(bundle)
    return ServedModel(name, version, bundle)


def open_pipeline(settings: Settings, model: ServedModel, *, explain: bool = False) -> Pipeline:
    """Return the worker's pipeline around a model of the registry, with the threshold asked for there.

    Parameters
    ----------
    settings : Settings
        What a worker would be started with.
    model : ServedModel
        The model.
    explain : bool
        Whether its alerts hold explanation and original; neither changes a score.

    Raises
    ------
    RegistryError
        When the threshold cannot be read.
    ConfigError
        When the model cannot vouch for that threshold.
    """
    bare = settings.alerts.model_copy(update={"top_features": 0, "original_max_bytes": 0})
    return Pipeline(
        model,
        scoring=settings.scoring,
        alerts=settings.alerts if explain else bare,
        worker_id=settings.worker.id or _WORKER_ID,
        choice=Registry.from_settings(settings.registry).threshold(model.name).choice,
    )


def judge(
    values: Iterable[bytes], *, pipeline: Pipeline, topic: str, chunk_records: int
) -> Iterator[tuple[int, Verdict]]:
    """Score payloads chunk by chunk; memory stays that of one chunk.

    Parameters
    ----------
    values : iterable of bytes
        Payloads, in order.
    pipeline : Pipeline
        What judges.
    topic : str
        Stands where the topic would.
    chunk_records : int
        Records in a chunk, >= 1.

    Yields
    ------
    (int, Verdict)
        Number of the chunk's first row, from 1, and the verdict.
    """
    for chunk in chunks(values, topic=topic, chunk_records=chunk_records):
        yield chunk.offsets[0] + 1, pipeline.score_chunk(chunk)


def chunks(values: Iterable[bytes], *, topic: str, chunk_records: int) -> Iterator[Chunk]:
    """Yield payloads as chunks of one partition, with the row from 0 as the offset.

    Parameters
    ----------
    values : iterable of bytes
        Payloads, in order.
    topic : str
        Stands where the topic would.
    chunk_records : int
        Records in a chunk, >= 1.
    """
    payloads = iter(values)
    first = 0
    while part := tuple(islice(payloads, chunk_records)):
        n_records = len(part)
        yield Chunk(
            topic=topic,
            partition=0,
            values=part,
            keys=(None,) * n_records,
            offsets=range(first, first + n_records),
            timestamps_ms=(-1,) * n_records,
        )
        first += n_records
