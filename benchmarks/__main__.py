"""Records a second through one worker process on a real Kafka, beside a plain Faust agent.

Both read the same topic of one broker, in turns, in the same run: absolute figures differ between
machines and hours, the ratio does not much. Writes ``build/bench.json``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from anoean_stream.registry.registry import Registry
from benchmarks.flows import make_flows, write_model
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import create_topic
from tests.support.topics import publish
from tests.support.worker import WorkerProcess

_PARTITIONS: Final = 4
_DISTINCT_FLOWS: Final = 20_000
"""Flows made up; the topic repeats them. Fewer would flatter the caches, more only take longer."""

_WARM_SHARE, _END_SHARE = 0.1, 0.95
"""Part of the topic after which timing begins, and at which it ends: without start-up and tail."""

_DEADLINE_S: Final = 300.0

err = Console(stderr=True)


@dataclass(frozen=True)
class Result:
    """One run of one contender."""

    contender: str
    records: int
    seconds: float
    cpu_seconds: float
    alerts: int

    @property
    def per_second(self) -> float:
        """Records a second."""
        return self.records / self.seconds


def main() -> int:
    """Measure, print a table, write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="records in the topic")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender, in turns")
    parser.add_argument("--peer-seconds", type=float, default=8.0, help="time of one peer run")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, KafkaBroker() as broker:
        registry = Path(scratch) / "models"
        _publish_model(Path(scratch) / "bundle", registry)
        for topic in ("flows", "anomalies", "anomalies.dlq"):
            create_topic(broker.bootstrap, topic, partitions=_PARTITIONS)
        n_bytes = _fill(broker.bootstrap, "flows", wanted.records)
        results = []
        for turn in range(wanted.rounds):
            err.print(f"round {turn + 1} of {wanted.rounds} ...")
            results.append(_run_worker(broker.bootstrap, registry, wanted.records))
            results.append(_run_peer(broker.bootstrap, wanted.peer_seconds))
    report = _report(results, record_bytes=n_bytes / wanted.records)
    wanted.output.parent.mkdir(parents=True, exist_ok=True)
    wanted.output.write_text(json.dumps(report, indent=2) + "\n")
    if wanted.json:
        print(json.dumps(report))
    else:
        _print_table(results, report)
        err.print(f"written to {wanted.output}")
    return 0


def _publish_model(folder: Path, registry_folder: Path) -> None:
    write_model(folder)
    registry = Registry(str(registry_folder))
    registry.set_alias("bench", "champion", registry.publish(folder, "bench"))


def _fill(bootstrap: str, topic: str, n_records: int) -> int:
    err.print(f"writing {n_records:,} flows ...")
    values = [msgspec.json.encode(flow) for flow in make_flows(_DISTINCT_FLOWS, seed=3)]
    repeated = list(islice(cycle(values), n_records))
    publish(bootstrap, topic, repeated, partitions=_PARTITIONS)
    return sum(map(len, repeated))


def _run_worker(bootstrap: str, registry: Path, n_records: int) -> Result:
    settings = {"model.name": "bench", "consumer.group_id": f"bench-{uuid.uuid4().hex[:8]}"}
    with WorkerProcess(bootstrap, registry, settings) as worker:
        began, first, cpu_began = _mark(worker, n_records * _WARM_SHARE)
        ended, last, cpu_ended = _mark(worker, n_records * _END_SHARE)
        worker.stop()
    return Result(
        "anoean serve",
        records=int(last["anoean_records_total"] - first["anoean_records_total"]),
        seconds=ended - began,
        cpu_seconds=cpu_ended - cpu_began,
        alerts=int(last["anoean_alerts_total"] - first["anoean_alerts_total"]),
    )


def _mark(worker: WorkerProcess, n_records: float) -> tuple[float, dict[str, float], float]:
    """Return time, metrics and CPU seconds when the worker has done so many records."""
    metrics = worker.wait_for_records(int(n_records), timeout_s=_DEADLINE_S)
    return time.monotonic(), metrics, _cpu_seconds(worker.pid)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def _run_peer(bootstrap: str, seconds: float) -> Result:
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.plain_faust",
            "--bootstrap", bootstrap, "--topic", "flows", "--alerts", "anomalies",
            "--group", f"peer-{uuid.uuid4().hex[:8]}", "--seconds", str(seconds),
        ],
        stdout=subprocess.PIPE,
        check=True,
        timeout=_DEADLINE_S,
    )  # fmt: skip
    figures = json.loads(done.stdout.splitlines()[-1])
    return Result("plain Faust agent", **figures, alerts=0)


def _report(results: list[Result], *, record_bytes: float) -> dict[str, object]:
    by_contender: dict[str, list[float]] = {}
    for result in results:
        by_contender.setdefault(result.contender, []).append(result.per_second)
    ours, peer = by_contender["anoean serve"], by_contender["plain Faust agent"]
    ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]
    return {
        "fields": 41,
        "record_bytes": round(record_bytes),
        "cores": os.cpu_count(),
        "records_per_second": statistics.median(ours),
        "peer_records_per_second": statistics.median(peer),
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "runs": [{**asdict(result), "per_second": result.per_second} for result in results],
    }


def _print_table(results: list[Result], report: dict[str, object]) -> None:
    table = Table(title=f"41 fields, {report['record_bytes']} bytes, {report['cores']} cores")
    for name in ("contender", "records/s", "CPU us/record", "alerts", "records timed"):
        table.add_column(name, justify="left" if name == "contender" else "right")
    for result in results:
        table.add_row(
            result.contender,
            f"{result.per_second:,.0f}",
            f"{result.cpu_seconds / result.records * 1e6:.2f}",
            f"{result.alerts:,}",
            f"{result.records:,}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"ratio, run by run: median {report['ratio_median']:.1f}, "
        f"{report['ratio_min']:.1f} to {report['ratio_max']:.1f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
