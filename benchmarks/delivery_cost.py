"""What exactly once costs beside at least once: records a second, and milliseconds to a visible alert.

One worker process each, in turns, on one topic of one real broker. Throughput: a full topic read to
its end. Latency: records at a steady rate, from the record's Kafka timestamp to the moment when a
reader of committed records has its alert. Writes ``build/delivery_cost.json``.

    python -m benchmarks.delivery_cost --records 300000 --rounds 3
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, Producer

from anoean_stream.registry.registry import Registry
from benchmarks.flows import make_flows, write_model
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import create_topic
from tests.support.topics import publish
from tests.support.worker import WorkerProcess

MODES: Final = ("at_least_once", "exactly_once")
_PARTITIONS: Final = 4
_DEADLINE_S: Final = 300.0
_WARM_SHARE, _END_SHARE = 0.1, 0.95


class Bench:
    """A broker, a registry and the flows to send."""

    def __init__(self, broker: KafkaBroker, folder: Path) -> None:
        self.bootstrap = broker.bootstrap
        self.registry = folder / "models"
        write_model(folder / "bundle")
        registry = Registry(str(self.registry))
        registry.set_alias("bench", "champion", registry.publish(folder / "bundle", "bench"))
        self.values = [msgspec.json.encode(flow) for flow in make_flows(20_000, seed=3)]

    def topics(self) -> dict[str, str]:
        """Create three fresh topics; the settings that name them."""
        stem = uuid.uuid4().hex[:8]
        names = {key: f"{stem}-{key}" for key in ("input", "alerts", "dead_letters")}
        for name in names.values():
            create_topic(self.bootstrap, name, partitions=_PARTITIONS)
        return {f"topics.{key}": name for key, name in names.items()}

    def worker(self, mode: str, topics: dict[str, str]) -> WorkerProcess:
        """Return a worker of a new group, not started."""
        settings = {
            **topics,
            "model.name": "bench",
            "producer.delivery": mode,
            "consumer.group_id": f"bench-{uuid.uuid4().hex[:8]}",
        }
        return WorkerProcess(self.bootstrap, self.registry, settings)


def throughput(bench: Bench, mode: str, topics: dict[str, str], n_records: int) -> float:
    """Return records a second between the warm-up and the tail of a full topic."""
    with bench.worker(mode, topics) as worker:
        first = worker.wait_for_records(int(n_records * _WARM_SHARE), timeout_s=_DEADLINE_S)
        began = time.monotonic()
        last = worker.wait_for_records(int(n_records * _END_SHARE), timeout_s=_DEADLINE_S)
        seconds = time.monotonic() - began
        worker.stop()
    return (last["anoean_records_total"] - first["anoean_records_total"]) / seconds


def latencies(bench: Bench, mode: str, *, rate_per_s: int, seconds: float) -> list[float]:
    """Return, for each alert, milliseconds from its record's timestamp until a reader has it."""
    topics = bench.topics()
    with bench.worker(mode, topics) as worker:
        worker.ready()
        with _reading(bench.bootstrap, topics["topics.alerts"]) as seen:
            n_sent = _send(bench, topics["topics.input"], rate_per_s=rate_per_s, seconds=seconds)
            worker.wait_for_records(n_sent)
            n_alerts = int(worker.metrics()["anoean_alerts_total"])
            deadline = time.monotonic() + _DEADLINE_S
            while len(seen) < n_alerts and time.monotonic() < deadline:
                time.sleep(0.05)
        worker.stop()
    return seen


@contextmanager
def _reading(bootstrap: str, topic: str) -> Iterator[list[float]]:
    """Collect latencies of a topic's alerts, in a thread, as a reader of committed records."""
    seen: list[float] = []
    halted = threading.Event()
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{uuid.uuid4().hex[:8]}",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
        }
    )

    def read() -> None:
        while not halted.is_set():
            message = reader.poll(0.05)
            if message is None or message.error() is not None:
                continue
            now = time.time()
            alert = json.loads(message.value() or b"")
            stamp = datetime.fromisoformat(alert["source"]["timestamp"]).timestamp()
            seen.append((now - stamp) * 1000)

    reader.subscribe([topic])
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        halted.set()
        thread.join()
        reader.close()


def _send(bench: Bench, topic: str, *, rate_per_s: int, seconds: float) -> int:
    """Send at a steady rate, in ticks of 10 ms; return how many."""
    producer = Producer({"bootstrap.servers": bench.bootstrap, "linger.ms": 1})
    values = cycle(bench.values)
    began, n_sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        for value in islice(values, max(0, int(passed * rate_per_s) - n_sent)):
            producer.produce(topic, value)
            n_sent += 1
        producer.poll(0)
        time.sleep(0.01)
    producer.flush(30)
    return n_sent


def main() -> int:
    """Measure in turns, print, write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery_cost", description=__doc__)
    parser.add_argument("--records", type=int, default=300_000, help="records in the topic")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each mode, in turns")
    parser.add_argument("--rate", type=int, default=2000, help="records a second, for the latency")
    parser.add_argument("--seconds", type=float, default=10.0, help="of one latency run")
    parser.add_argument("--output", type=Path, default=Path("build/delivery_cost.json"))
    wanted = parser.parse_args()
    rates: dict[str, list[float]] = {mode: [] for mode in MODES}
    waits: dict[str, list[float]] = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory() as scratch, KafkaBroker() as broker:
        bench = Bench(broker, Path(scratch))
        topics = bench.topics()
        publish(
            bench.bootstrap,
            topics["topics.input"],
            islice(cycle(bench.values), wanted.records),
            partitions=_PARTITIONS,
        )
        for turn in range(wanted.rounds):
            for mode in MODES if turn % 2 == 0 else reversed(MODES):
                rates[mode].append(throughput(bench, mode, topics, wanted.records))
                waits[mode] += latencies(
                    bench, mode, rate_per_s=wanted.rate, seconds=wanted.seconds
                )
                print(f"round {turn + 1}: {mode} {rates[mode][-1]:,.0f} records/s", flush=True)
    report = _report(rates, waits)
    wanted.output.parent.mkdir(parents=True, exist_ok=True)
    wanted.output.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps({key: report[key] for key in report if key != "runs"}, indent=2))
    return 0


def _report(rates: dict[str, list[float]], waits: dict[str, list[float]]) -> dict[str, Any]:
    ratios = [
        once / least
        for least, once in zip(rates["at_least_once"], rates["exactly_once"], strict=True)
    ]
    report: dict[str, Any] = {
        "cores": os.cpu_count(),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "runs": rates,
    }
    for mode in MODES:
        cuts = statistics.quantiles(waits[mode], n=100)
        report[mode] = {
            "records_per_second": round(statistics.median(rates[mode])),
            "alerts_timed": len(waits[mode]),
            "latency_ms_p50": round(cuts[49], 1),
            "latency_ms_p99": round(cuts[98], 1),
        }
    return report


if __name__ == "__main__":
    raise SystemExit(main())
