"""A worker with registry.trusted_keys: an unsigned new champion is refused, and the old one scores on."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from anoean_stream.detector.signature import new_private_key
from anoean_stream.kafka.embedded import EmbeddedBroker
from anoean_stream.registry.registry import Registry
from tests.support.models import make_bundle, make_rows
from tests.support.topics import publish, read_all
from tests.support.worker import WorkerProcess

MODEL = "anoean"


@dataclass
class Stage:
    """A broker with topics, a registry, two keys, and a worker that trusts both."""

    bootstrap: str
    flows: str
    alerts: str
    folder: Path
    worker: WorkerProcess
    n_published: int = field(default=0)

    @property
    def registry(self) -> Registry:
        return Registry(str(self.folder / "models"))

    def add_champion(self, *, seed: int, key: str | None) -> str:
        """Publish a model, sign it, let the alias name it: not by a command that would verify it."""
        make_bundle(self.folder / f"bundle-{seed}", name=MODEL, seed=seed)
        version = self.registry.publish(self.folder / f"bundle-{seed}", MODEL)
        if key is not None:
            self.registry.sign(MODEL, version, self.folder / key)
        self.registry.set_alias(MODEL, "champion", version)
        return version

    def versions_scoring(self, n_records: int = 20) -> set[str]:
        """Publish records, and return which versions made alerts of them."""
        before = self._alerts_by_version()
        rows = [msgspec.json.encode(row) for row in make_rows(n_records)]
        publish(self.bootstrap, self.flows, rows)
        self.n_published += n_records
        self.worker.wait_for_records(self.n_published)
        new = self._alerts_by_version() - before
        assert new.total() == n_records
        return set(new)

    def _alerts_by_version(self) -> Counter[str]:
        read = read_all(self.bootstrap, self.alerts)
        return Counter(json.loads(record.value or b"")["model"]["version"] for record in read)


@pytest.fixture
def stage(
    embedded_broker: EmbeddedBroker,
    new_topic: Callable[[str], str],
    new_group: Callable[[], str],
    tmp_path: Path,
) -> Iterator[Stage]:
    trusted = [new_private_key(tmp_path / name) for name in ("old.pem", "new.pem")]
    new_private_key(tmp_path / "stranger.pem")
    flows, alerts = new_topic("flows"), new_topic("alerts")
    settings = {
        "topics.input": flows,
        "topics.alerts": alerts,
        "topics.dead_letters": new_topic("dlq"),
        "consumer.group_id": new_group(),
        "scoring.false_positive_rate": 1.0,
        "registry.trusted_keys": json.dumps(trusted),
    }
    with WorkerProcess(embedded_broker.bootstrap, tmp_path / "models", settings) as worker:
        yield Stage(embedded_broker.bootstrap, flows, alerts, tmp_path, worker)


def test_only_what_a_trusted_key_signed_comes_to_score(stage: Stage) -> None:
    first = stage.add_champion(seed=0, key="old.pem")
    stage.worker.ready()
    assert stage.versions_scoring() == {first}

    for seed, key, why in (
        (1, None, "manifest.sig is missing"),
        (2, "stranger.pem", "none of registry.trusted_keys"),
    ):
        version = stage.add_champion(seed=seed, key=key)
        refusal = stage.worker.wait_for_line("model_refused", version=version)
        assert why in refusal["reason"]
        assert f"versions/{version}: manifest.sig" in refusal["reason"]
        assert refusal["serving"] == f"{MODEL}@{first}"
    assert stage.versions_scoring() == {first}
    assert stage.worker.probe("/ready")[0] == 200

    # The key that replaces the old one; what was refused may be signed later.
    stage.registry.sign(MODEL, version, stage.folder / "new.pem")
    stage.worker.wait_for_line("model_in_use", model=f"{MODEL}@{version}")
    assert stage.versions_scoring() == {version}


def test_what_was_changed_after_it_was_signed_is_refused(stage: Stage) -> None:
    first = stage.add_champion(seed=0, key="old.pem")
    stage.worker.ready()

    # Whole and sound in itself: other weights, with all hashes and digests right, and the signature
    # of the manifest that was there before.
    make_bundle(stage.folder / "other", name=MODEL, seed=2)
    version = stage.add_champion(seed=1, key="old.pem")
    stage.worker.wait_for_line("model_in_use", model=f"{MODEL}@{version}")
    stage.registry.set_alias(MODEL, "champion", first)
    stage.worker.wait_for_line("model_in_use", before=f"{MODEL}@{version}")
    place = stage.folder / "models" / MODEL / "versions" / version
    for file in (stage.folder / "other").iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    stage.registry.set_alias(MODEL, "champion", version)

    refusal = stage.worker.wait_for_line("model_refused", version=version)

    assert "manifest.sig is not the signature of this manifest.json" in refusal["reason"]
    assert stage.versions_scoring() == {first}
