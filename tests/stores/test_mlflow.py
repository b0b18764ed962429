"""A registry in MLflow, seen with MLflow's own client: the same versions, files and aliases."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anoean_stream.detector.bundle import FILES
from anoean_stream.errors import ModelNotFoundError, RegistryError
from anoean_stream.registry import Registry
from anoean_stream.registry.store import open_store
from tests.stores.conftest import Place
from tests.support.store_servers import MlflowServer, python

BundleFolder = Callable[[int], Path]

pytestmark = pytest.mark.parametrize("place", ["mlflow"], indirect=True)


def in_mlflow(server: MlflowServer, code: str, *words: str) -> Any:
    """Run code with MLflow's own client; it prints JSON."""
    program = (
        "import json, sys, mlflow\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "client = mlflow.MlflowClient()\n"
        f"name, *words = sys.argv[2:]\n{code}"
    )
    done = subprocess.run(
        [str(python()), "-W", "ignore", "-c", program, server.address, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else None


def published(place: Place, bundle_folder: BundleFolder, n_versions: int) -> Registry:
    for seed in range(n_versions):
        place.registry.publish(bundle_folder(seed), place.name)
    return place.registry


def test_mlflow_shows_what_we_publish_and_promote(
    place: Place, bundle_folder: BundleFolder, mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    published(place, bundle_folder, 1).set_alias(place.name, "champion", "1")

    seen = in_mlflow(
        mlflow_server,
        "version = client.get_model_version_by_alias(name, 'champion')\n"
        "folder = mlflow.artifacts.download_artifacts(f'models:/{name}@champion', dst_path=words[0])\n"
        "print(json.dumps({'version': str(version.version), 'folder': folder,\n"
        "                  'status': client.get_run(version.run_id).info.status}))",
        place.name,
        str(tmp_path / "download"),
    )

    assert seen["version"] == "1"
    assert seen["status"] == "FINISHED"
    for file in FILES:
        assert (Path(seen["folder"]) / file).read_bytes() == (bundle_folder(0) / file).read_bytes()


def test_an_alias_that_is_moved_in_mlflow_moves_ours(
    place: Place, bundle_folder: BundleFolder, mlflow_server: MlflowServer
) -> None:
    registry = published(place, bundle_folder, 2)
    registry.set_alias(place.name, "champion", "1")

    in_mlflow(mlflow_server, "client.set_registered_model_alias(name, 'champion', '2')", place.name)

    record = registry.alias_record(place.name, "champion")
    assert (record.version, record.updated_by, record.history) == ("2", "MLflow", ("1",))
    assert registry.roll_back(place.name) == ("2", "1")
    assert registry.alias_record(place.name, "champion").updated_by != "MLflow"


def test_versions_of_others_are_neither_seen_nor_removed(
    place: Place, bundle_folder: BundleFolder, mlflow_server: MlflowServer
) -> None:
    foreign = "client.create_model_version(name, 's3://elsewhere/model')"
    in_mlflow(mlflow_server, f"client.create_registered_model(name)\n{foreign}", place.name)
    assert place.name not in place.registry.models()

    registry = published(place, bundle_folder, 1)
    in_mlflow(mlflow_server, foreign, place.name)
    assert registry.publish(bundle_folder(1), place.name) == "4"
    registry.collect(place.name, keep=1)

    assert registry.version_numbers(place.name) == ["4"]
    left = in_mlflow(
        mlflow_server,
        "print(json.dumps([int(v.version) for v in client.search_model_versions(f\"name='{name}'\")]))",
        place.name,
    )
    assert sorted(left) == [1, 3, 4]
    with pytest.raises(ModelNotFoundError, match="no version '1'"):
        registry.resolve(place.name, "1")


def test_a_run_that_never_became_a_version_is_tidied_up(
    place: Place, bundle_folder: BundleFolder, mlflow_server: MlflowServer
) -> None:
    registry = published(place, bundle_folder, 1)
    in_mlflow(
        mlflow_server,
        "e = client.get_experiment_by_name(f'anoean-{name}').experiment_id\n"
        "r = client.create_run(e, start_time=1000)\n"
        "client.log_text(r.info.run_id, 'half', 'bundle/weights.safetensors')\n",
        place.name,
    )

    done = registry.collect(place.name, keep=1)

    assert done.leftovers_bytes == 4
    runs = in_mlflow(
        mlflow_server,
        "e = client.get_experiment_by_name(f'anoean-{name}').experiment_id\n"
        "print(len(client.search_runs([e])))",
        place.name,
    )
    assert runs == 1
    registry.load(place.name, "1")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mlflow+http://", "names no host"),
        ("mlflow+https:///models", "names no host"),
    ],
)
def test_a_url_without_a_host_is_refused(place: Place, url: str, sentence: str) -> None:
    with pytest.raises(RegistryError, match=sentence):
        open_store(url)


def test_what_is_no_mlflow_server_is_named(place: Place, s3_url: str) -> None:
    elsewhere = os.environ["AWS_ENDPOINT_URL"]

    with pytest.raises(RegistryError, match="check that `mlflow server` answers there"):
        open_store(f"mlflow+{elsewhere}").children("")
