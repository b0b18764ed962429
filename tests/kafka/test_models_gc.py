"""`anoean models gc` tells the audit topic of a real Kafka what it removed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from anoean_stream.cli import main
from anoean_stream.records.audit import AuditRecord
from anoean_stream.registry.registry import who_am_i
from tests.support.kafka_broker import KafkaBroker
from tests.support.registries import make_registry
from tests.support.topics import read_all


def test_what_was_removed_is_on_the_audit_topic(
    kafka_broker: KafkaBroker,
    new_topic: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    registry = make_registry(tmp_path, n_versions=4)
    audit = new_topic("audit", partitions=1)
    words = ["models", "gc", "edge", "--keep", "2"]
    words += ["--set", f"broker.bootstrap_servers={kafka_broker.bootstrap}"]
    words += ["--set", f"topics.audit={audit}"]

    assert main([*words, "--dry-run"]) == 0
    assert main(words) == 0
    assert main(words) == 0  # nothing left to remove, so nothing to tell

    assert registry.version_numbers("edge") == ["1", "3", "4"]
    (told,) = [
        AuditRecord.from_json(one.value or b"") for one in read_all(kafka_broker.bootstrap, audit)
    ]
    assert (told.action, told.model, told.who) == ("deleted", "edge", who_am_i())
    assert told.detail["versions"] == ["2"]
    assert told.detail["kept"] == ["1", "3", "4"]
    assert told.detail["freed_bytes"] > 1000
