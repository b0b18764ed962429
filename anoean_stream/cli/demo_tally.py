"""What the demo counts: from the topics themselves, not from what anybody says of them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from anoean_stream.cli.dead_letters import parse_dead_letter
from anoean_stream.cli.parcels import ATTACK_HEADER
from anoean_stream.cli.reader import Reader, header_texts
from anoean_stream.settings import Settings

Place = tuple[int, int]
"""Partition and offset in the input topic."""

_MALFORMED: Final = "malformed"
_NORMAL: Final = "normal"


class Sighting(msgspec.Struct, frozen=True):
    """One alert as the demo saw it arrive.

    Parameters
    ----------
    place : (int, int)
        Partition and offset of the record.
    alert_id : str
        A repeat has the same.
    version : str
        Version of the model that raised it.
    latency_ms : float
        From the record's Kafka timestamp until the demo had the alert.
    """

    place: Place
    alert_id: str
    version: str
    latency_ms: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a demo; ``anoean demo --json`` prints it."""

    passed: bool
    records_in: int
    scored: int
    alerts: int
    dead_letters: int
    dead_letters_by_reason: dict[str, int]
    lost: int
    repeated_alerts: int
    precision: float | None
    recall: float | None
    recall_by_attack: dict[str, float]
    unseen_attack: str
    recall_unseen: float | None
    false_positive_rate: float | None
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    records_per_s: float
    swapped: bool
    alerts_by_version: dict[str, int]
    training_seconds: float
    seconds: float
    failures: list[str]


def read_truth(settings: Settings) -> dict[Place, str]:
    """Return the kind of each record of the input topic: an attack, normal, or malformed."""
    truth: dict[Place, str] = {}
    with Reader(settings, settings.topics.input, group="demo-truth") as reader:
        bounds = reader.bounds()
        starts = {partition: low for partition, (low, _) in bounds.items()}
        ends = {partition: high for partition, (_, high) in bounds.items()}
        for partition, offset, message in reader.read_until(starts, ends):
            truth[partition, offset] = header_texts(message).get(ATTACK_HEADER, _MALFORMED)
    return truth


def read_dead(settings: Settings) -> tuple[set[Place], Counter[str]]:
    """Return which records are in the dead-letter topic, and how many letters of each reason."""
    places: set[Place] = set()
    reasons: Counter[str] = Counter()
    with Reader(settings, settings.topics.dead_letters, group="demo-dead") as reader:
        bounds = reader.bounds()
        starts = {partition: low for partition, (low, _) in bounds.items()}
        ends = {partition: high for partition, (_, high) in bounds.items()}
        for _, _, message in reader.read_until(starts, ends):
            letter = parse_dead_letter(message)
            reasons[letter.reason] += 1
            if letter.origin_partition is not None and letter.origin_offset is not None:
                places.add((letter.origin_partition, letter.origin_offset))
    return places, reasons


def summarise(
    truth: Mapping[Place, str],
    sightings: list[Sighting],
    dead: set[Place],
    *,
    reasons: Mapping[str, int],
    metrics: Mapping[str, float],
    unseen: str,
    swapped: bool,
    new_version: str,
    training_seconds: float,
    live_seconds: float,
    seconds: float,
) -> Summary:
    """Put the figures together, and say what is wrong with them.

    Parameters
    ----------
    truth : mapping of Place to str
        What was in the input topic.
    sightings : list of Sighting
        Alerts as they arrived.
    dead : set of Place
        Records that are in the dead-letter topic.
    reasons : mapping of str to int
        Dead letters by reason.
    metrics : mapping of str to float
        The worker's counters at the end.
    unseen : str
        The kind of attack that training never saw.
    swapped : bool
        Whether the worker said that it had taken the second model.
    new_version : str
        The second model.
    training_seconds, live_seconds, seconds : float
        Of the first training, of the traffic, of everything.
    """
    scored = round(metrics.get("anoean_scored_total", 0))
    n_dead = round(sum(n for name, n in metrics.items() if name.startswith("anoean_dead_letters_total")))
    n_alerts = round(metrics.get("anoean_alerts_total", 0))
    versions = Counter(sighting.version for sighting in sightings)
    alerted = {sighting.place for sighting in sightings}
    distinct = {sighting.alert_id for sighting in sightings}
    malformed = {place for place, kind in truth.items() if kind == _MALFORMED}
    failures = _failures(
        (len(truth) - scored - n_dead, "records were neither scored nor dead letters"),
        (len(malformed - dead), "malformed records are missing in the dead-letter topic"),
        (len(dead - malformed), "good records are in the dead-letter topic"),
        (n_alerts - len(sightings), "alerts that the worker counted are not in the topic"),
        (len(alerted - truth.keys()), "alerts are about records that were never published"),
    )
    lost = abs(len(truth) - scored - n_dead) + len(malformed - dead) + abs(n_alerts - len(sightings))
    if not swapped or new_version not in versions:
        failures.append(f"no alert came from model version {new_version}: the swap did not happen")
    attacks = {place: kind for place, kind in truth.items() if kind not in {_NORMAL, _MALFORMED}}
    n_of_kind = Counter(attacks.values())
    n_found = Counter(attacks[place] for place in alerted if place in attacks)
    n_normal = sum(kind == _NORMAL for kind in truth.values())
    n_false = len(alerted - attacks.keys())
    latencies = np.array([sighting.latency_ms for sighting in sightings])
    recalls = {kind: n_found[kind] / n for kind, n in sorted(n_of_kind.items())}
    return Summary(
        passed=not failures,
        records_in=len(truth),
        scored=scored,
        alerts=len(distinct),
        dead_letters=n_dead,
        dead_letters_by_reason=dict(reasons),
        lost=lost,
        repeated_alerts=len(sightings) - len(distinct),
        precision=_share(n_found.total(), len(alerted)),
        recall=_share(n_found.total(), len(attacks)),
        recall_by_attack={kind: round(recall, 4) for kind, recall in recalls.items()},
        unseen_attack=unseen,
        recall_unseen=_share(n_found[unseen], n_of_kind[unseen]),
        false_positive_rate=_share(n_false, n_normal, digits=6),
        latency_ms_p50=_percentile(latencies, 50),
        latency_ms_p99=_percentile(latencies, 99),
        records_per_s=round(len(truth) / max(live_seconds, 1e-9), 1),
        swapped=swapped,
        alerts_by_version=dict(sorted(versions.items())),
        training_seconds=round(training_seconds, 1),
        seconds=round(seconds, 1),
        failures=failures,
    )


def parse_sighting(alert: Mapping[str, Any], *, seen_ms: float, sent_ms: float) -> Sighting:
    """Note an alert's arrival; `sent_ms` is the record's time when the alert does not tell it."""
    source = alert["source"]
    return Sighting(
        place=(source["partition"], source["offset"]),
        alert_id=alert["alert_id"],
        version=alert["model"]["version"],
        latency_ms=seen_ms - sent_ms,
    )


def _failures(*counts: tuple[int, str]) -> list[str]:
    return [f"{n:,} {what}" for n, what in counts if n != 0]


def _share(part: int, whole: int, *, digits: int = 4) -> float | None:
    return round(part / whole, digits) if whole else None


def _percentile(values: np.ndarray[Any, np.dtype[np.float64]], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 1) if len(values) else None
