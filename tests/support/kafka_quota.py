"""Client quotas of a real broker, set with Kafka's own command: no Python client can."""

import subprocess
from typing import Final

from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_jars import class_path, java

_TIMEOUT_S: Final = 60.0


def set_produce_quota(broker: KafkaBroker, client_id: str, bytes_per_s: int | None) -> None:
    """Let a client write so many bytes a second, and as many as it likes with None.

    Raises
    ------
    RuntimeError
        Kafka's command failed; the message has what it said.
    """
    change = (
        ["--delete-config", "producer_byte_rate"]
        if bytes_per_s is None
        else ["--add-config", f"producer_byte_rate={bytes_per_s}"]
    )
    done = subprocess.run(
        [
            java(), "-Xmx128m", "-cp", class_path(), "kafka.admin.ConfigCommand",
            "--bootstrap-server", broker.bootstrap, "--alter", *change,
            "--entity-type", "clients", "--entity-name", client_id,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"setting a quota failed: {(done.stdout + done.stderr)[-1000:]}")
