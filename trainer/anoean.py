"""AnoEAN: Algorithm 1 of the paper, top to bottom.

Letters: B records of a batch (n normals, a anomalies), Z latent dimensions.

An encoder E and a discriminator D play against each other in the latent space. D learns to tell
draws of N(0, I) from anything encoded. E learns to make normals look like draws, and anomalies not.
What is left after training is E; a record's score is its Mahalanobis distance from the latent
vectors of held-out normals (Eq. 3).

References
----------
Gherbi, Hanczar, Janodet and Klaudel, "An Encoding Adversarial Network for Anomaly Detection",
ACML 2019: Algorithm 1, Eq. (1) and the modified encoder loss of section 3.3.
"""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anoean_stream.detector import calibration
from anoean_stream.detector.calibration import fit_gaussian
from anoean_stream.errors import TrainingError
from anoean_stream.features.contract import FeatureContract
from anoean_stream.settings import TrainingSettings
from trainer.artificial import artificial_anomalies
from trainer.batches import LabelledRows, Rows, passes_over, with_gaps
from trainer.evaluate import average_precision
from trainer.losses import discriminator_loss, encoder_loss
from trainer.networks import Discriminator, Encoder

_ADAM_BETA2: Final = 0.999
"""Adam's second beta, its usual value; the paper names only the first. In [0, 1)."""

_FEWEST_STEPS: Final = 100
"""Steps of an epoch, at the least: a table of 1,000 rows makes 6 in a pass, too few to judge an
epoch by or to lose patience after. At least 1."""

_FORWARD_ROWS: Final = 65536
"""Rows encoded at once outside training: 65,536 x 128 float32 are 32 MB. At least 1."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the training normals gave.

    Parameters
    ----------
    number : int
        From 1.
    discriminator_loss, encoder_loss : float
        Means over the steps of L_D and L_E.
    validation_aupr : float
        Of the averaged encoder, in [0, 1].
    is_best : bool
        Whether that is the best so far.
    seconds : float
        Wall clock.
    """

    number: int
    discriminator_loss: float
    encoder_loss: float
    validation_aupr: float
    is_best: bool
    seconds: float


class Watcher(Protocol):
    """Someone who is told how training goes; called in the training thread, must be quick."""

    def step(self, done: int, total: int) -> None:
        """Take note of the steps done in this epoch."""

    def epoch(self, epoch: Epoch) -> None:
        """Take note of a finished epoch; a checkpoint may be taken here."""


@dataclass(slots=True)
class AnoeanState:
    """Everything that changes during training; `capture` and `restore` are for checkpoints."""

    encoder: Encoder
    discriminator: Discriminator
    encoder_adam: torch.optim.Optimizer
    discriminator_adam: torch.optim.Optimizer
    averaged: Encoder
    generator: torch.Generator
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)

    @property
    def best_epoch(self) -> Epoch | None:
        """The epoch whose averaged encoder is kept, None before the first one."""
        return next((epoch for epoch in reversed(self.history) if epoch.is_best), None)

    def best_encoder(self) -> Encoder:
        """Return the averaged encoder of the best epoch."""
        self.averaged.load_state_dict(self.best)
        return self.averaged

    def capture(self) -> dict[str, Any]:
        """Return tensors and plain values that `restore` takes."""
        return {
            "encoder": self.encoder.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "encoder_adam": self.encoder_adam.state_dict(),
            "discriminator_adam": self.discriminator_adam.state_dict(),
            "averaged": self.averaged.state_dict(),
            "generator": self.generator.get_state(),
            "best": self.best,
            "history": [
                [e.number, e.discriminator_loss, e.encoder_loss, e.validation_aupr, e.is_best,
                 e.seconds]
                for e in self.history
            ],
        }  # fmt: skip

    def restore(self, captured: dict[str, Any]) -> None:
        """Continue where `capture` was called: the same losses follow."""
        self.encoder.load_state_dict(captured["encoder"])
        self.discriminator.load_state_dict(captured["discriminator"])
        self.encoder_adam.load_state_dict(captured["encoder_adam"])
        self.discriminator_adam.load_state_dict(captured["discriminator_adam"])
        self.averaged.load_state_dict(captured["averaged"])
        self.generator.set_state(captured["generator"])
        self.best = captured["best"]
        self.history = [Epoch(*values) for values in captured["history"]]


def new_state(
    contract: FeatureContract, *, settings: TrainingSettings, start: Encoder | None = None
) -> AnoeanState:
    """Return freshly initialised networks; the same seed gives the same weights.

    Parameters
    ----------
    contract : FeatureContract
        Says how many inputs there are.
    settings : TrainingSettings
        Shapes and seed.
    start : Encoder, optional
        Of these shapes: the encoder begins with its weights.
    """
    with torch.random.fork_rng(devices=[]):  # torch initialises from its global generator
        torch.manual_seed(settings.seed)
        encoder = _encoder(contract, settings=settings)
        discriminator = Discriminator(settings.latent_dim, hidden=settings.discriminator_hidden)
    if start is not None:
        encoder.load_state_dict(start.state_dict())
    averaged = _encoder(contract, settings=settings)
    averaged.load_state_dict(encoder.state_dict())
    averaged.requires_grad_(requires_grad=False)
    betas = (settings.adam_beta1, _ADAM_BETA2)
    return AnoeanState(
        encoder=encoder,
        discriminator=discriminator,
        # AdamW without decay is Adam, and its decay does not depend on the gradients' scale.
        encoder_adam=torch.optim.AdamW(
            encoder.parameters(),
            lr=settings.learning_rate,
            betas=betas,
            weight_decay=settings.weight_decay,
            fused=True,
        ),
        discriminator_adam=torch.optim.AdamW(
            discriminator.parameters(),
            lr=settings.learning_rate,
            betas=betas,
            weight_decay=0.0,
            fused=True,
        ),
        averaged=averaged,
        generator=torch.Generator().manual_seed(settings.seed),
    )


def train_anoean(
    state: AnoeanState,
    training: LabelledRows,
    *,
    validation: LabelledRows,
    contract: FeatureContract,
    settings: TrainingSettings,
    watcher: Watcher,
) -> None:
    """Train until the validation AUPR has not risen for `patience` epochs, or for `epochs`.

    Blocks for seconds to minutes. On KeyboardInterrupt (which is passed on) `state.best` still
    holds the best encoder so far.

    Parameters
    ----------
    state : AnoeanState
        From `new_state`, or restored; changed in place.
    training, validation : LabelledRows
        Both need normals and anomalies.
    contract : FeatureContract
        Fitted to the training rows.
    settings : TrainingSettings
        All hyperparameters.
    watcher : Watcher
        Told of steps and epochs.

    Raises
    ------
    TrainingError
        When a loss or a latent vector is not finite.
    """
    normals, anomalies = Rows.of(training.normals), Rows.of(training.anomalies)
    while not _is_done(state, settings=settings):
        started_s = time.perf_counter()
        number = len(state.history) + 1
        loss_d, loss_e = _epoch(
            state,
            normals,
            anomalies,
            number=number,
            contract=contract,
            settings=settings,
            watcher=watcher,
        )
        aupr = validation_aupr(state.averaged, validation)
        best = state.best_epoch
        is_best = best is None or aupr > best.validation_aupr
        if is_best:
            state.best = {
                name: tensor.clone() for name, tensor in state.averaged.state_dict().items()
            }
        seconds = time.perf_counter() - started_s
        state.history.append(Epoch(number, loss_d, loss_e, aupr, is_best, seconds))
        watcher.epoch(state.history[-1])


def _epoch(
    state: AnoeanState,
    normals: Rows,
    anomalies: Rows,
    *,
    number: int,
    contract: FeatureContract,
    settings: TrainingSettings,
    watcher: Watcher,
) -> tuple[float, float]:
    """Pass over the normals; return the means of L_D and L_E."""
    rng = state.generator
    n_anomalies = max(1, round(settings.batch_size * settings.anomaly_share))
    n_normals = settings.batch_size - n_anomalies
    n_steps_a_pass = math.ceil(len(normals) / n_normals)
    n_passes = math.ceil(_FEWEST_STEPS / n_steps_a_pass)
    n_steps = n_passes * n_steps_a_pass
    sum_d = sum_e = 0.0
    batches = passes_over(len(normals), n_passes=n_passes, batch_rows=n_normals, generator=rng)
    for step, normal_rows in enumerate(batches, start=1):
        # Sample x_n, x_a and z.
        x_n = normals.take(normal_rows)
        x_a = _anomaly_batch(anomalies, x_n, n_rows=n_anomalies, settings=settings,
                             contract=contract, generator=rng)  # fmt: skip
        batch = with_gaps(
            x_n.joined(x_a), rate=settings.replacement_rate, contract=contract, generator=rng
        )
        z_BZ = torch.randn((len(batch), settings.latent_dim), generator=rng)

        # n_D steps of the discriminator; the encoder is frozen, so it encodes once.
        latents_BZ = state.encoder(batch.dense_ND, batch.codes_NC)
        frozen_n, frozen_a = latents_BZ.detach().split([len(x_n), len(x_a)])
        for _ in range(settings.discriminator_steps):
            loss_d = discriminator_loss(
                state.discriminator(z_BZ),
                state.discriminator(frozen_n),
                state.discriminator(frozen_a),
            )
            state.discriminator_adam.zero_grad()
            loss_d.backward()  # type: ignore[no-untyped-call]
            state.discriminator_adam.step()

        # One step of the encoder; the discriminator is frozen.
        latents_n, latents_a = latents_BZ.split([len(x_n), len(x_a)])
        loss_e = encoder_loss(state.discriminator(latents_n), state.discriminator(latents_a))
        state.encoder_adam.zero_grad()
        loss_e.backward(inputs=list(state.encoder.parameters()))  # type: ignore[no-untyped-call]
        state.encoder_adam.step()

        _average(state.averaged, state.encoder, decay=_decay_at(state, step, n_steps, settings))
        values = (loss_d.item(), loss_e.item())
        _require_finite(values, epoch=number, step=step)
        sum_d += values[0]
        sum_e += values[1]
        watcher.step(step, n_steps)
    return sum_d / n_steps, sum_e / n_steps


def _anomaly_batch(
    anomalies: Rows,
    x_n: Rows,
    *,
    n_rows: int,
    settings: TrainingSettings,
    contract: FeatureContract,
    generator: torch.Generator,
) -> Rows:
    n_artificial = min(round(n_rows * settings.artificial_share), n_rows - 1, len(x_n) - 1)
    n_labelled = n_rows - max(0, n_artificial)
    drawn = anomalies.take(torch.randint(len(anomalies), (n_labelled,), generator=generator))
    if n_artificial <= 0:
        return drawn
    made = artificial_anomalies(x_n, n_dense_values=len(contract.number_names), generator=generator)
    return drawn.joined(made.part(slice(n_artificial)))


def validation_aupr(encoder: Encoder, validation: LabelledRows) -> float:
    """Return the AUPR of the Mahalanobis distance, mu and Sigma from the validation normals."""
    latents_NZ = encode(encoder, validation)
    with _quiet_gaussian():
        mu_Z, cov_ZZ = fit_gaussian(latents_NZ[~validation.is_anomaly_N])
    factor_ZZ = np.linalg.cholesky(cov_ZZ)
    white_ZN = np.linalg.solve(factor_ZZ, (latents_NZ.astype(np.float64) - mu_Z).T)
    return average_precision((white_ZN**2).sum(axis=0), validation.is_anomaly_N)


def encode(encoder: Encoder, rows: LabelledRows) -> NDArray[np.float32]:
    """Return the latent coordinates of records, float32, shape (N, Z).

    Raises
    ------
    TrainingError
        When one is not finite.
    """
    parts = []
    inputs = Rows.of(rows.features)
    with torch.inference_mode():
        for start in range(0, len(inputs), _FORWARD_ROWS):
            part = inputs.part(slice(start, start + _FORWARD_ROWS))
            parts.append(encoder(part.dense_ND, part.codes_NC).numpy())
    latents_NZ: NDArray[np.float32] = np.concatenate(parts)
    n_bad = int(np.sum(~np.isfinite(latents_NZ)))
    if n_bad:
        message = (
            f"{n_bad} latent coordinates of the validation rows are not finite; train with a lower "
            "training.learning_rate"
        )
        raise TrainingError(message)
    return latents_NZ


def _encoder(contract: FeatureContract, *, settings: TrainingSettings) -> Encoder:
    return Encoder(
        contract.n_dense,
        cardinalities=contract.cardinalities,
        hidden=settings.encoder_hidden,
        latent_dim=settings.latent_dim,
    )


def _decay_at(state: AnoeanState, step: int, n_steps: int, settings: TrainingSettings) -> float:
    """Return the decay of the average: short at first, so that the random start is forgotten."""
    done = len(state.history) * n_steps + step
    return min(settings.ema_decay, done / (done + 10.0))


@torch.no_grad()
def _average(averaged: Encoder, encoder: Encoder, *, decay: float) -> None:
    for mean, value in zip(averaged.parameters(), encoder.parameters(), strict=True):
        mean.lerp_(value, 1.0 - decay)


def _is_done(state: AnoeanState, *, settings: TrainingSettings) -> bool:
    best = state.best_epoch
    stalled = best is not None and len(state.history) - best.number >= settings.patience
    return stalled or len(state.history) >= settings.epochs


def _require_finite(losses: tuple[float, float], *, epoch: int, step: int) -> None:
    if not all(map(math.isfinite, losses)):
        message = (
            f"epoch {epoch}, step {step}: L_D is {losses[0]} and L_E is {losses[1]}, expected "
            "finite numbers; lower training.learning_rate, or train with another training.seed"
        )
        raise TrainingError(message, epoch=epoch, step=step)


@contextmanager
def _quiet_gaussian() -> Iterator[None]:
    # An unfinished encoder is often narrow in a direction; only the final one is worth a warning.
    log = logging.getLogger(calibration.__name__)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
