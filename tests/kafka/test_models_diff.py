"""`anoean models diff` on a range of a real topic: counts of a brute-force computation."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from anoean_stream.registry import Registry
from tests.support.kafka_broker import KafkaBroker
from tests.support.models import make_bundle, make_rows
from tests.support.site import Site, make_site
from tests.support.topics import Record, publish, read_all

N_RECORDS = 600


def rows() -> list[dict[str, Any]]:
    """Return normal rows, every fourth made more and more unusual."""
    found = make_rows(N_RECORDS, seed=11)
    for number in range(0, N_RECORDS, 4):
        found[number] |= {"duration": 2.0 * 1.2 ** (number % 80), "service": "backdoor"}
    return found


@pytest.fixture
def site(kafka_broker: KafkaBroker, new_group: Callable[[str], str], tmp_path: Path) -> Site:
    site = make_site(kafka_broker.bootstrap, new_group("diff"), tmp_path)
    make_bundle(tmp_path / "second", name="anoean", seed=1)
    registry = Registry(str(site.settings["registry.url"]))
    registry.set_alias("anoean", "shadow", registry.publish(tmp_path / "second", "anoean"))
    values = [msgspec.json.encode(row) for row in rows()]
    publish(site.bootstrap, site.topic("input"), [*values, b"{", None], partitions=2)
    return site


def expected(site: Site, records: list[Record]) -> dict[str, int]:
    """Return the counts over some records, one model after the other."""
    registry = Registry(str(site.settings["registry.url"]))
    good = [msgspec.json.decode(one.value) for one in records if one.value not in {b"{", None}]
    alerts = []
    for version in ("1", "2"):
        detector = registry.load("anoean", version).detector
        raw = detector.contract.raw_from_rows(good)
        distances = detector.distances(detector.contract.transform(raw))
        alerts.append(distances > registry.manifest("anoean", version).threshold)
    return {
        "records_read": len(records),
        "records": len(good),
        "champion_alerts": int(alerts[0].sum()),
        "candidate_alerts": int(alerts[1].sum()),
        "both_alerts": int(np.sum(alerts[0] & alerts[1])),
    }


def test_an_offset_range_of_every_partition_is_replayed_and_counted(
    site: Site, tmp_path: Path
) -> None:
    out = tmp_path / "report"

    summary = site.json(
        *("models", "diff", "champion", "shadow", "--topic", site.topic("input")),
        *("--from", "offset:40", "--to", "offset:250", "--out", str(out)),
    )

    records = read_all(site.bootstrap, site.topic("input"))
    counts = expected(site, [one for one in records if 40 <= one.offset < 250])
    assert counts["records_read"] == 420
    assert counts["champion_alerts"] > 0 < counts["candidate_alerts"]
    assert {key: summary[key] for key in counts} == counts
    assert summary["input"] == {
        "kind": "topic",
        "topic": site.topic("input"),
        "offsets": {"0": [40, 250], "1": [40, 250]},
    }
    document = json.loads((out / "diff.json").read_text())
    assert document["plots"]["alert_rate"]["unit"] == "ms"
    assert sum(document["plots"]["alert_rate"]["records"]) == counts["records"]
    assert "<svg" in (out / "diff.html").read_text()
    places = {(one["partition"], one["offset"]) for one in document["examples"]}
    assert places <= {(one.partition, one.offset) for one in records if 40 <= one.offset < 250}


def test_all_of_the_input_topic_is_replayed_without_a_range_and_times_are_understood(
    site: Site, tmp_path: Path
) -> None:
    records = read_all(site.bootstrap, site.topic("input"))
    counts = expected(site, records)
    soon = (datetime.now(tz=UTC) + timedelta(minutes=1)).isoformat()
    words = ("models", "diff", "1", "2", "--out", str(tmp_path / "report"))

    everything = site.json(*words)
    lately = site.json(*words, "--from", "1h", "--to", soon)

    assert counts["records_read"] == N_RECORDS + 2
    for found in (everything, lately):
        assert {key: found[key] for key in counts} == counts
    assert everything["champion_rejected"] == {"not_json": 1, "tombstone": 1}
    assert len(everything["record_times"]) == 2


def test_an_empty_range_and_a_missing_topic_are_refused_with_a_sentence(
    site: Site, tmp_path: Path
) -> None:
    words = ("models", "diff", "1", "2", "--out", str(tmp_path / "report"))

    empty = site.run(*words, "--from", "offset:5", "--to", "offset:5", exit_code=2)
    backwards = site.run(*words, "--from", "offset:90", "--to", "offset:7", exit_code=2)
    past = site.run(*words, "--to", "1h", exit_code=2)
    missing = site.run(*words, "--topic", "no-such-topic", exit_code=4)

    assert "has no record from offset 5 before offset 5" in empty
    assert "partition 0: 0 to 300" in empty
    assert "has no record from offset 90 before offset 7" in backwards
    assert "has no record before" in past
    assert "no-such-topic" in missing
    assert not (tmp_path / "report").exists()
