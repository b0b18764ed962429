"""NSL-KDD and KDD Cup 1999, checked against the public files before a row is read."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Final

from anoean_stream.errors import DataError
from anoean_stream.records.files import dataset_file, read_rows
from anoean_stream.records.kdd import DATASETS, KDD_COLUMNS, NORMAL_LABEL, clean_label
from anoean_stream.records.unpack import open_bytes
from trainer.datasets.files import labelled
from trainer.datasets.table import LabelledTable, read_columns

FLAGS: Final = (
    "land", "logged_in", "root_shell", "is_host_login", "is_guest_login",
)  # fmt: skip
"""Columns that the task description calls 0 or 1, also where a split shows one of the two."""

_BLOCK_BYTES: Final = 1 << 20
"""Bytes hashed at once; any size from a few kilobytes does."""


def read_published(
    dataset: str, *, split: str = "train", data_dir: Path, max_rows: int
) -> LabelledTable:
    """Read a split of a published data set.

    Parameters
    ----------
    dataset : str
        ``"nsl-kdd"`` or ``"kdd99"``.
    split : str
        A split of `DATASETS`.
    data_dir : Path
        Folder with the public files, plain or ``.gz``.
    max_rows : int
        More are refused.

    Returns
    -------
    LabelledTable
        The 41 features; ``difficulty`` of NSL-KDD is no feature and is left out here.

    Raises
    ------
    DataError
        When the file is missing, or is not the public one.
    """
    path, columns = dataset_file(dataset, split, data_dir)
    expected = DATASETS[dataset].splits[split].sha256
    seen = content_sha256(path)
    if seen != expected:
        message = (
            f"{path} is not the public file of {dataset}, split {split}: its content has sha256 "
            f"{seen}, expected {expected}; download it again"
        )
        raise DataError(message)
    table = read_columns(read_rows(path, columns=columns), name=str(path), max_rows=max_rows)
    label = table["label"]
    label = replace(label, cells=[clean_label(str(cell)) for cell in label.cells])
    features = {name: table[name] for name in KDD_COLUMNS}
    return labelled(f"{dataset} ({path.name})", features, label=label, normal_value=NORMAL_LABEL)


def content_sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a file's content, unpacked when it is a ``.gz``.

    Raises
    ------
    DataError
        When it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open_bytes(path) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        message = f"{path} cannot be read ({error}); download it again"
        raise DataError(message) from error
    return digest.hexdigest()
