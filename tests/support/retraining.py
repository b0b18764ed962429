"""A site that retrains: a champion, a topic of simulated traffic, and a flood of one attack in it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import yaml

from anoean_stream.cli.train_guard import open_champion
from anoean_stream.configfile import load_settings
from anoean_stream.records.chunk import Chunk
from anoean_stream.settings import Settings
from anoean_stream.simulate import Flow, Simulator
from tests.support.site import Site
from tests.support.topics import publish

SCRIPT: Final = Path(__file__).parents[2] / "deploy" / "retrain" / "retrain.sh"

FLOOD: Final = "ssh_brute_force"
"""The attack that floods the topic."""

KNOWN: Final = (FLOOD, "port_scan", "dns_tunnel")
"""Attacks of old campaigns: the champion was trained on them."""

TRAINING: Final = {
    "training.epochs": 8,
    "training.encoder_hidden": "[64,32]",
    "training.latent_dim": 8,
    "training.false_positive_rate": 0.005,
    "training.threads": 1,
}
"""Settings for seconds of training."""

BASE: Final = ("--label-column", "label", "--normal-value", "0", "--attack-column", "attack")


def flows(n_flows: int, *, seed: int, attacks: Sequence[str] = KNOWN, share: float) -> list[Flow]:
    """Return simulated flows of one site."""
    return list(Simulator(seed=seed, attacks=attacks, attack_share=share).flows(n_flows))


def values(some: Iterable[Flow]) -> list[bytes]:
    """Return flows as they stand on the topic: without label."""
    return [msgspec.json.encode(flow.record) for flow in some]


def write_labelled(path: Path, some: Iterable[Flow]) -> Path:
    """Write flows with labels, as training on a file takes them."""
    path.write_bytes(b"".join(msgspec.json.encode(flow.labelled()) + b"\n" for flow in some))
    return path


def write_labels(path: Path, rows: Iterable[dict[str, object]]) -> Path:
    """Write labels as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def flagged(settings: Settings, some: Sequence[Flow], *, name: str = "anoean") -> list[bool]:
    """Return of each flow whether the champion flags it, as a worker would."""
    champion = open_champion(settings, name)
    assert champion is not None
    encoded = values(some)
    verdict = champion.score_chunk(
        Chunk("t", 0, encoded, (None,) * len(encoded), range(len(encoded)), (-1,) * len(encoded))
    )
    above = set(verdict.rows_G[verdict.anomalous_G].tolist())
    return [place in above for place in range(len(encoded))]


def recall(settings: Settings, some: Sequence[Flow]) -> float:
    """Return the share of flows that the champion flags."""
    return sum(flagged(settings, some)) / len(some)


@dataclass
class RetrainStage:
    """A site with a champion that knows `KNOWN`, and topics of its own."""

    site: Site
    campaigns: Path
    folder: Path

    def settings(self, **further: object) -> Settings:
        """Return the settings of the site, for calls in this process."""
        words = self._words(further)
        return load_settings(None, [f"{key}={value}" for key, value in words.items()])

    def write_config(self, **further: object) -> Path:
        """Write the settings of the site as a config.yaml."""
        words = self._words(further)
        document: dict[str, dict[str, object]] = {}
        for name, value in words.items():
            section, key = name.split(".")
            document.setdefault(section, {})[key] = yaml.safe_load(str(value))
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    def _words(self, further: Mapping[str, object]) -> dict[str, object]:
        return {
            "broker.bootstrap_servers": self.site.bootstrap,
            **self.site.settings,
            **{name.replace("__", "."): value for name, value in further.items()},
        }

    def publish(self, some: Sequence[Flow]) -> None:
        """Write flows to the input topic, over both partitions."""
        publish(self.site.bootstrap, self.site.topic("input"), values(some), partitions=2)


def train_champion(folder: Path) -> Path:
    """Train a model on a file of old campaigns; return the folder with both."""
    campaigns = write_labelled(folder / "campaigns.jsonl", flows(6000, seed=1, share=0.15))
    # No topic of ours, and no broker: training on a file needs neither.
    site = Site("127.0.0.1:1", {"registry.url": folder / "models", **TRAINING})
    site.json("train", "--data", str(campaigns), *BASE)
    return folder


def with_anoean(folder: Path) -> dict[str, str]:
    """Return an environment in which ``anoean`` is the command of this checkout."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    (commands / "anoean").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m anoean_stream "$@"\n')
    (commands / "anoean").chmod(0o755)
    return {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(SCRIPT.parents[2]),
    }


def run_script(step: str, environment: Mapping[str, str], *, config: Path) -> int:
    """Run deploy/retrain/retrain.sh with the real command on PATH; return its exit code."""
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), step],
        env={
            **with_anoean(config.parent),
            "ANOEAN_CONFIG": str(config),
            **environment,
        },
        timeout=100,
        check=False,
    ).returncode


def make_stage(bootstrap: str, group: str, folder: Path, *, trained: Path | None) -> RetrainStage:
    """Create topics, and copy what `train_champion` made; without it there is no champion."""
    topics = {
        "topics.input": f"{group}.flows",
        "topics.alerts": f"{group}.anomalies",
        "topics.dead_letters": f"{group}.dlq",
        "topics.audit": f"{group}.audit",
        "topics.control": f"{group}.control",
        "topics.workers": f"{group}.workers",
    }
    settings = {
        **topics,
        "consumer.group_id": group,
        "registry.url": folder / "models",
        **TRAINING,
    }
    site = Site(bootstrap, settings)
    site.json("topics", "create", *topics.values(), "--partitions", "2")
    if trained is not None:
        shutil.copytree(trained, folder, dirs_exist_ok=True)
    else:
        write_labelled(folder / "campaigns.jsonl", flows(2000, seed=1, share=0.15))
    return RetrainStage(site, folder / "campaigns.jsonl", folder)
