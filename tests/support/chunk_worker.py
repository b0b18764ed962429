"""A Faust worker on our transport that acknowledges chunks and tells what it sees, line by line.

Run as a process by `WorkerProcess`, so that signals, crashes and exit codes are real::

    python -m tests.support.chunk_worker '{"settings": {...}, "topic": "flows"}'

Keys of the plan: ``settings`` (sections of `Settings`), ``topic``, ``delay_s`` (time for a chunk),
``hold_after`` (acknowledge so many chunks, then none), ``gated`` (never open the gate). It ticks ten
times a second as long as its event loop turns.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import faust
from confluent_kafka import KafkaError
from faust.types import TP

from anoean_stream.app import FAUST_SETTINGS
from anoean_stream.kafka.wire import Wire, WireListener
from anoean_stream.records.chunk import Chunk
from anoean_stream.settings import Settings
from tests.support.lifetime import die_with_parent
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]


def say(event: str, **fields: Any) -> None:
    """Write one line; os.write, so that a line is whole whatever happens next."""
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")


class _Teller(WireListener):
    def on_assigned(self, tps: frozenset[TP]) -> None:
        say("assigned", partitions=sorted(tp.partition for tp in tps))

    def on_revoked(self, tps: frozenset[TP]) -> None:
        say("revoked", partitions=sorted(tp.partition for tp in tps))

    def on_lost(self, tps: frozenset[TP]) -> None:
        say("lost", partitions=sorted(tp.partition for tp in tps))

    def on_commit(self, offsets: Mapping[TP, int]) -> None:
        say("commit", offsets={str(tp.partition): at for tp, at in offsets.items()})

    def on_commit_failed(self, offsets: Mapping[TP, int], reason: str) -> None:
        say("commit failed", reason=reason)

    def on_broker_error(self, error: KafkaError) -> None:
        say("error", name=error.name())


class _App(faust.App):
    wire: Wire

    def _create_directories(self) -> None:
        """Create none."""


def make_app(settings: Settings, *, listener: WireListener, is_open: bool = True) -> _App:
    """Return a Faust app set up as our transport wants it."""
    app = _App(settings.consumer.group_id, **FAUST_SETTINGS)
    gate = asyncio.Event()
    if is_open:
        gate.set()
    app.wire = Wire(settings=settings, gate=gate, listener=listener)
    return app


def main() -> None:
    """Run the worker of the plan."""
    plan = json.loads(sys.argv[1])
    settings = Settings.model_validate(plan["settings"])
    app = make_app(settings, listener=_Teller(), is_open=not plan.get("gated", False))
    topic = app.topic(plan["topic"], key_serializer="raw", value_serializer="raw")
    delay_s = float(plan.get("delay_s", 0))
    hold_after = plan.get("hold_after")

    @app.agent(topic)
    async def take(stream: Any) -> None:
        own = stream.noack()
        n_chunks = 0
        async for event in own.events():
            chunk = cast("Chunk", event.value)
            numbers = [json.loads(value)["n"] for value in chunk.values if value is not None]
            say("begun", partition=chunk.partition, first=chunk.offsets[0], n_records=len(numbers))
            if delay_s:
                await asyncio.sleep(delay_s)
            n_chunks += 1
            say("chunk", partition=chunk.partition, numbers=numbers, last=chunk.offsets[-1])
            if hold_after is None or n_chunks <= hold_after:
                await own.ack(event)
                say("acked", partition=chunk.partition, last=chunk.offsets[-1])

    async def ready() -> None:
        say("ready")

    async def tick() -> None:
        say("tick")

    app.task(ready)
    app.timer(interval=0.1)(tick)

    sys.argv = ["worker", "worker", "--loglevel", "info", "--without-web"]
    app.main()


class WorkerProcess:
    """A worker in a process of its own, and everything it said.

    Parameters
    ----------
    plan : mapping
        See the module.
    """

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.lines: list[dict[str, Any]] = []
        self.log: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.chunk_worker", json.dumps(plan)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=REPOSITORY,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - it makes one system call
        )
        self._readers = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_log, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.append(json.loads(line))

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one kind so far."""
        return [line for line in list(self.lines) if line["event"] == event]

    def numbers(self) -> list[int]:
        """Return the numbers of all records seen so far, repeats included."""
        return [number for line in self.said("chunk") for number in line["numbers"]]

    def partitions(self) -> set[int]:
        """Return the partitions it holds now, by what it said."""
        held: set[int] = set()
        for line in list(self.lines):
            if line["event"] == "assigned":
                held |= set(line["partitions"])
            elif line["event"] in {"revoked", "lost"}:
                held -= set(line["partitions"])
        return held

    def wait_for(self, event: str, *, within_s: float, n: int = 1) -> list[dict[str, Any]]:
        """Wait until n lines of one kind were said."""

        def there() -> list[dict[str, Any]]:
            found = self.said(event)
            assert len(found) >= n or self.process.poll() is None, self.explain()
            return found if len(found) >= n else []

        return wait_until(there, within_s=within_s, what=f"{n} x {event!r}\n{self.explain()}")

    def explain(self) -> str:
        """Return the end of its log, for a failed test."""
        return f"worker {self.process.pid}, exit {self.process.poll()}:\n" + "".join(self.log[-30:])

    def terminate(self, *, within_s: float = 20.0) -> int:
        """Send SIGTERM and return the exit code; fails when it takes too long."""
        self.process.terminate()
        return self.wait(within_s=within_s)

    def wait(self, *, within_s: float) -> int:
        """Wait for the process to end by itself."""
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still alive after {within_s:g} s: {self.explain()}") from None
        self._join()
        return code

    def kill(self) -> None:
        """Send SIGKILL: no stop, no commit, no goodbye to the group."""
        self.process.kill()
        self.process.wait()
        self._join()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(5)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


if __name__ == "__main__":
    main()
