"""The demo's stage: a broker, a registry and a worker, each a process of its own, and their end."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from anoean_stream.errors import AnoeanError
from anoean_stream.observe.metrics import read_exposition
from anoean_stream.settings import (
    BrokerSettings,
    ConsumerSettings,
    LoggingSettings,
    RegistrySettings,
    Settings,
    TrainingSettings,
    WebSettings,
)
from anoean_stream.simulate import ATTACK_KINDS, Simulator

UNSEEN: Final = "syn_flood"
"""The kind of attack that training never sees."""

_HISTORY_FLOWS: Final = 30_000
"""Below 10,000 the threshold for one false alarm in a thousand rests on too few normals; above
100,000 the demo takes longer than two minutes."""
_HISTORY_ATTACKS: Final = 0.15
_EPOCHS: Final = 14

_START_S: Final = 40.0
"""Seconds for a child to come up: 3 on an idle machine."""
_STOP_S: Final = 40.0
"""Seconds for a child to end in order: above worker.shutdown_deadline_s."""
_LOOK_AGAIN_S: Final = 0.1
_LOG_TAIL: Final = 15

_OK: Final = 200


class DemoError(AnoeanError):
    """A part of the demo did not do its work; holds the last lines that it wrote."""


def demo_settings(bootstrap: str, folder: Path) -> Settings:
    """Return the settings of everything in the demo; nothing of the user's own is used."""
    return Settings(
        broker=BrokerSettings(bootstrap_servers=bootstrap),
        # The shortest that the mock cluster likes: a second worker joins within seconds.
        consumer=ConsumerSettings(
            session_timeout_s=6, heartbeat_interval_s=1, commit_interval_s=0.5
        ),
        registry=RegistrySettings(url=str(folder / "models"), poll_interval_s=0.5),
        web=WebSettings(port=0),
        logging=LoggingSettings(format="json"),
        training=TrainingSettings(epochs=_EPOCHS),
    )


def write_history(path: Path, *, seed: int) -> None:
    """Write labelled flows with every kind of attack but `UNSEEN`."""
    known = [kind for kind in ATTACK_KINDS if kind != UNSEEN]
    simulator = Simulator(seed=seed, attacks=known, attack_share=_HISTORY_ATTACKS)
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:
        for flow in simulator.flows(_HISTORY_FLOWS):
            file.write(encode(flow.labelled()) + b"\n")


class Child:
    """One ``anoean ...`` process.

    Parameters
    ----------
    words : str
        The command, without ``anoean``.
    config : Path
        Its settings.
    log : Path, optional
        File for what it says on stderr; without one it says it to the user.
    """

    def __init__(self, *words: str, config: Path, log: Path | None = None) -> None:
        self._words = words
        self._log = log
        own = {name: value for name, value in os.environ.items() if not name.startswith("ANOEAN")}
        with open(log, "wb") if log else _user_stderr() as stderr:  # noqa: PTH123
            self.process = subprocess.Popen(
                [sys.executable, "-m", "anoean_stream", *words, "--config", str(config)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=own,
                start_new_session=True,  # Ctrl-C reaches the demo, which then ends its children
            )

    def lines(self) -> list[dict[str, Any]]:
        """Return the log lines written so far."""
        text = self._log.read_text(errors="replace") if self._log else ""
        return [json.loads(line) for line in text.splitlines() if _is_whole(line)]

    def wait_for_line(self, event: str, **fields: object) -> dict[str, Any]:
        """Return the first log line of an event with these fields, when it is there."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            for line in self.lines():
                wanted = {"event": event, **fields}
                if all(line.get(name) == value for name, value in wanted.items()):
                    return line
            self.require_running()
            time.sleep(_LOOK_AGAIN_S)
        raise self._failure(f"did not say {event!r} within {_START_S:.0f} s")

    def first_answer(self) -> dict[str, Any]:
        """Return the first JSON object on its stdout."""
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer.strip():
            self.process.wait(_STOP_S)
            raise self._failure(f"ended with exit code {self.process.returncode}")
        document: dict[str, Any] = json.loads(answer)
        return document

    def require_running(self) -> None:
        """Raise DemoError when it has ended."""
        if self.process.poll() is not None:
            raise self._failure(f"ended with exit code {self.process.returncode}")

    def stop(self) -> None:
        """Ask it to end in order, and wait.

        Raises
        ------
        DemoError
            When it does not, or not with exit code 0.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired as error:
            raise self._failure(f"did not end within {_STOP_S:.0f} s") from error
        if code != 0:
            raise self._failure(f"ended with exit code {code}")

    def kill(self) -> None:
        """End it now, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _failure(self, what: str) -> DemoError:
        text = self._log.read_text(errors="replace") if self._log and self._log.exists() else ""
        tail = "\n".join(text.splitlines()[-_LOG_TAIL:])
        return DemoError(f"anoean {self._words[0]} {what}; its last lines:\n{tail or '(none)'}")


@contextmanager
def _user_stderr() -> Iterator[None]:
    yield None


@contextmanager
def child(*words: str, config: Path, log: Path | None = None) -> Iterator[Child]:
    """Start a process; it is gone afterwards, whatever happens."""
    started = Child(*words, config=config, log=log)
    try:
        yield started
    finally:
        started.kill()


class Worker:
    """What the demo asks a running ``anoean serve`` over HTTP."""

    def __init__(self, process: Child) -> None:
        self.process = process
        self._url = str(process.wait_for_line("web_listening")["url"])

    def wait_until_ready(self) -> None:
        """Return when /ready answers 200."""
        deadline = time.monotonic() + _START_S
        while True:
            status, body = self._get("/ready")
            if status == _OK:
                return
            self.process.require_running()
            if time.monotonic() > deadline:
                message = f"the worker is not ready after {_START_S:.0f} s: {body}"
                raise DemoError(message)
            time.sleep(_LOOK_AGAIN_S)

    def metrics(self) -> dict[str, float]:
        """Return /metrics by sample name, labels included."""
        _, text = self._get("/metrics")
        return read_exposition(text)

    def wait_for_records(self, n_records: int) -> dict[str, float]:
        """Return the metrics when so many records are acknowledged, or when no more come."""
        deadline = time.monotonic() + _START_S
        while True:
            metrics = self.metrics()
            if metrics["anoean_records_total"] >= n_records or time.monotonic() > deadline:
                return metrics
            self.process.require_running()
            time.sleep(_LOOK_AGAIN_S)

    def _get(self, page: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{self._url}{page}", timeout=10) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def write_config(path: Path, settings: Settings) -> None:
    """Write settings as a file for the children."""
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")), encoding="utf-8")


def _is_whole(line: str) -> bool:
    return line.startswith("{") and line.endswith("}")
