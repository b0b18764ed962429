"""How the trainer trains."""

from typing import Annotated

from pydantic import Field

from anoean_stream.settings.section import Section

Units = Annotated[int, Field(ge=1, le=65536)]
"""Size of one hidden layer."""


class TrainingSettings(Section):
    """Algorithm 1 of the paper (Gherbi et al., ACML 2019) and what surrounds it."""

    latent_dim: int = Field(16, ge=1, le=1024)
    """dimensions of the latent space"""
    encoder_hidden: tuple[Units, ...] = (128, 64, 32)
    """units of the encoder's hidden layers"""
    discriminator_hidden: tuple[Units, ...] = (32, 16)
    """units of the discriminator's hidden layers"""
    batch_size: int = Field(200, ge=8, le=1_000_000)
    """records in a batch, normals and anomalies together"""
    anomaly_share: float = Field(0.1, gt=0, lt=1)
    """share of anomalies in a batch and in the training set"""
    discriminator_steps: int = Field(1, ge=1, le=100)
    """discriminator steps to one encoder step (n_D)"""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Adam's learning rate"""
    adam_beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's beta1"""
    epochs: int = Field(40, ge=1, le=100_000)
    """most passes over the training normals; a small table is passed over several times for one epoch"""
    patience: int = Field(8, ge=1, le=100_000)
    """epochs without a better validation AUPR before training stops"""
    ema_decay: float = Field(0.999, ge=0, lt=1)
    """decay of the averaged weights that are exported; 0 exports the last ones"""
    weight_decay: float = Field(0.0, ge=0, le=10)
    """decoupled weight decay of the encoder (AdamW); 0 is plain Adam"""
    replacement_rate: float = Field(0.01, ge=0, le=0.5)
    """share of the cells of a training batch made unknown (a category) or missing (any field that can be)"""
    artificial_share: float = Field(0.0, ge=0, lt=1)
    """share of the anomalies of a batch that are made from normals; 0 trains on labelled ones only"""
    threads: int | None = Field(None, ge=1, le=1024)
    """threads of torch; null takes one for every 1000 records of a batch, and at most the cores"""
    validation_share: float = Field(0.2, gt=0, lt=1)
    """share of the rows held out for stopping, mu, Sigma and the threshold"""
    false_positive_rate: float = Field(0.001, gt=0, lt=1)
    """share of normal records that may raise an alert: the model's own threshold"""
    max_rows: int = Field(2_000_000, ge=100)
    """a file with more rows is refused, of a topic as many are drawn: they must fit into memory"""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """seed of every random choice"""
