"""Several processes at one registry: promotions at once, and one that dies between two writes."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from anoean_stream.registry.store import open_store
from tests.stores.conftest import Place
from tests.support.kafka_jars import REPOSITORY
from tests.support.lifetime import die_with_parent
from tests.support.registry_writer import N_VERSIONS

BundleFolder = Callable[[int], Path]
N_MOVES = 50


def writer(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.registry_writer", *words],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - it calls into the C library only
    )


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def of_kinds(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("place", kinds, indirect=True)


@of_kinds("folder", "s3")
def test_of_promotions_at_once_none_is_lost(place: Place, bundle_folder: BundleFolder) -> None:
    registry = place.registry
    for _ in range(N_VERSIONS):
        registry.publish(bundle_folder(0), place.name)
    registry.set_alias(place.name, "champion", "1")

    writers = [writer("promote", place.url, place.name, str(N_MOVES)) for _ in range(2)]
    n_reads = 0
    while any(process.poll() is None for process in writers):
        record = registry.alias_record(place.name, "champion")  # half a file would raise
        assert 1 <= int(record.version) <= N_VERSIONS
        n_reads += 1
    reports = [json.loads(output(process)) for process in writers]

    assert n_reads > N_MOVES
    assert open_store(place.url).read(f"{place.name}/counter.json", max_bytes=10) == b"100"
    moves = [tuple(move) for report in reports for move in report["moves"]]
    assert len(moves) == 2 * N_MOVES
    # Each move left what an earlier one had come to: a lost one would leave a gap.
    left = Counter(move[0] for move in moves)
    came = Counter(["1", *(move[1] for move in moves)])
    came.subtract(left)
    assert +came == Counter([registry.alias_version(place.name, "champion")])
    history = registry.alias_record(place.name, "champion").history
    assert registry.alias_version(place.name, "previous") == history[0]
    assert sum(report["conflicts"] for report in reports) > 0, "the two never met"


@of_kinds("folder", "s3", "mlflow")
@pytest.mark.parametrize(
    ("action", "n_writes"), [("publish", 6), ("promote", 2), ("rollback", 2), ("gc", 4)]
)
def test_a_writer_that_dies_between_two_writes_does_no_harm(
    place: Place, bundle_folder: BundleFolder, action: str, n_writes: int
) -> None:
    registry = place.registry
    for version in ("1", "2", "3"):
        registry.publish(bundle_folder(0), place.name)
        registry.set_alias(place.name, "champion", version)

    died = int(output(writer("die", place.url, place.name, str(bundle_folder(1)), action)))

    assert died >= n_writes
