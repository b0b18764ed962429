"""One training from a file to a folder with a bundle and a report.

Read, decide about columns, split, fit the contract, run Algorithm 1, export, measure, report.
"""

import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anoean_stream.errors import ConfigError
from anoean_stream.registry.evaluation import EvaluationInfo
from anoean_stream.settings import TrainingSettings
from trainer.anoean import AnoeanState, Epoch, new_state, train_anoean
from trainer.checkpoint import load_checkpoint, save_checkpoint
from trainer.conditions import torch_threads, warnings_as
from trainer.datasets.features_file import read_features_file
from trainer.datasets.infer import Inferred, infer_fields
from trainer.datasets.published import FLAGS
from trainer.datasets.table import LabelledTable
from trainer.evaluate import figures_of_merit, recall_by_kind
from trainer.export import export_bundle, golden_records, make_detector
from trainer.heldout import overlap, sample_records
from trainer.prepare import Prepared, prepare
from trainer.report import write_report
from trainer.request import (
    ReadData,
    TrainProgress,
    TrainRequest,
    TrainResult,
    read_data,
    source_name,
)
from trainer.warmstart import torch_encoder

__all__ = ["TrainProgress", "TrainRequest", "TrainResult", "train"]


def train(
    request: TrainRequest, *, settings: TrainingSettings, progress: TrainProgress
) -> TrainResult:
    """Train a model; blocks for seconds to minutes.

    Ctrl-C (KeyboardInterrupt) ends training early and still gives a bundle of the best model so
    far; before the first epoch is done there is none, and it is passed on.

    Parameters
    ----------
    request : TrainRequest
        What, and where to.
    settings : TrainingSettings
        Hyperparameters.
    progress : TrainProgress
        Told what happens.

    Raises
    ------
    ConfigError, DataError
        When the request, the features file or the data cannot work.
    TrainingError
        When training does not converge.
    """
    run = _Run(request, settings, progress)
    with torch_threads(settings), warnings_as(run.note):
        return run.run()


@dataclass(slots=True)
class _Run:
    request: TrainRequest
    settings: TrainingSettings
    progress: TrainProgress
    notes: list[str] = field(default_factory=list)
    started_s: float = field(default_factory=time.perf_counter)
    n_in_evaluation: int = 0

    def note(self, text: str) -> None:
        """Say it now, and again in the report."""
        self.notes.append(text)
        self.progress.note(text)

    def run(self) -> TrainResult:
        request, settings = self.request, self.settings
        if request.warm_start is not None:
            request.warm_start.check(settings)  # before minutes of reading
        data = self._read()
        table = data.table
        inferred = self._decide_columns(table)
        prepared = prepare(
            table,
            inferred,
            settings=settings,
            held_out_N=self._evaluation_rows(table, inferred),
            contract=None if request.warm_start is None else request.warm_start.contract,
        )
        self._say_split(table, prepared)
        rate = self._affordable_rate(prepared)
        state, interrupted = self._train(table, prepared)

        self.progress.stage("measuring and writing")
        detector = make_detector(
            state.best_encoder(), prepared.contract, validation=prepared.validation
        )
        distances_N = detector.distances(prepared.validation.features)
        kinds_N = [table.kinds_N[row] for row in prepared.split.validation.tolist()]
        is_anomaly_N = prepared.validation.is_anomaly_N
        figures = figures_of_merit(distances_N, is_anomaly_N, kinds_N)
        manifest = export_bundle(
            request.folder,
            name=request.name,
            detector=detector,
            records=golden_records(
                table,
                prepared.contract,
                rows=prepared.split.validation,
                seed=settings.seed,
            ),
            training=self._provenance(
                data,
                prepared,
                state,
                evaluation=self._evaluation(table, prepared),
                interrupted=interrupted,
            ),
            metrics={name: value for name, value in figures.items() if isinstance(value, float)},
            false_positive_rate=rate,
        )
        alerted_N = distances_N > manifest.threshold
        report = {
            "model": request.name,
            "created_at": manifest.created_at,
            "training": manifest.training,
            "figures": figures,
            "at_threshold": {
                "false_positive_rate": rate,
                "threshold": manifest.threshold,
                "recall": float(alerted_N[is_anomaly_N].mean()),
                "recall_by_kind": recall_by_kind(alerted_N, is_anomaly_N, kinds_N),
            },
            "features": {
                "numbers": [spec.name for spec in prepared.contract.numbers],
                "flags": [spec.name for spec in prepared.contract.flags],
                "categories": list(prepared.contract.category_names),
                "excluded": {field.name: field.reason for field in prepared.contract.excluded},
            },
            "epochs": [_epoch_entry(epoch) for epoch in state.history],
            "notes": self.notes,
            "seconds": round(time.perf_counter() - self.started_s, 3),
        }
        write_report(
            request.folder / "report",
            report,
            distances_N=distances_N,
            is_anomaly_N=is_anomaly_N,
        )
        if not interrupted and request.checkpoint is not None:
            with suppress(OSError):  # never written, or not ours to remove
                request.checkpoint.unlink()
        return TrainResult(request.folder, manifest, report, interrupted)

    def _read(self) -> ReadData:
        self.progress.stage(f"reading {source_name(self.request)}")
        data = read_data(self.request, settings=self.settings)
        if data.gathered is not None:
            counts = data.gathered.counts
            self.progress.stage(
                f"  {counts.read:,} records read: {counts.normals:,} without a label taken as "
                f"normal, {counts.labelled_normals:,} normal and {counts.labelled_anomalies:,} "
                "anomalous by their label"
            )
            for note in data.gathered.notes:
                self.note(note)
        return data

    def _evaluation_rows(
        self, table: LabelledTable, inferred: Inferred
    ) -> NDArray[np.bool_] | None:
        """Return which rows are in the model's evaluation set, and so must not be trained on."""
        if self.request.evaluation is None:
            return None
        number = self.request.evaluation.info.number
        found = overlap(table, inferred.specs, values=self.request.evaluation.values)
        self.n_in_evaluation = int(found.rows_N.sum())
        self.progress.stage(
            f"  {self.n_in_evaluation:,} rows are in evaluation set {number} (identical in the "
            f"{len(found.fields)} fields that both have): used to validate, never to train"
            if found.fields
            else f"  evaluation set {number} has none of the fields that are used"
        )
        return found.rows_N

    def _evaluation(self, table: LabelledTable, prepared: Prepared) -> EvaluationInfo | None:
        """Return the set that judges this model; without one, held-out rows become it."""
        request = self.request
        if request.evaluation is not None:
            return request.evaluation.info
        if request.keep_evaluation is None:
            return None
        records = sample_records(table, prepared.split.validation, seed=self.settings.seed)
        info = request.keep_evaluation(records)
        self.note(
            f"the model had no evaluation set: {info.records:,} held-out rows, {info.anomalies:,} of "
            f"them anomalies, are evaluation set {info.number} from now on and never trained on"
        )
        return info

    def _decide_columns(self, table: LabelledTable) -> Inferred:
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
            self.progress.stage(f"beginning with the weights and the fields of {start}")
            for difference in start.differing_settings(self.settings):
                self.note(f"other than in {start}: {difference}")
        by_kind = {
            kind: [spec.name for spec in inferred.specs if spec.kind == kind]
            for kind in ("number", "flag", "category")
        }
        self.progress.stage(
            f"{table.n_rows:,} rows; columns used: {len(by_kind['number'])} numbers, "
            f"{len(by_kind['flag'])} flags, {len(by_kind['category'])} categories"
            + (f" ({', '.join(by_kind['category'])})" if by_kind["category"] else "")
        )
        for left_out in inferred.excluded:
            self.progress.stage(f"  left out {left_out.name!r}: {left_out.reason}")
        for warning in inferred.warnings:
            self.note(warning)
        return inferred

    def _say_split(self, table: LabelledTable, prepared: Prepared) -> None:
        split = prepared.split
        n_anomalies = int(prepared.training.is_anomaly_N.sum())
        n_held_out = int(prepared.validation.is_anomaly_N.sum())
        self.progress.stage(
            f"training on {len(split.training) - n_anomalies:,} normals and {n_anomalies:,} "
            f"anomalies, validating on {len(split.validation) - n_held_out:,} and {n_held_out:,}"
        )
        if split.n_identical:
            self.progress.stage(
                f"  {split.n_identical:,} of {table.n_rows:,} rows repeat another one; repetitions "
                "stay on one side of the split"
            )
        if split.n_left_out:
            self.progress.stage(
                f"  {split.n_left_out:,} anomalies were not trained on: repetitions, and those "
                f"beyond training.anomaly_share ({self.settings.anomaly_share:g}); rare kinds were "
                "kept first"
            )
        if split.n_contradictory:
            self.note(
                f"{split.n_contradictory:,} rows have the same fields as a row with the other "
                "label; no model gets all of them right"
            )

    def _affordable_rate(self, prepared: Prepared) -> float:
        """Return the false-positive rate of the settings, or the smallest that can be vouched for."""
        n_normals = int((~prepared.validation.is_anomaly_N).sum())
        smallest = 1.0 / (n_normals + 1)
        rate = self.settings.false_positive_rate
        if rate >= smallest:
            return rate
        self.note(
            f"{n_normals} normal validation rows can vouch for a false-positive rate of "
            f"{smallest:.3g} at the least, training.false_positive_rate is {rate:g}: the threshold "
            f"is set for {smallest:.3g}; give more normal rows for a lower one"
        )
        return smallest

    def _train(self, table: LabelledTable, prepared: Prepared) -> tuple[AnoeanState, bool]:
        """Return the trained state, and whether Ctrl-C ended it."""
        request, settings, contract = self.request, self.settings, prepared.contract
        start = request.warm_start
        state = new_state(
            contract,
            settings=settings,
            start=None if start is None else torch_encoder(start.bundle.detector.encoder),
        )
        made_of = " ".join(
            (table.fingerprint, contract.id, *(() if start is None else (start.bundle.sha256,)))
        )
        identity = hashlib.sha256(made_of.encode()).hexdigest()
        if request.resume:
            if request.checkpoint is None:
                message = "resume needs a checkpoint file; name one"
                raise ConfigError(message)
            load_checkpoint(request.checkpoint, state, settings=settings, identity=identity)
            self.progress.stage(
                f"resuming after epoch {len(state.history)} from {request.checkpoint}"
            )
        watcher = _Watcher(self, state, identity)
        try:
            train_anoean(
                state,
                prepared.training,
                validation=prepared.validation,
                contract=contract,
                settings=settings,
                watcher=watcher,
            )
        except KeyboardInterrupt:
            best = state.best_epoch
            if best is None or not state.best:
                raise
            where = f"; --resume continues from {request.checkpoint}" if request.checkpoint else ""
            self.note(
                f"stopped by Ctrl-C after {len(state.history)} epochs; this is the best model so "
                f"far, of epoch {best.number}{where}"
            )
            return state, True
        return state, False

    def _provenance(
        self,
        data: ReadData,
        prepared: Prepared,
        state: AnoeanState,
        *,
        evaluation: EvaluationInfo | None,
        interrupted: bool,
    ) -> dict[str, Any]:
        best = state.best_epoch
        assert best is not None
        table, start = data.table, self.request.warm_start
        training, validation = prepared.training, prepared.validation
        return {
            "data": source_name(self.request),
            "data_sha256": table.fingerprint,
            "rows": table.n_rows,
            "training_normals": int((~training.is_anomaly_N).sum()),
            "training_anomalies": int(training.is_anomaly_N.sum()),
            "validation_normals": int((~validation.is_anomaly_N).sum()),
            "validation_anomalies": int(validation.is_anomaly_N.sum()),
            "kinds": sorted({table.kinds_N[row] for row in prepared.split.training.tolist()}),
            "seed": self.settings.seed,
            "epochs": len(state.history),
            "best_epoch": best.number,
            "interrupted": interrupted,
            "hyperparameters": self.settings.model_dump(mode="json"),
            **({} if data.gathered is None else {"topic": data.gathered.provenance}),
            **({} if start is None else {"warm_start": start.provenance}),
            **({} if evaluation is None else {"evaluation": self._said_of(evaluation)}),
        }

    def _said_of(self, evaluation: EvaluationInfo) -> dict[str, Any]:
        return {
            "number": evaluation.number,
            "sha256": evaluation.sha256,
            "rows_in_it": self.n_in_evaluation,
        }


@dataclass(slots=True)
class _Watcher:
    """Passes progress on, and takes a checkpoint after each epoch."""

    run: _Run
    state: AnoeanState
    identity: str
    cannot_write: bool = False

    def step(self, done: int, total: int) -> None:
        self.run.progress.step(done, total)

    def epoch(self, epoch: Epoch) -> None:
        checkpoint = self.run.request.checkpoint
        if checkpoint is not None and not self.cannot_write:
            try:
                save_checkpoint(
                    checkpoint, self.state, settings=self.run.settings, identity=self.identity
                )
            except OSError as error:  # a full disk must not cost the model
                self.cannot_write = True
                self.run.note(f"no checkpoints: {checkpoint} cannot be written ({error.strerror})")
        self.run.progress.epoch(epoch)


def _epoch_entry(epoch: Epoch) -> dict[str, float | int | bool]:
    return {
        "epoch": epoch.number,
        "discriminator_loss": epoch.discriminator_loss,
        "encoder_loss": epoch.encoder_loss,
        "validation_aupr": epoch.validation_aupr,
        "is_best": epoch.is_best,
        "seconds": round(epoch.seconds, 3),
    }
