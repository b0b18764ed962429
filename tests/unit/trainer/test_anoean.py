"""Algorithm 1: reproducible, resumable, interruptible, and it separates."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from anoean_stream.errors import ConfigError, DataError, TrainingError
from anoean_stream.features.contract import FeatureContract
from anoean_stream.settings import TrainingSettings
from tests.support.labelled import HEADER, Watch, labelled_rows
from trainer import anoean
from trainer.anoean import AnoeanState, new_state, train_anoean, validation_aupr
from trainer.artificial import artificial_anomalies
from trainer.batches import Rows, with_gaps
from trainer.checkpoint import load_checkpoint, save_checkpoint
from trainer.datasets.files import labelled
from trainer.datasets.infer import infer_fields
from trainer.datasets.table import read_columns
from trainer.prepare import Prepared, prepare


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    rows = [dict(zip(HEADER, row, strict=True)) for row in labelled_rows()]
    columns = read_columns(rows, name="test", max_rows=10_000)
    table = labelled("test", columns, label=columns.pop("label"), normal_value="normal")
    return prepare(table, infer_fields(table), settings=TrainingSettings())


def run(
    prepared: Prepared,
    settings: TrainingSettings,
    *,
    state: AnoeanState | None = None,
    watch: Watch | None = None,
) -> AnoeanState:
    state = state or new_state(prepared.contract, settings=settings)
    train_anoean(
        state,
        prepared.training,
        validation=prepared.validation,
        contract=prepared.contract,
        settings=settings,
        watcher=watch or Watch(),
    )
    return state


@dataclass
class Losses:
    """Collects L_D and L_E of each step."""

    values: list[tuple[float, float]]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = anoean._require_finite

        def remember(losses: tuple[float, float], *, epoch: int, step: int) -> None:
            self.values.append(losses)
            original(losses, epoch=epoch, step=step)

        monkeypatch.setattr(anoean, "_require_finite", remember)


def losses_of(
    prepared: Prepared, settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[float, float]]:
    losses = Losses([])
    with monkeypatch.context() as patch:
        losses.install(patch)
        run(prepared, settings)
    return losses.values[:20]


def test_the_same_seed_gives_the_same_20_losses_and_another_seed_others(
    prepared: Prepared, quick: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_epoch = quick.model_copy(update={"epochs": 1, "artificial_share": 0.25})

    first = losses_of(prepared, one_epoch, monkeypatch)
    torch.rand(3)  # what others draw from torch's global generator must not matter
    again = losses_of(prepared, one_epoch, monkeypatch)
    other = losses_of(prepared, one_epoch.model_copy(update={"seed": 1}), monkeypatch)

    assert len(first) == 20
    assert first == again
    assert first != other


def test_training_separates_the_held_out_rows(prepared: Prepared, quick: TrainingSettings) -> None:
    state = run(prepared, quick)

    assert state.best_epoch is not None
    assert state.best_epoch.validation_aupr > 0.98
    assert validation_aupr(state.best_encoder(), prepared.validation) == pytest.approx(
        state.best_epoch.validation_aupr
    )


def test_normals_are_drawn_onto_the_gaussian_and_anomalies_off_it(
    prepared: Prepared, quick: TrainingSettings
) -> None:
    state = run(prepared, quick.model_copy(update={"epochs": 8}))

    latents_NZ = anoean.encode(state.encoder, prepared.validation)
    length_N = np.linalg.norm(latents_NZ, axis=1)
    normal = length_N[~prepared.validation.is_anomaly_N]
    # The norm of a draw of N(0, I) in 4 dimensions is 1.88 on average.
    assert np.median(normal) == pytest.approx(1.88, abs=0.8)
    assert np.median(length_N[prepared.validation.is_anomaly_N]) > 2 * np.median(normal)


def test_training_stops_when_patience_is_lost(prepared: Prepared, quick: TrainingSettings) -> None:
    settings = quick.model_copy(update={"epochs": 50, "patience": 2})

    state = run(prepared, settings)

    assert state.best_epoch is not None
    assert len(state.history) == state.best_epoch.number + 2 < 50


def test_an_epoch_of_a_small_table_is_at_least_100_steps(
    prepared: Prepared, quick: TrainingSettings
) -> None:
    class Steps(Watch):
        total = 0

        def step(self, done: int, total: int) -> None:
            self.total = total

    steps = Steps()
    run(prepared, quick.model_copy(update={"epochs": 1}), watch=steps)

    # 1,200 normals by 90 a batch: 14 steps a pass, 8 passes.
    assert steps.total == 112


def test_the_discriminator_takes_its_steps_and_the_encoder_one(
    prepared: Prepared, quick: TrainingSettings
) -> None:
    state = run(prepared, quick.model_copy(update={"epochs": 1, "discriminator_steps": 3}))

    def steps(optimizer: torch.optim.Optimizer) -> float:
        return float(next(iter(optimizer.state_dict()["state"].values()))["step"])

    assert steps(state.discriminator_adam) == 3 * steps(state.encoder_adam)


def test_exported_weights_are_averaged(prepared: Prepared, quick: TrainingSettings) -> None:
    one_epoch = quick.model_copy(update={"epochs": 1})

    averaged = run(prepared, one_epoch)
    last = run(prepared, one_epoch.model_copy(update={"ema_decay": 0.0}))

    weight = "dense.weight"
    assert torch.equal(last.best[weight], last.encoder.state_dict()[weight])
    assert torch.equal(averaged.encoder.state_dict()[weight], last.encoder.state_dict()[weight])
    assert not torch.allclose(averaged.best[weight], last.best[weight], atol=1e-4)


def test_a_loss_that_is_not_finite_is_an_error_with_epoch_and_step(
    prepared: Prepared, quick: TrainingSettings
) -> None:
    state = new_state(prepared.contract, settings=quick)
    with torch.no_grad():
        state.encoder.dense.weight.fill_(float("nan"))

    with pytest.raises(TrainingError, match=r"epoch 1, step 1: L_D is nan") as caught:
        run(prepared, quick, state=state)

    assert (caught.value.epoch, caught.value.step) == (1, 1)


def test_ctrl_c_keeps_the_best_encoder_so_far(prepared: Prepared, quick: TrainingSettings) -> None:
    state = new_state(prepared.contract, settings=quick)

    with pytest.raises(KeyboardInterrupt):
        run(prepared, quick, state=state, watch=Watch(interrupt_in_epoch=3))

    assert len(state.history) == 2
    assert state.best_epoch is not None
    assert validation_aupr(state.best_encoder(), prepared.validation) == pytest.approx(
        state.best_epoch.validation_aupr
    )


def test_a_resumed_training_ends_where_an_unbroken_one_does(
    prepared: Prepared, quick: TrainingSettings, tmp_path: Path
) -> None:
    unbroken = run(prepared, quick)
    half = run(prepared, quick.model_copy(update={"epochs": 2}))
    path = tmp_path / "half.checkpoint"
    save_checkpoint(path, half, settings=quick, identity="data")

    resumed = new_state(prepared.contract, settings=quick)
    load_checkpoint(path, resumed, settings=quick, identity="data")
    run(prepared, quick, state=resumed)

    def figures(state: AnoeanState) -> list[tuple[float, float, float]]:
        return [
            (epoch.discriminator_loss, epoch.encoder_loss, epoch.validation_aupr)
            for epoch in state.history
        ]

    assert figures(resumed) == figures(unbroken)
    for name, tensor in unbroken.best.items():
        assert torch.equal(resumed.best[name], tensor)


def test_a_checkpoint_of_other_data_or_settings_is_refused(
    prepared: Prepared, quick: TrainingSettings, tmp_path: Path
) -> None:
    state = new_state(prepared.contract, settings=quick)
    path = tmp_path / "a.checkpoint"
    save_checkpoint(path, state, settings=quick, identity="data")

    with pytest.raises(DataError, match="other data"):
        load_checkpoint(path, state, settings=quick, identity="other")
    other = quick.model_copy(update={"seed": 7, "epochs": 99})
    with pytest.raises(ConfigError, match=r"training.seed is 7, was 0\)"):
        load_checkpoint(path, state, settings=other, identity="data")


def test_what_is_no_checkpoint_is_refused_and_never_executed(
    prepared: Prepared, quick: TrainingSettings, tmp_path: Path
) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(tmp_path / "sprung"),))  # type: ignore[return-value]

    state = new_state(prepared.contract, settings=quick)
    trap, garbage = tmp_path / "trap.checkpoint", tmp_path / "garbage.checkpoint"
    torch.save({"format_version": Trap()}, trap)
    garbage.write_bytes(b"not a checkpoint")

    for path in (trap, garbage):
        with pytest.raises(DataError, match="is no checkpoint"):
            load_checkpoint(path, state, settings=quick, identity="data")
    with pytest.raises(DataError, match=r"no checkpoint .* to resume from"):
        load_checkpoint(tmp_path / "absent", state, settings=quick, identity="data")
    assert not (tmp_path / "sprung").exists()


def batch_of(contract: FeatureContract, *, n_rows: int) -> Rows:
    return Rows(
        torch.zeros((n_rows, contract.n_dense)),
        torch.zeros((n_rows, len(contract.cardinalities)), dtype=torch.int64),
    )


def test_a_few_cells_become_unknown_or_missing(prepared: Prepared) -> None:
    contract = prepared.contract
    (n_codes,) = contract.cardinalities

    rows = with_gaps(
        batch_of(contract, n_rows=20_000),
        rate=0.1,
        contract=contract,
        generator=torch.Generator().manual_seed(0),
    )

    codes = torch.bincount(rows.codes_NC[:, 0], minlength=n_codes) / 20_000
    assert codes[n_codes - 2].item() == pytest.approx(0.05, abs=0.01)  # other
    assert codes[n_codes - 1].item() == pytest.approx(0.05, abs=0.01)  # missing
    assert codes[0].item() == pytest.approx(0.9, abs=0.01)


def test_a_missing_number_gets_its_neutral_value_and_its_mark() -> None:
    rows = [
        {"a": float(i * 7 % 93), "b": None if i % 10 == 0 else float(i % 7)} for i in range(400)
    ]
    columns = read_columns(
        [row | {"label": "dos" if i % 5 == 0 else "ok"} for i, row in enumerate(rows)],
        name="test",
        max_rows=1000,
    )
    table = labelled("test", columns, label=columns.pop("label"), normal_value="ok")
    contract = prepare(table, infer_fields(table), settings=TrainingSettings()).contract
    batch = batch_of(contract, n_rows=5000)
    batch.dense_ND[:] = 9.0

    dense = with_gaps(
        batch, rate=0.2, contract=contract, generator=torch.Generator().manual_seed(0)
    ).dense_ND

    value, mark = contract.dense_names.index("b"), contract.dense_names.index("missing(b)")
    gone = dense[:, mark] == 1.0
    assert gone.float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert torch.all(dense[gone, value] == contract.neutral_N[value].item())
    assert torch.all(dense[~gone, value] == 9.0)
    assert torch.all(dense[:, contract.dense_names.index("a")] == 9.0)


def test_artificial_anomalies_are_new_and_leave_their_models_alone(prepared: Prepared) -> None:
    normals = Rows.of(prepared.training.normals)
    before = normals.dense_ND.clone()

    made = artificial_anomalies(
        normals,
        n_dense_values=len(prepared.contract.number_names),
        generator=torch.Generator().manual_seed(0),
    )

    assert len(made) == len(normals)
    assert torch.equal(normals.dense_ND, before)
    assert made.dense_ND.abs().max() > before.abs().max()
    assert torch.isfinite(made.dense_ND).all()
    (n_codes,) = prepared.contract.cardinalities
    assert int(made.codes_NC.max()) < n_codes
