"""Small labelled tables, and someone who watches training."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainer.anoean import Epoch

HEADER = ("duration", "bytes", "service", "encrypted", "src_ip", "label")

Row = tuple[object, ...]

WriteCsv = Callable[..., Path]
"""Type of the fixture ``write_csv``."""


def flow_rows(n_rows: int, *, seed: int, label: str = "normal") -> list[Row]:
    """Return rows of `HEADER`: browsing and mail, or an upload (``exfiltration``), or a ``scan``."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for _ in range(n_rows):
        service = str(rng.choice(["http", "dns", "smtp"]))
        duration, size = rng.gamma(2.0, 1.0), rng.lognormal(7.0, 0.5)
        if label == "exfiltration":
            duration, size = rng.gamma(2.0, 60.0), rng.lognormal(14.0, 0.5)
        if label == "scan":
            duration, size, service = rng.random() * 1e-3, 40.0 + rng.integers(8), "telnet"
        address = f"10.0.{rng.integers(256)}.{rng.integers(256)}"
        rows.append(
            (f"{duration:.6f}", f"{size:.3f}", service, int(rng.random() < 0.5), address, label)
        )
    return rows


def labelled_rows(*, seed: int = 0, n_normals: int = 1500, n_anomalies: int = 80) -> list[Row]:
    """Return normals and two kinds of anomaly, shuffled."""
    rows = [
        *flow_rows(n_normals, seed=seed),
        *flow_rows(n_anomalies, seed=seed + 1, label="scan"),
        *flow_rows(n_anomalies, seed=seed + 2, label="exfiltration"),
    ]
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[place] for place in order.tolist()]


@dataclass
class Watch:
    """Remembers what it is told; raises at a step or after an epoch when asked to."""

    interrupt_in_epoch: int | None = None
    stages: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, done: int, total: int) -> None:
        if self.interrupt_in_epoch == len(self.epochs) + 1 and done == total // 2:
            raise KeyboardInterrupt

    def epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
