"""A real worker process, ``anoean serve``, and what it tells over HTTP."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from anoean_stream.observe.metrics import read_exposition
from tests.support.lifetime import die_with_parent
from tests.support.waiting import wait_until

START_TIMEOUT_S: Final = 40.0
"""Seconds until ready: 3 on an idle machine, more when the group still waits for a dead member."""

STOP_TIMEOUT_S: Final = 45.0
"""Seconds until the process ended after SIGTERM: above the worker's own deadline."""


class WorkerProcess:
    """``anoean serve`` as a child, with its lines in a file.

    Parameters
    ----------
    bootstrap : str
        Address of the broker.
    registry : Path
        Folder of the registry.
    settings : mapping of str to object
        Further settings, ``section.key`` to value.
    command : sequence of str
        What Python runs, up to ``serve``.
    """

    def __init__(
        self,
        bootstrap: str,
        registry: Path,
        settings: Mapping[str, object] | None = None,
        *,
        command: Sequence[str] = ("-m", "anoean_stream"),
    ) -> None:
        self._command = tuple(command)
        self._settings: dict[str, object] = {
            "broker.bootstrap_servers": bootstrap,
            "registry.url": registry,
            "registry.poll_interval_s": 0.3,
            "consumer.session_timeout_s": 6,
            "consumer.heartbeat_interval_s": 1,
            "consumer.commit_interval_s": 0.3,
            "web.port": 0,
            "logging.format": "json",
            **(settings or {}),
        }
        self._log = tempfile.NamedTemporaryFile(prefix="anoean-worker-", suffix=".log")  # noqa: SIM115  # closed in `stop`
        self.process: subprocess.Popen[bytes] | None = None
        self._url: str | None = None
        self._n_addresses = 0

    def start(self) -> Self:
        """Start the process; return when its web server answers."""
        self._url = None
        self._n_addresses = len(self._addresses())  # of an earlier start
        words = [f"{key}={value}" for key, value in self._settings.items()]
        flags = [part for word in words for part in ("--set", word)]
        self.process = subprocess.Popen(
            [sys.executable, *self._command, "serve", *flags],
            stdout=self._log,
            stderr=self._log,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # two calls of the C library
            env={name: value for name, value in os.environ.items() if "ANOEAN" not in name},
        )
        wait_until(
            lambda: self._find_url() is not None or self.exit_code is not None,
            what="the worker's web server",
            within_s=START_TIMEOUT_S,
            hint=self.tail,
        )
        return self

    def ready(self) -> Self:
        """Return when /ready answers 200."""
        wait_until(
            lambda: self.probe("/ready")[0] == 200,
            what="a ready worker",
            within_s=START_TIMEOUT_S,
            hint=self.tail,
        )
        return self

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while it runs."""
        assert self.process is not None
        return self.process.poll()

    @property
    def pid(self) -> int:
        """Process id."""
        assert self.process is not None
        return self.process.pid

    def probe(self, page: str) -> tuple[int, str]:
        """Return status and body of a page; status 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"{self._find_url()}{page}", timeout=5) as answer:  # noqa: S310  # our own worker
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, ValueError):
            return 0, ""

    def metrics(self) -> dict[str, float]:
        """Return /metrics by sample name, labels included; empty while nothing listens."""
        status, text = self.probe("/metrics")
        return read_exposition(text) if status == 200 else {}

    def wait_for_records(self, n_records: int, *, timeout_s: float = 60.0) -> dict[str, float]:
        """Return the metrics when so many records are acknowledged."""
        wait_until(
            lambda: self.metrics().get("anoean_records_total", 0) >= n_records,
            what=f"{n_records} records",
            within_s=timeout_s,
            hint=lambda: f"{self.metrics().get('anoean_records_total')} so far\n{self.tail()}",
        )
        return self.metrics()

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        text = Path(self._log.name).read_text(errors="replace")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def wait_for_line(
        self, event: str, *, timeout_s: float = 20.0, **fields: object
    ) -> dict[str, Any]:
        """Return the first line of this event with these fields, when it is there."""

        def matching() -> list[dict[str, Any]]:
            return [
                line
                for line in self.lines()
                if line.get("event") == event
                and all(line.get(name) == value for name, value in fields.items())
            ]

        wait_until(
            lambda: bool(matching()), what=f"log line {event}", within_s=timeout_s, hint=self.tail
        )
        return matching()[0]

    def tail(self) -> str:
        """Return its last lines, for an error message."""
        return "\n".join(Path(self._log.name).read_text(errors="replace").splitlines()[-25:])

    def output(self) -> str:
        """Return everything it has printed."""
        return Path(self._log.name).read_text(errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            message = f"the worker did not end within {STOP_TIMEOUT_S:.0f} s\n{self.tail()}"
            raise AssertionError(message) from error

    def freeze(self) -> None:
        """Stop the process where it stands (SIGSTOP), as a paused machine would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it now, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._log.close()

    def _find_url(self) -> str | None:
        if self._url is None:
            new = self._addresses()[self._n_addresses :]
            self._url = new[0] if new else None
        return self._url

    def _addresses(self) -> list[str]:
        return [line["url"] for line in self.lines() if line.get("event") == "web_listening"]
