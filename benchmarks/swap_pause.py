"""How long scoring stands still when a model is exchanged, beside how long it does without one.

One worker on a real broker under a steady load. The same worker, the same traffic: first some seconds
without any swap, then swaps one after the other through the control topic. A pause is the time between
two chunks in which the scoring thread judged none; idle time counts, so it is held against the gaps
between any two chunks. Writes ``build/swap_pause.json``.

    python -m benchmarks.swap_pause --rate 20000 --swaps 40
"""

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from anoean_stream.records.audit import AuditRecord
from anoean_stream.records.control import ControlMessage
from anoean_stream.registry.registry import Registry
from benchmarks.flows import make_flows, write_model
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import create_topic
from tests.support.steady_traffic import SteadyTraffic
from tests.support.topics import publish, read_all
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

MODEL: Final = "bench"
PARTITIONS: Final = 4
N_VALUES: Final = 9973
"""Different records; a prime number, see `SteadyTraffic`."""
_GAPS: Final = "anoean_scoring_gap_seconds_bucket"


def gap_quantiles(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return upper bounds of quantiles of the gaps between two scrapes, milliseconds."""
    counts = sorted(
        (float(name.split('"')[1]), after[name] - before.get(name, 0.0))
        for name in after
        if name.startswith(_GAPS)
    )
    total = counts[-1][1]
    return {
        f"p{100 * share:g}_ms": 1000 * next(le for le, count in counts if count >= share * total)
        for share in (0.5, 0.99, 0.999)
    }


def wait_for_swaps(worker: WorkerProcess, n: int) -> None:
    """Wait until so many models were taken into use, the first one included."""
    wait_until(
        lambda: worker.metrics().get("anoean_model_swaps_total") == n,
        what=f"{n} models in use",
        within_s=30,
        hint=worker.tail,
    )


def measure(broker: KafkaBroker, folder: Path, *, rate: float, n_swaps: int) -> dict[str, Any]:
    """Run it; return the figures."""
    registry = Registry(str(folder / "models"))
    versions = []
    for seed in range(2):
        write_model(folder / f"bundle-{seed}", seed=seed)
        versions.append(registry.publish(folder / f"bundle-{seed}", MODEL))
    registry.set_alias(MODEL, "champion", versions[0])
    stem = uuid.uuid4().hex[:8]
    topics = {
        use: f"{stem}-{use}"
        for use in ("input", "alerts", "dead_letters", "audit", "control", "workers")
    }
    for name in topics.values():
        create_topic(broker.bootstrap, name, partitions=PARTITIONS)
    settings = {f"topics.{use}": name for use, name in topics.items()}
    settings |= {"model.name": MODEL, "consumer.group_id": stem, "swap.watch_s": "0"}
    settings["registry.poll_interval_s"] = "3600"
    values = [msgspec.json.encode(flow) for flow in make_flows(N_VALUES, seed=3)]
    with WorkerProcess(broker.bootstrap, folder / "models", settings) as worker:
        worker.ready()
        traffic = SteadyTraffic(
            broker.bootstrap,
            topics["input"],
            values=values,
            partitions=PARTITIONS,
            rate_per_s=rate,
        ).start()
        worker.wait_for_records(int(2 * rate))
        calm = worker.metrics()
        worker.wait_for_records(int(12 * rate))
        calm_ended = worker.metrics()
        for number in range(n_swaps):
            version = versions[(number + 1) % 2]
            registry.set_alias(MODEL, "champion", version)
            record = ControlMessage.now(MODEL, who="bench").to_record()
            publish(broker.bootstrap, topics["control"], [record.value])
            wait_for_swaps(worker, number + 2)
            done = worker.metrics()["anoean_records_total"]
            worker.wait_for_records(int(done + rate / 2))
        traffic.stop()
        worker.stop()
    audit = [
        AuditRecord.from_json(record.value or b"")
        for record in read_all(broker.bootstrap, topics["audit"])
    ]
    pauses = sorted(
        one.detail["pause_ms"]
        for one in audit
        if one.action == "swapped" and one.detail["pause_ms"] is not None
    )
    return {
        "rate_per_s": rate,
        "swaps": len(pauses),
        "pause_ms": {"median": median(pauses), "longest": pauses[-1]},
        "pauses_ms": pauses,
        "gaps_without_swaps": gap_quantiles(calm, calm_ended),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=20_000.0, help="records a second")
    parser.add_argument("--swaps", type=int, default=40)
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, KafkaBroker() as broker:
        found = measure(broker, Path(folder), rate=asked.rate, n_swaps=asked.swaps)
    target = Path("build/swap_pause.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(found, indent=1))
    pause, gaps = found["pause_ms"], found["gaps_without_swaps"]
    print(
        f"{found['swaps']} swaps at {asked.rate:,.0f} records/s in {time.monotonic() - began:.0f} s: "
        f"median {pause['median']:.1f} ms, longest {pause['longest']:.1f} ms without scoring"
    )
    print(f"gaps between any two chunks, without swaps: {gaps}")


if __name__ == "__main__":
    main()
