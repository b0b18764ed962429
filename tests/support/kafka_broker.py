"""A real Apache Kafka broker, one node (KRaft), on this machine: for tests, benchmarks, `make kafka`.

In the foreground::

    python -m tests.support.kafka_broker --port 9092 --data-dir .cache/kafka/data

prints the address on stdout when the broker is ready and stops it cleanly on Ctrl-C or SIGTERM.
"""

import argparse
import atexit
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.kafka_jars import (
    KafkaUnavailableError,
    class_archive,
    class_path,
    java,
    locked,
)
from tests.support.lifetime import die_with_parent

READY_LINE: Final = "Kafka Server started"
START_TIMEOUT_S: Final = 60.0
"""Seconds to a ready broker: 2 s with the class archive, 6 s without, more on a busy machine."""
STOP_TIMEOUT_S: Final = 30.0
"""Seconds from SIGTERM to the end: 2 s, 6 s when the class archive is written; then SIGKILL."""

# Any fixed id will do: a data folder never meets another cluster's.
CLUSTER_ID: Final = "YW5vZWFuLXRlc3Qta2Fma2E"

LOG4J: Final = """\
status=error
appender.out.type=Console
appender.out.name=STDOUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=STDOUT
"""

PROPERTIES: Final[Mapping[str, str]] = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Topics are made by `anoean topics create` or by a fixture; a misspelt name must not appear.
    "auto.create.topics.enable": "false",
    "num.partitions": "4",
    # One of everything, so that the first group and the first transaction do not wait for 50 partitions.
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "group.initial.rebalance.delay.ms": "0",
    # KIP-848 groups: both are the broker's to set; the defaults (45 s, 5 s) are long for a test.
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "1000",
    "group.min.session.timeout.ms": "1000",
    # How long a broker that was killed counts as alive, and its next start waits for it (9 s).
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}


def free_port() -> int:
    """Return a TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class KafkaBroker:
    """One node of Apache Kafka with its own data folder; start, stop, kill, start again.

    Call `start` from the main thread: on Linux the broker ends with the thread that started it.

    Parameters
    ----------
    data_dir : Path, optional
        Where logs and configuration go; None takes a temporary folder, removed by `close`.
    port : int
        Port of the listener on 127.0.0.1; 0 takes a free one (and keeps it over restarts).
    properties : mapping of str to str, optional
        Broker properties beyond, or instead of, `PROPERTIES`.
    heap_mb : int
        Java heap, MiB; 512 carries the tests and benchmarks.
    node_id : int
        Its number in the cluster.
    controller_ports : mapping of int to int, optional
        Ports of all controllers by node id, this one included; None is a cluster of one node.
    format_options : sequence of str
        Further words for ``StorageTool format``, such as ``--add-scram`` and its value.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int = 0,
        properties: Mapping[str, str] | None = None,
        heap_mb: int = 512,
        node_id: int = 1,
        controller_ports: Mapping[int, int] | None = None,
        format_options: Sequence[str] = (),
    ) -> None:
        self._own_folder = data_dir is None
        self.folder = data_dir or Path(tempfile.mkdtemp(prefix="anoean-kafka-"))
        self.port = port or free_port()
        self.node_id = node_id
        self._controller_ports = dict(controller_ports or {node_id: free_port()})
        self._properties = dict(properties or {})
        self._heap_mb = heap_mb
        self._format_options = tuple(format_options)
        self._process: subprocess.Popen[bytes] | None = None
        self._start_of_log = 0

    @property
    def bootstrap(self) -> str:
        """host:port for ``bootstrap.servers``."""
        return f"127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        """The broker's log, all starts after one another."""
        return self.folder / "broker.log"

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout_s: float = START_TIMEOUT_S) -> Self:
        """Start the broker and wait until it is ready.

        Raises
        ------
        KafkaUnavailableError
            Java or Maven is missing.
        RuntimeError
            The broker did not become ready; the message has the end of its log.
        """
        self.begin_start()
        self.finish_start(timeout_s=timeout_s)
        return self

    def set_property(self, name: str, value: str) -> None:
        """Set a broker property; it counts from the next start on."""
        self._properties[name] = value

    def begin_start(self) -> None:
        """Start the process; `finish_start` waits until it is ready."""
        classes = class_path()
        archive = class_archive(classes)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not archive.is_file():
            _write_archive(classes, archive)
        self._configure()
        if not (self.folder / "logs" / "meta.properties").is_file():
            self._format(classes, archive)
        self._launch(classes, [f"-XX:SharedArchiveFile={archive}"])

    def _configure(self) -> None:
        controllers = {node: f"127.0.0.1:{port}" for node, port in self._controller_ports.items()}
        controller = controllers[self.node_id]
        values = {
            **PROPERTIES,
            "node.id": str(self.node_id),
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": ",".join(f"{n}@{at}" for n, at in controllers.items()),
            "log.dirs": str(self.folder / "logs"),
            **self._properties,
        }
        text = "".join(f"{name}={value}\n" for name, value in values.items())
        (self.folder / "server.properties").write_text(text, encoding="utf-8")
        (self.folder / "log4j2.properties").write_text(LOG4J, encoding="utf-8")

    def _java(self, classes: str, options: list[str]) -> list[str]:
        return [
            java(), f"-Xmx{self._heap_mb}m", "-XX:+UseSerialGC", *options,
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}", "-cp", classes,
        ]  # fmt: skip

    def _format(self, classes: str, archive: Path) -> None:
        options = [f"-XX:SharedArchiveFile={archive}"] if archive.is_file() else []
        command = [
            *self._java(classes, options), "kafka.tools.StorageTool", "format",
            "--cluster-id", CLUSTER_ID, "--config", str(self.folder / "server.properties"),
            *self._format_options,
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S
        )
        if done.returncode != 0:
            msg = (
                f"formatting {self.folder} for Kafka failed: {(done.stdout + done.stderr)[-2000:]}"
            )
            raise RuntimeError(msg)

    def _launch(self, classes: str, options: list[str]) -> None:
        command = [
            *self._java(classes, options), "kafka.Kafka", str(self.folder / "server.properties"),
        ]  # fmt: skip
        self._start_of_log = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to handle, not the JVM's
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )
        atexit.register(self.kill)

    def finish_start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the process that `begin_start` began is ready.

        Raises
        ------
        RuntimeError
            The broker did not become ready; the message has the end of its log.
        """
        assert self._process is not None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._process.poll() is None:
            with self.log_file.open("rb") as log:
                log.seek(self._start_of_log)
                if READY_LINE.encode() in log.read():
                    return
            time.sleep(0.05)
        tail = self.log_file.read_text(encoding="utf-8", errors="replace")[-3000:]
        code = self._process.poll()
        self.kill()
        what = f"was not ready within {timeout_s:.0f} s" if code is None else f"ended with {code}"
        msg = f"Kafka on {self.bootstrap} {what}; the end of {self.log_file}:\n{tail}"
        raise RuntimeError(msg)

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop in order (SIGTERM), by force when that takes too long; the data stay."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def kill(self) -> None:
        """End the broker at once (SIGKILL), as a crash would; the data stay."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._forget()

    def _forget(self) -> None:
        self._process = None
        atexit.unregister(self.kill)

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): connections stay open, nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def admin_tool(self, main_class: str, *words: str) -> str:
        """Run one of Kafka's own tools against this broker; return what it printed.

        Raises
        ------
        RuntimeError
            It failed; the message has its output.
        """
        command = [
            *self._java(class_path(), []), main_class, "--bootstrap-server", self.bootstrap, *words,
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S
        )
        if done.returncode != 0:
            msg = f"{main_class} {' '.join(words)} failed: {(done.stdout + done.stderr)[-2000:]}"
            raise RuntimeError(msg)
        return done.stdout

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the process to end by itself; None when it still lives."""
        assert self._process is not None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """Stop, and remove a temporary folder."""
        self.stop()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _write_archive(classes: str, archive: Path) -> None:
    """Start and stop a broker once, so that Java writes down the classes it loaded (8 s, once)."""
    with locked(archive.parent):
        if archive.is_file():
            return
        print("preparing a quick start of Kafka (once, about 15 s)", file=sys.stderr)
        partial = archive.with_suffix(".partial")
        broker = KafkaBroker()
        try:
            broker._configure()
            broker._format(classes, archive)
            option = f"-XX:ArchiveClassesAtExit={partial}"
            broker._launch(classes, [option])
            broker.finish_start()
            broker.stop(timeout_s=60.0)
            if partial.is_file():
                partial.rename(archive)
        finally:
            broker.close()


def main(argv: list[str] | None = None) -> int:
    """Run a broker in the foreground until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="A single-node Apache Kafka in the foreground.")
    parser.add_argument(
        "--port", type=int, default=9092, help="port on 127.0.0.1; 0 takes a free one"
    )
    parser.add_argument("--data-dir", type=Path, help="keep data here; default: a temporary folder")
    parser.add_argument(
        "--auto-create-topics", action="store_true", help="create topics on first use"
    )
    arguments = parser.parse_args(argv)
    halt = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: halt.set())
    properties = {"auto.create.topics.enable": str(arguments.auto_create_topics).lower()}
    broker = KafkaBroker(arguments.data_dir, port=arguments.port, properties=properties)
    try:
        print("starting Apache Kafka ...", file=sys.stderr)
        broker.start()
        print(broker.bootstrap, flush=True)
        print(f"ready; log in {broker.log_file}; Ctrl-C stops it", file=sys.stderr)
        while not halt.wait(0.2):
            if not broker.is_running:
                print(f"Kafka ended by itself; see {broker.log_file}", file=sys.stderr)
                return 1
        print("stopping ...", file=sys.stderr)
    except (KafkaUnavailableError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    finally:
        broker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
