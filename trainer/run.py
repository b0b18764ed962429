"""One training from a file to a folder with a bundle and a report.

Read, decide about columns, split, fit the contract, run Algorithm 1, export, measure, report.
"""

import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from anoean_stream.errors import ConfigError
from anoean_stream.registry.evaluation import EvaluationInfo
from anoean_stream.settings import TrainingSettings
from trainer.anoean import AnoeanState, Epoch, new_state, train_anoean
from trainer.checkpoint import load_checkpoint, save_checkpoint
from trainer.conditions import torch_threads, warnings_as
from trainer.datasets.table import LabelledTable
from trainer.evaluate import figures_of_merit, recall_by_kind
from trainer.export import export_bundle, golden_records, make_detector
from trainer.heldout import sample_records
from trainer.prepare import Prepared
from trainer.ready import Ready, make_ready
from trainer.report import write_report
from trainer.request import TrainProgress, TrainRequest, TrainResult, source_name
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

    def stage(self, text: str) -> None:
        """Say it now."""
        self.progress.stage(text)

    def note(self, text: str) -> None:
        """Say it now, and again in the report."""
        self.notes.append(text)
        self.progress.note(text)

    def run(self) -> TrainResult:
        request, settings = self.request, self.settings
        ready = make_ready(request, settings=settings, say=self)
        table, prepared = ready.data.table, ready.prepared
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
                ready,
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
        ready: Ready,
        state: AnoeanState,
        *,
        evaluation: EvaluationInfo | None,
        interrupted: bool,
    ) -> dict[str, Any]:
        best = state.best_epoch
        assert best is not None
        data, prepared, start = ready.data, ready.prepared, self.request.warm_start
        table, rows_in_it = data.table, {"rows_in_it": ready.n_in_evaluation}
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
            **({} if evaluation is None else {"evaluation": {**_named(evaluation), **rows_in_it}}),
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


def _named(evaluation: EvaluationInfo) -> dict[str, int | str]:
    return {"number": evaluation.number, "sha256": evaluation.sha256}


def _epoch_entry(epoch: Epoch) -> dict[str, float | int | bool]:
    return {
        "epoch": epoch.number,
        "discriminator_loss": epoch.discriminator_loss,
        "encoder_loss": epoch.encoder_loss,
        "validation_aupr": epoch.validation_aupr,
        "is_best": epoch.is_best,
        "seconds": round(epoch.seconds, 3),
    }
