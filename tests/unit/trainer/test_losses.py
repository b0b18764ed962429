"""The losses are those of the paper, and stay finite where the formulas do not."""

import math

import pytest
import torch

from trainer.losses import discriminator_loss, encoder_loss


def sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


PRIOR, NORMAL, ANOMALY = [0.3, -1.2, 2.0], [0.7, -0.4], [-1.5, 0.1, 0.6, 3.0]


def test_discriminator_loss_is_equation_1() -> None:
    expected = (
        -mean([math.log(sigmoid(d)) for d in PRIOR])
        - mean([math.log(1 - sigmoid(d)) for d in NORMAL])
        - mean([math.log(1 - sigmoid(d)) for d in ANOMALY])
    )

    loss = discriminator_loss(torch.tensor(PRIOR), torch.tensor(NORMAL), torch.tensor(ANOMALY))

    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_encoder_loss_is_the_modified_one() -> None:
    expected = -mean([math.log(sigmoid(d)) for d in NORMAL]) - mean(
        [math.log(1 - sigmoid(d)) for d in ANOMALY]
    )

    loss = encoder_loss(torch.tensor(NORMAL), torch.tensor(ANOMALY))

    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_a_discriminator_that_knows_nothing_costs_log_2_a_term() -> None:
    zeros = torch.zeros(5)

    assert discriminator_loss(zeros, zeros, zeros).item() == pytest.approx(3 * math.log(2))
    assert encoder_loss(zeros, zeros).item() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_a_discriminator_that_is_sure_gives_finite_losses_and_gradients(logit: float) -> None:
    logits = torch.full((3,), logit, requires_grad=True)

    loss = discriminator_loss(logits, logits, logits) + encoder_loss(logits, logits)
    loss.backward()  # type: ignore[no-untyped-call]

    assert math.isfinite(loss.item())
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_each_class_has_its_own_mean() -> None:
    few = encoder_loss(torch.tensor([0.0, 0.0]), torch.tensor([2.0]))
    many = encoder_loss(torch.tensor([0.0, 0.0]), torch.tensor([2.0] * 50))

    assert few.item() == pytest.approx(many.item())
