"""The peer: a plain Faust agent on Faust's own transport, one record at a time.

``async for``, json, a torch network of the same size for each record, Mahalanobis distance, and an
alert through ``topic.send``: what Faust's user guide leads to. Run by ``python -m benchmarks``;
prints one JSON object with records, seconds and CPU seconds when the time is over.
"""

import argparse
import json
import os
import tempfile
import time

import faust
import torch

from anoean_stream.records.kdd import KDD_COLUMNS
from benchmarks.flows import CATEGORIES

LATENT_DIM = 16


def main() -> None:
    """Consume for a while, then print what was done and end the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--alerts", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    wanted = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    numbers = [name for name in KDD_COLUMNS if name not in CATEGORIES]
    n_inputs = len(numbers) + sum(CATEGORIES.values())
    encoder = torch.nn.Sequential(
        torch.nn.Linear(n_inputs, 128), torch.nn.LeakyReLU(0.1),
        torch.nn.Linear(128, 64), torch.nn.LeakyReLU(0.1),
        torch.nn.Linear(64, 32), torch.nn.LeakyReLU(0.1),
        torch.nn.Linear(32, LATENT_DIM),
    ).eval()  # fmt: skip
    precision = torch.eye(LATENT_DIM)

    app = faust.App(
        wanted.group,
        broker=f"kafka://{wanted.bootstrap}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="peer-"),
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(wanted.topic, value_serializer="raw")
    alerts = app.topic(wanted.alerts, value_serializer="json")
    seen = {"records": 0, "started": 0.0, "cpu": 0.0}

    @app.agent(source)
    async def detect(stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            record = json.loads(value)
            features = [float(record[name]) for name in numbers]
            for name, n_words in CATEGORIES.items():
                one_hot = [0.0] * n_words
                one_hot[int(record[name].rsplit("_", 1)[1])] = 1.0
                features += one_hot
            with torch.inference_mode():
                latent = encoder(torch.tensor([features]).log1p())
                distance = float((latent @ precision * latent).sum().sqrt())
            if distance > 1e9:  # noqa: PLR2004  # none here: the peer is spared the cost of alerts
                await alerts.send(value={"score": distance, "record": record})
            if not seen["records"]:
                seen.update(started=time.monotonic(), cpu=time.process_time())
            seen["records"] += 1
            elapsed = time.monotonic() - seen["started"]
            if elapsed > wanted.seconds:
                cpu = time.process_time() - seen["cpu"]
                done = {"records": seen["records"], "seconds": elapsed, "cpu_seconds": cpu}
                os.write(1, json.dumps(done).encode() + b"\n")
                os._exit(0)

    app.finalize()
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
