"""An operator at a terminal: commands against one broker, one registry, and topics of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anoean_stream.cli import main
from anoean_stream.cli.audit_reader import read_audit
from anoean_stream.records.audit import AuditRecord
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.records.workerreport import WorkerReport
from anoean_stream.registry import Registry
from anoean_stream.settings import BrokerSettings, Settings, TopicSettings
from tests.support.registries import make_registry
from tests.support.reporting import StandInWorker, make_report, send

Captured = pytest.CaptureFixture[str]


class Operator:
    """Runs commands against one broker, one registry, and topics of its own."""

    def __init__(
        self, bootstrap: str, topics: dict[str, str], registry: Registry, capsys: Captured
    ) -> None:
        self.bootstrap = bootstrap
        self.topics = topics
        self.registry = registry
        self._capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        """Run a command; return what stood on stdout and on stderr."""
        found = main([*words, *self._flags])
        said = self._capsys.readouterr()
        assert found == code, said.out + said.err
        return said.out, said.err

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "anoean_stream", *words, *self._flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @property
    def _flags(self) -> list[str]:
        shared = {
            "broker.bootstrap_servers": self.bootstrap,
            "registry.url": self.registry.url,
            "model.name": "edge",
            **{f"topics.{use}": name for use, name in self.topics.items()},
        }
        return [part for key, value in shared.items() for part in ("--set", f"{key}={value}")]

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        out, _ = self(*words, "--json", code=code)
        document: dict[str, Any] = json.loads(out)
        return document

    def report(self, *reports: WorkerReport) -> None:
        self.write("workers", *(report.to_record() for report in reports))

    def write(self, use: str, *records: OutRecord) -> None:
        send(self.bootstrap, self.topics[use], records)

    def worker(self, name: str, **changes: Any) -> StandInWorker:
        report = make_report(name, **changes)
        return StandInWorker(self.bootstrap, self.topics, self.registry, report)

    @property
    def settings(self) -> Settings:
        return Settings(
            broker=BrokerSettings(bootstrap_servers=self.bootstrap),
            topics=TopicSettings(**self.topics),
        )

    def audited(self) -> list[AuditRecord]:
        return read_audit(self.settings, "edge")


def make_operated_registry(folder: Path) -> Registry:
    """Return a registry whose model ``edge`` had the champions 1, 2 and 3, in this order."""
    registry = make_registry(folder, n_versions=3)
    registry.set_alias("edge", "champion", "2", by="ann@desk", reason="second")
    registry.set_alias("edge", "champion", "3", by="ben@desk", reason="third")
    return registry
