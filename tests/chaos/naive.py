"""A naive worker: what a first reading of Faust's guide leads to. The suite must see it lose records.

``async for``, json, an alert through ``topic.send`` without waiting for the brokers, bad records
skipped, Faust's own transport and commits. Run by `NaiveWorker`::

    python -m tests.chaos.naive '{"bootstrap": "...", "topics": ["in", "out"], "group": "g"}'
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import faust

from tests.support.lifetime import die_with_parent

_REPOSITORY: Final = Path(__file__).resolve().parents[2]


def main() -> None:
    """Consume until stopped."""
    plan = json.loads(sys.argv[1])
    app = faust.App(
        plan["group"],
        broker=[f"kafka://{address}" for address in plan["bootstrap"].split(",")],
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="naive-"),
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=6,
        broker_heartbeat_interval=1,
        broker_commit_interval=0.3,
    )
    source, sink = (app.topic(name, value_serializer="raw") for name in plan["topics"])

    @app.agent(source)
    async def detect(stream: Any) -> None:
        async for event in stream.events():
            try:
                record = json.loads(event.value)
            except ValueError:
                continue  # the mistake of many: a bad record leaves no trace
            place = (event.message.partition, event.message.offset)
            alert = {
                "alert_id": hashlib.sha256(repr(place).encode()).hexdigest(),
                "source": {"partition": place[0], "offset": place[1]},
                "original": record,
            }
            # And the other one: nobody waits for the brokers, or hears when they refuse.
            await sink.send(key=event.key, value=json.dumps(alert).encode())

    sys.argv = ["naive", "worker", "--loglevel", "error", "--without-web"]
    app.main()


class NaiveWorker:
    """The process, with the interface of our worker.

    Parameters
    ----------
    bootstrap : str
        The brokers.
    registry : Path
        Not used: it alerts on everything, as our worker does in the suite.
    settings : mapping
        Topics and group are read.
    """

    def __init__(self, bootstrap: str, registry: Path, settings: Mapping[str, object]) -> None:
        del registry
        self._plan = {
            "bootstrap": bootstrap,
            "topics": [settings["topics.input"], settings["topics.alerts"]],
            "group": settings["consumer.group_id"],
        }
        self.process: Any = None
        self._log = tempfile.NamedTemporaryFile(prefix="anoean-naive-", suffix=".log")  # noqa: SIM115  # closed in `close`

    def start(self) -> "NaiveWorker":
        """Start the process."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.naive", json.dumps(self._plan)],
            stdout=self._log,
            stderr=self._log,
            cwd=_REPOSITORY,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - it makes one system call
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        return self

    def metrics(self) -> dict[str, float]:
        """Return nothing: it counts nothing."""
        return {}

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return int(self.process.wait(60))

    def close(self) -> None:
        """End it now."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def tail(self) -> str:
        """Return its last lines."""
        return "\n".join(Path(self._log.name).read_text(errors="replace").splitlines()[-20:])


if __name__ == "__main__":
    main()
