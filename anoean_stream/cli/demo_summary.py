"""What the demo counted: read back from the topics, and held against what the worker says."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Message
from rich.table import Table

from anoean_stream.cli.parcels import ATTACK_HEADER
from anoean_stream.cli.reader import Reader, header_texts
from anoean_stream.settings import Settings
from anoean_stream.simulate import ATTACK_KINDS

Place = tuple[int, int]
"""Partition and offset of a record of the input topic."""

_NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of one demo; `lost` is what must be 0.

    Parameters
    ----------
    records_in : int
        Records in the input topic, read back.
    scored, dead_letters, alerts : int
        As the worker counted, which must be what the topics hold.
    lost : int
        Records without an outcome, and alerts or dead letters that are counted but not there, or
        there but not counted.
    attacks : int
        Scored records that are attacks.
    precision, recall, recall_unseen : float
        Of the alerts, of the attacks, and of those of the kind that training never saw; [0, 1].
    latency_p50_ms, latency_p99_ms : float
        From the record's publication to its alert's.
    versions : dict of str to int
        Alerts by model version.
    """

    records_in: int
    scored: int
    alerts: int
    dead_letters: int
    lost: int
    attacks: int
    precision: float
    recall: float
    unseen_kind: str
    attacks_in_training: tuple[str, ...]
    recall_unseen: float
    latency_p50_ms: float
    latency_p99_ms: float
    versions: dict[str, int]
    seconds: float

    @property
    def is_swapped(self) -> bool:
        """Whether two versions raised alerts."""
        return len(self.versions) > 1

    def as_dict(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {**asdict(self), "swapped": self.is_swapped}

    def render(self) -> Table:
        """Return it for a person."""
        table = Table(title="What happened", show_header=False, title_justify="left")
        table.add_column(style="bold")
        table.add_column(justify="right")
        for name, value in (
            ("records in", f"{self.records_in:,}"),
            ("scored", f"{self.scored:,}"),
            ("alerts", f"{self.alerts:,}"),
            ("dead letters (malformed records)", f"{self.dead_letters:,}"),
            ("precision of the alerts", f"{self.precision:.1%}"),
            ("recall of all attacks", f"{self.recall:.1%}"),
            (f"recall of {self.unseen_kind}, never seen in training", f"{self.recall_unseen:.1%}"),
            ("latency p50 / p99", f"{self.latency_p50_ms:.0f} / {self.latency_p99_ms:.0f} ms"),
            (
                "alerts by model version",
                ", ".join(f"v{version}: {n:,}" for version, n in self.versions.items()),
            ),
            ("lost records", f"{self.lost}"),
            ("seconds", f"{self.seconds:.0f}"),
        ):
            table.add_row(name, value)
        return table


def summarise(
    settings: Settings, metrics: Mapping[str, float], *, unseen_kind: str, seconds: float
) -> Summary:
    """Read the three topics back and count.

    Parameters
    ----------
    settings : Settings
        Brokers and topics.
    metrics : mapping
        The worker's metrics after its last record.
    unseen_kind : str
        Kind of attack that training never saw.
    seconds : float
        How long the demo took.
    """
    truth = {
        (partition, offset): header_texts(message).get(ATTACK_HEADER)
        for partition, offset, message in _read(settings, settings.topics.input)
    }
    alerts = [
        (msgspec.json.decode(message.value() or b""), message.timestamp()[1])
        for _, _, message in _read(settings, settings.topics.alerts)
    ]
    n_dead_read = len(_read(settings, settings.topics.dead_letters))
    scored = int(metrics["anoean_scored_total"])
    n_alerts = int(metrics["anoean_alerts_total"])
    n_dead = int(sum(v for k, v in metrics.items() if k.startswith("anoean_dead_letters_total{")))
    flagged: set[Place] = {_place(alert) for alert, _ in alerts}
    lost = (
        abs(len(truth) - scored - n_dead)
        + abs(n_alerts - len(flagged))
        + abs(n_dead - n_dead_read)
        + len(flagged - truth.keys())
    )
    attacks = {place for place, kind in truth.items() if kind not in (None, _NORMAL)}
    unseen = {place for place, kind in truth.items() if kind == unseen_kind}
    latencies_ms = [arrived_ms - _published_ms(alert) for alert, arrived_ms in alerts]
    versions: dict[str, int] = {}
    for alert, _ in alerts:
        version = str(alert["model"]["version"])
        versions[version] = versions.get(version, 0) + 1
    p50, p99 = np.percentile(latencies_ms, [50, 99]) if latencies_ms else (0.0, 0.0)
    return Summary(
        records_in=len(truth),
        scored=scored,
        alerts=n_alerts,
        dead_letters=n_dead,
        lost=lost,
        attacks=len(attacks),
        precision=_share(flagged & attacks, flagged),
        recall=_share(flagged & attacks, attacks),
        unseen_kind=unseen_kind,
        attacks_in_training=tuple(kind for kind in ATTACK_KINDS if kind != unseen_kind),
        recall_unseen=_share(flagged & unseen, unseen),
        latency_p50_ms=round(float(p50), 1),
        latency_p99_ms=round(float(p99), 1),
        versions=dict(sorted(versions.items())),
        seconds=round(seconds, 1),
    )


def _read(settings: Settings, topic: str) -> list[tuple[int, int, Message]]:
    with Reader(settings, topic, group=f"{settings.consumer.group_id}.demo") as reader:
        bounds = reader.bounds()
        starts = {partition: low for partition, (low, _) in bounds.items()}
        ends = {partition: high for partition, (_, high) in bounds.items()}
        return list(reader.read_until(starts, ends))


def _place(alert: Mapping[str, Any]) -> Place:
    source = alert["source"]
    return source["partition"], source["offset"]


def _published_ms(alert: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(alert["source"]["timestamp"]).timestamp() * 1000


def _share(part: set[Place], whole: set[Place]) -> float:
    return round(len(part) / len(whole), 4) if whole else 0.0
