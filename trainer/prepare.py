"""From a labelled table to what Algorithm 1 takes: contract, split, features.

Letters: N rows of the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anoean_stream.features.batch import RawBatch
from anoean_stream.features.contract import FeatureContract
from anoean_stream.features.fit import FieldSpec, fit_contract
from anoean_stream.settings import TrainingSettings
from trainer.batches import LabelledRows
from trainer.datasets.infer import Inferred
from trainer.datasets.table import Column, LabelledTable
from trainer.protocol import Split, split_rows


@dataclass(frozen=True, slots=True)
class Prepared:
    """A table ready for training.

    Parameters
    ----------
    contract : FeatureContract
        Fitted to the training rows alone, or that of the version training begins from.
    split : Split
        Rows of the table by use.
    training, validation : LabelledRows
        Their features, in the order of the split.
    """

    contract: FeatureContract
    split: Split
    training: LabelledRows
    validation: LabelledRows


def prepare(
    table: LabelledTable,
    inferred: Inferred,
    *,
    settings: TrainingSettings,
    held_out_N: NDArray[np.bool_] | None = None,
    contract: FeatureContract | None = None,
) -> Prepared:
    """Split a table and fit the contract to its training rows.

    Parameters
    ----------
    table : LabelledTable
        All rows.
    inferred : Inferred
        Columns to use.
    settings : TrainingSettings
        Shares and seed.
    held_out_N : ndarray of bool, shape (N,), optional
        Rows that must not be trained on.
    contract : FeatureContract, optional
        One that is kept; none is fitted then.

    Raises
    ------
    DataError
        When there are too few rows, or a cell is not what its field needs.
    """
    split = split_rows(
        identical_rows(table, inferred.specs),
        is_anomaly_N=table.is_anomaly_N,
        kinds_N=table.kinds_N,
        validation_share=settings.validation_share,
        anomaly_share=settings.anomaly_share,
        seed=settings.seed,
        held_out_N=held_out_N,
    )
    if contract is None:
        contract = _fitted(table, inferred, rows=split.training)
    return Prepared(
        contract=contract,
        split=split,
        training=labelled_rows(table, contract, rows=split.training),
        validation=labelled_rows(table, contract, rows=split.validation),
    )


def _fitted(table: LabelledTable, inferred: Inferred, *, rows: NDArray[np.intp]) -> FeatureContract:
    return fit_contract(
        inferred.specs,
        numbers={
            spec.name: _numbers(table.columns[spec.name], rows)
            for spec in inferred.specs
            if spec.kind != "category"
        },
        categories={
            spec.name: _words(table.columns[spec.name], rows)
            for spec in inferred.specs
            if spec.kind == "category"
        },
        normal_N=~table.is_anomaly_N[rows],
        excluded=inferred.excluded,
    )


def labelled_rows(
    table: LabelledTable, contract: FeatureContract, *, rows: NDArray[np.intp]
) -> LabelledRows:
    """Return the features of some rows of a table, with their labels."""
    numbers_BN = np.empty((len(rows), len(contract.number_names)))
    for place, name in enumerate(contract.number_names):
        numbers_BN[:, place] = _numbers(table.columns[name], rows)
    raw = RawBatch(
        numbers_BN=numbers_BN,
        categories=tuple(_words(table.columns[name], rows) for name in contract.category_names),
    )
    return LabelledRows(contract.transform(raw), table.is_anomaly_N[rows])


def identical_rows(table: LabelledTable, specs: Sequence[FieldSpec]) -> NDArray[np.int64]:
    """Return a number for each row, the same for rows that are identical in all fields used.

    ``1``, ``1.0`` and ``" 1"`` are identical; so are all ways to say that a value is missing.
    """
    groups_N = np.zeros(table.n_rows, dtype=np.int64)
    for spec in specs:
        column = table.columns[spec.name]
        if spec.kind == "category":
            code_of_cell = column.word_codes[1].astype(np.int64)
        else:
            _, code_of_cell = np.unique(column.numbers, return_inverse=True)
        codes_N = code_of_cell[column.codes_N]
        # Pairs of (group so far, cell) numbered anew: exact, and never beyond N * cells.
        pairs_N = groups_N * (int(codes_N.max()) + 1) + codes_N
        _, inverse_N = np.unique(pairs_N, return_inverse=True)
        groups_N = inverse_N.astype(np.int64)
    return groups_N


def _numbers(column: Column, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    return column.numbers[column.codes_N[rows]]


def _words(column: Column, rows: NDArray[np.intp]) -> list[str | None]:
    words = column.words
    return [words[code] for code in column.codes_N[rows].tolist()]
