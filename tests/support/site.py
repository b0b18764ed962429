"""A broker and settings, and the commands of ``anoean`` run against both."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any


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

    def json(self, *words: str) -> dict[str, Any]:
        document = json.loads(self.run(*words, "--json"))
        assert isinstance(document, dict)
        return document
