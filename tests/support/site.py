"""A broker and settings, and the commands of ``anoean`` run against both."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.registries import publish_model
from tests.support.worker import WorkerProcess


@dataclass
class Site:
    """A broker and the settings that every command of a test shares."""

    bootstrap: str
    settings: dict[str, object]

    @property
    def flags(self) -> list[str]:
        shared = {"broker.bootstrap_servers": self.bootstrap, **self.settings}
        return [part for key, value in shared.items() for part in ("--set", f"{key}={value}")]

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "anoean_stream", *words, *self.flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str, exit_code: int = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        assert process.returncode == exit_code, err.decode()
        return (out if exit_code == 0 else err).decode()

    def json(self, *words: str, exit_code: int = 0) -> dict[str, Any]:
        process = self.start(*words, "--json")
        out, err = process.communicate(timeout=60)
        assert process.returncode == exit_code, (out + err).decode()
        document = json.loads(out)
        assert isinstance(document, dict)
        return document

    def topic(self, use: str) -> str:
        """Name of the topic for a use: ``input``, ``alerts``, ``dead_letters``."""
        return str(self.settings[f"topics.{use}"])

    @property
    def group(self) -> str:
        return str(self.settings["consumer.group_id"])

    def worker(self, **settings: object) -> WorkerProcess:
        """A worker, not started, with further settings (``section__key``)."""
        further = {name.replace("__", "."): value for name, value in settings.items()}
        registry = Path(str(self.settings["registry.url"]))
        return WorkerProcess(self.bootstrap, registry, {**self.settings, **further})


def make_site(bootstrap: str, group: str, folder: Path) -> Site:
    """Create topics of two partitions, and a registry with a champion; return the site."""
    models = publish_model(folder)
    settings: dict[str, object] = {
        "topics.input": f"{group}.flows",
        "topics.alerts": f"{group}.anomalies",
        "topics.dead_letters": f"{group}.dlq",
        "topics.audit": f"{group}.audit",
        "topics.control": f"{group}.control",
        "topics.workers": f"{group}.workers",
        "consumer.group_id": group,
        "registry.url": models,
    }
    site = Site(bootstrap, settings)
    site.json("topics", "create", "--partitions", "2")
    return site
