"""From a request to rows that can be trained on, and a word about each decision on the way.

Letters: N rows of the table.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anoean_stream.errors import ConfigError
from anoean_stream.settings import TrainingSettings
from trainer.datasets.features_file import read_features_file
from trainer.datasets.infer import Inferred, infer_fields
from trainer.datasets.published import FLAGS
from trainer.datasets.table import LabelledTable
from trainer.heldout import overlap
from trainer.prepare import Prepared, prepare
from trainer.request import ReadData, TrainRequest, read_data, source_name


class Say(Protocol):
    """Someone who is told what happens."""

    def stage(self, text: str) -> None:
        """Take note of what happens now."""

    def note(self, text: str) -> None:
        """Take note of something that a person should know, now and in the report."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Rows ready for training.

    Parameters
    ----------
    data : ReadData
        What was read.
    prepared : Prepared
        Contract, split, features.
    n_in_evaluation : int
        Rows that are in the model's evaluation set: they validate, and are never trained on.
    """

    data: ReadData
    prepared: Prepared
    n_in_evaluation: int


def make_ready(request: TrainRequest, *, settings: TrainingSettings, say: Say) -> Ready:
    """Read, decide about columns, hold rows out, fit the contract or keep that of the start.

    Raises
    ------
    ConfigError, DataError
        When the request, the features file or the data cannot work.
    """
    if request.warm_start is not None:
        request.warm_start.check(settings)  # before minutes of reading
    getting = _Getting(request, settings, say)
    data = getting.read()
    inferred = getting.decide_columns(data.table)
    held_out_N = getting.evaluation_rows(data.table, inferred)
    prepared = prepare(
        data.table,
        inferred,
        settings=settings,
        held_out_N=held_out_N,
        contract=None if request.warm_start is None else request.warm_start.contract,
    )
    getting.say_split(data.table, prepared)
    return Ready(data, prepared, 0 if held_out_N is None else int(held_out_N.sum()))


@dataclass(frozen=True, slots=True)
class _Getting:
    request: TrainRequest
    settings: TrainingSettings
    say: Say

    def read(self) -> ReadData:
        self.say.stage(f"reading {source_name(self.request)}")
        data = read_data(self.request, settings=self.settings)
        if data.gathered is not None:
            counts = data.gathered.counts
            self.say.stage(
                f"  {counts.read:,} records read: {counts.normals:,} without a label taken as "
                f"normal, {counts.labelled_normals:,} normal and {counts.labelled_anomalies:,} "
                "anomalous by their label"
            )
            for note in data.gathered.notes:
                self.say.note(note)
        return data

    def evaluation_rows(self, table: LabelledTable, inferred: Inferred) -> NDArray[np.bool_] | None:
        """Return which rows are in the model's evaluation set, and so must not be trained on."""
        if self.request.evaluation is None:
            return None
        number = self.request.evaluation.info.number
        found = overlap(table, inferred.specs, values=self.request.evaluation.values)
        n_rows = int(found.rows_N.sum())
        self.say.stage(
            f"  {n_rows:,} rows are in evaluation set {number} (identical in the "
            f"{len(found.fields)} fields that both have): used to validate, never to train"
            if found.fields
            else f"  evaluation set {number} has none of the fields that are used"
        )
        return found.rows_N

    def decide_columns(self, table: LabelledTable) -> Inferred:
        start = self.request.warm_start
        if start is None:
            features = read_features_file(self.request.features) if self.request.features else None
            flags = FLAGS if self.request.dataset else ()
            inferred = infer_fields(table, features=features, flags=flags)
        elif self.request.features is not None:
            message = (
                f"--warm-start keeps the fields of {start}, --features chooses others; drop one"
            )
            raise ConfigError(message)
        else:
            inferred = start.fields(table)
            self.say.stage(f"beginning with the weights and the fields of {start}")
            for difference in start.differing_settings(self.settings):
                self.say.note(f"other than in {start}: {difference}")
        by_kind = {
            kind: [spec.name for spec in inferred.specs if spec.kind == kind]
            for kind in ("number", "flag", "category")
        }
        self.say.stage(
            f"{table.n_rows:,} rows; columns used: {len(by_kind['number'])} numbers, "
            f"{len(by_kind['flag'])} flags, {len(by_kind['category'])} categories"
            + (f" ({', '.join(by_kind['category'])})" if by_kind["category"] else "")
        )
        for left_out in inferred.excluded:
            self.say.stage(f"  left out {left_out.name!r}: {left_out.reason}")
        for warning in inferred.warnings:
            self.say.note(warning)
        return inferred

    def say_split(self, table: LabelledTable, prepared: Prepared) -> None:
        split = prepared.split
        n_anomalies = int(prepared.training.is_anomaly_N.sum())
        n_held_out = int(prepared.validation.is_anomaly_N.sum())
        self.say.stage(
            f"training on {len(split.training) - n_anomalies:,} normals and {n_anomalies:,} "
            f"anomalies, validating on {len(split.validation) - n_held_out:,} and {n_held_out:,}"
        )
        if split.n_identical:
            self.say.stage(
                f"  {split.n_identical:,} of {table.n_rows:,} rows repeat another one; repetitions "
                "stay on one side of the split"
            )
        if split.n_left_out:
            self.say.stage(
                f"  {split.n_left_out:,} anomalies were not trained on: repetitions, and those "
                f"beyond training.anomaly_share ({self.settings.anomaly_share:g}); rare kinds were "
                "kept first"
            )
        if split.n_contradictory:
            self.say.note(
                f"{split.n_contradictory:,} rows have the same fields as a row with the other "
                "label; no model gets all of them right"
            )
