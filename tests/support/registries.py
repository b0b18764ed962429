"""A registry with small real models in it, and files of flows to score with them."""

import csv
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anoean_stream.registry import Registry
from tests.support.models import SPECS, make_bundle


def make_registry(folder: Path, *, name: str = "edge", n_versions: int = 2) -> Registry:
    """Return a registry in ``folder/models`` with versions from 1 on; the first is champion."""
    registry = Registry(str(folder / "models"))
    for seed in range(n_versions):
        with TemporaryDirectory() as bundle:
            for file, data in _bundle(name, seed).items():
                (Path(bundle) / file).write_bytes(data)
            registry.publish(Path(bundle), name)
    registry.set_alias(name, "champion", "1")
    return registry


def publish_model(folder: Path) -> Path:
    """Publish a small model named anoean as champion; return the registry's folder."""
    make_bundle(folder / "bundle", name="anoean")
    registry = Registry(str(folder / "models"))
    registry.set_alias("anoean", "champion", registry.publish(folder / "bundle", "anoean"))
    return folder / "models"


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any] | str]) -> Path:
    """Write rows as JSON lines; a text is written as it is."""
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], *, also: tuple[str, ...] = ()) -> Path:
    """Write rows as CSV with the fields of `SPECS`; a gap is an empty cell."""
    names = [*(spec.name for spec in SPECS), *also]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in rows:
            writer.writerow([_cell(row.get(name)) for name in names])
    return path


@cache
def _bundle(name: str, seed: int) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        make_bundle(Path(folder), name=name, seed=seed)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value
