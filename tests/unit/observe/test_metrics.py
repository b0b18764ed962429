"""The metrics are a closed list, and the documentation holds all of it."""

from pathlib import Path

from anoean_stream.observe.metrics import Metrics

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def names() -> set[str]:
    return {family.name for family in Metrics().registry.collect()}


def test_every_metric_is_documented() -> None:
    text = OPERATIONS.read_text()

    missing = {name for name in names() if f"`{name}" not in text}

    assert missing == set()


def test_names_carry_prefix_and_unit() -> None:
    assert all(name.startswith("anoean_") for name in names())
    for family in Metrics().registry.collect():
        if family.type == "histogram" and family.name != "anoean_score_margin":  # a ratio
            assert family.name.endswith(("_seconds", "_records")), family.name


def test_two_workers_in_one_process_keep_their_metrics_apart() -> None:
    first, second = Metrics(), Metrics()

    first.records.inc(5)

    assert b"anoean_records_total 5.0" in first.exposition()
    assert b"anoean_records_total 0.0" in second.exposition()
