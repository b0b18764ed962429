"""The memory of a worker that is far behind, while it catches up.

``python -m benchmarks.backlog`` fills a topic on a real Kafka, starts one ``anoean serve``, reads its
resident memory twice a second until the last record is committed, and holds the peak against the
bound that docs/operations.md computes from the settings. Writes ``build/backlog.json`` and a plot.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from confluent_kafka import KafkaError, KafkaException, Producer
from rich.console import Console

from anoean_stream.observe.memory import MIB, memory_bound
from anoean_stream.registry.registry import Registry
from anoean_stream.settings import Settings
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import create_topic
from tests.support.models import make_bundle, make_rows
from tests.support.worker import WorkerProcess

PARTITIONS: Final = 4
ALERT_SHARE: Final = 0.01
_DISTINCT: Final = 20_000
"""Records made up; the topic repeats them."""

_SAMPLE_S: Final = 0.5
_STALL_S: Final = 120.0
"""Seconds without progress after which the run is given up."""

err = Console(stderr=True)


@dataclass(frozen=True)
class Sample:
    """Memory and progress at one moment."""

    at_s: float
    rss_mib: float
    records: int


def flow_records(n_distinct: int = _DISTINCT) -> list[bytes]:
    """Return flow records of about 250 bytes, with the fields of the tests' model and addresses."""
    rng = np.random.default_rng(7)
    rows = []
    for number, row in enumerate(make_rows(n_distinct, seed=7)):
        octets = rng.integers(1, 255, 4).tolist()
        rows.append(
            {
                "src_ip": f"10.{octets[0]}.{octets[1]}.7",
                "dst_ip": f"192.168.{octets[2]}.{octets[3]}",
                "src_port": int(rng.integers(1024, 65535)),
                "flow_start": f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}.000Z",
                **row,
            }
        )
    return [msgspec.json.encode(row) for row in rows]


def fill(bootstrap: str, topic: str, n_records: int) -> float:
    """Write records round robin, wait for all, and return their mean size in bytes.

    Raises
    ------
    RuntimeError
        The broker did not take them all.
    """
    values = flow_records()
    failures: list[KafkaError] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 500_000,
            # No report for each record, which would take longer than writing it.
            "delivery.report.only.error": True,
            "on_delivery": lambda error, _: failures.append(error),
        }
    )
    n_bytes = 0
    for number in range(n_records):
        value = values[number % len(values)]
        n_bytes += len(value)
        while True:
            try:
                producer.produce(topic, value, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
    left = producer.flush(300)
    if left or failures:
        raise RuntimeError(f"{left} records left, {len(failures)} refused, such as {failures[:1]}")
    return n_bytes / n_records


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process, MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def catch_up(worker: WorkerProcess, n_records: int) -> Iterator[Sample]:
    """Sample a worker until it has acknowledged so many records.

    Raises
    ------
    RuntimeError
        It made no progress for two minutes, or ended.
    """
    began = moved_at = time.monotonic()
    done = 0
    for tick in count(1):
        records = int(worker.metrics().get("anoean_records_total", 0))
        now = time.monotonic()
        if records > done:
            done, moved_at = records, now
        if worker.exit_code is not None or now - moved_at > _STALL_S:
            raise RuntimeError(f"the worker stands still at {done} records\n{worker.tail()}")
        yield Sample(round(now - began, 2), round(rss_mib(worker.pid), 1), records)
        if done >= n_records:
            return
        time.sleep(max(0.0, began + tick * _SAMPLE_S - time.monotonic()))


def measure(
    bootstrap: str, folder: Path, n_records: int, settings: dict[str, object]
) -> dict[str, Any]:
    """Fill a topic, let one worker catch up, and return what was seen."""
    make_bundle(folder / "bundle", name="bench", false_positive_rate=ALERT_SHARE)
    registry = Registry(str(folder / "models"))
    registry.set_alias("bench", "champion", registry.publish(folder / "bundle", "bench"))
    names = {
        key: f"{key}-{uuid.uuid4().hex[:8]}" for key in ("flows", "anomalies", "dead", "group")
    }
    for key in ("flows", "anomalies", "dead"):
        create_topic(bootstrap, names[key], partitions=PARTITIONS)
    began = time.monotonic()
    record_bytes = fill(bootstrap, names["flows"], n_records)
    err.print(f"{n_records:,} records written in {time.monotonic() - began:.0f} s")
    wanted = {
        "model.name": "bench",
        "topics.input": names["flows"],
        "topics.alerts": names["anomalies"],
        "topics.dead_letters": names["dead"],
        "consumer.group_id": names["group"],
        **settings,
    }
    with WorkerProcess(bootstrap, folder / "models", wanted) as worker:
        samples = list(catch_up(worker, n_records))
        metrics = worker.metrics()
        worker.stop()
    bound = memory_bound(
        _settings(settings),
        record_bytes=round(record_bytes),
        n_partitions=PARTITIONS,
        alert_share=2 * metrics["anoean_alerts_total"] / n_records,  # twice the mean: they cluster
    )
    seconds = samples[-1].at_s
    return {
        "records": n_records,
        "record_bytes": round(record_bytes),
        "seconds": seconds,
        "records_per_second": round(n_records / seconds),
        "alerts": int(metrics["anoean_alerts_total"]),
        "peak_rss_mib": max(sample.rss_mib for sample in samples),
        "bound_mib": round(bound.total / MIB),
        "samples": [
            {"at_s": one.at_s, "rss_mib": one.rss_mib, "lag": n_records - one.records}
            for one in samples
        ],
    }


def _settings(flat: dict[str, object]) -> Settings:
    nested: dict[str, dict[str, object]] = {}
    for key, value in flat.items():
        section, name = key.split(".")
        nested.setdefault(section, {})[name] = value
    return Settings.model_validate(nested)


def plot(result: dict[str, Any], file: Path) -> None:
    """Draw memory and lag over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    at = [one["at_s"] for one in result["samples"]]
    figure, memory = plt.subplots(figsize=(8, 4), layout="constrained")
    memory.plot(at, [one["rss_mib"] for one in result["samples"]], label="resident memory")
    memory.axhline(result["bound_mib"], color="tab:red", linestyle="--", label="bound")
    memory.set(xlabel="seconds", ylabel="MiB", ylim=(0, 1.15 * result["bound_mib"]))
    lag = memory.twinx()
    lag.plot(at, [one["lag"] / 1e6 for one in result["samples"]], color="tab:gray", label="lag")
    lag.set(ylabel="million records behind", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=3)
    memory.set_title(f"{result['records']:,} records of {result['record_bytes']} bytes behind")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def main() -> int:
    """Measure, write the file and the plot; 1 when the peak is above the bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backlog", description=__doc__)
    parser.add_argument("--records", type=int, default=5_000_000, help="records in the topic")
    parser.add_argument("--output", type=Path, default=Path("build/backlog.json"))
    parser.add_argument("--plot", type=Path, default=Path("docs/images/backlog.png"))
    wanted = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch, KafkaBroker() as broker:
            err.print(f"writing {wanted.records:,} records ...")
            result = measure(broker.bootstrap, Path(scratch), wanted.records, {})
    except (RuntimeError, KafkaException) as error:
        err.print(f"error: {error}")
        return 1
    wanted.output.parent.mkdir(parents=True, exist_ok=True)
    wanted.output.write_text(json.dumps(result, indent=1) + "\n")
    plot(result, wanted.plot)
    err.print(
        f"{result['records']:,} records in {result['seconds']:.0f} s "
        f"({result['records_per_second']:,} a second); resident memory at most "
        f"{result['peak_rss_mib']:.0f} MiB, bound {result['bound_mib']} MiB"
    )
    err.print(f"written to {wanted.output} and {wanted.plot}")
    return int(result["peak_rss_mib"] > result["bound_mib"])


if __name__ == "__main__":
    sys.exit(main())
