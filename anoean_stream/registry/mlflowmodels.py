"""Registered models, their versions and the runs behind them, as an MLflow server has them."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from anoean_stream.errors import RegistryError
from anoean_stream.registry.mlflowclient import TAKEN, MlflowClient, MlflowError

OURS: Final = "anoean.model"
"""Tag of a registered model in which we publish."""

ARTIFACTS: Final = "anoean.artifacts"
"""Tag of a version that we published: the folder of its files. One without is somebody else's."""

WHOLE: Final = "anoean.whole"
"""Tag of a version that can be read; it is taken away first when the version is removed."""

FOLDER: Final = "bundle"
"""Below a run's artifacts: the files of the version."""


class MlflowModels:
    """The entities of one server; raises what `MlflowClient` raises.

    Parameters
    ----------
    client : MlflowClient
        How to reach it.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def models(self) -> Iterator[str]:
        """Yield the names of the registered models that have something of ours."""
        for model in self._client.pages("registered-models/search", "registered_models"):
            if any(key.startswith("anoean.") for key in tags_of(model)):
                yield model["name"]

    def model(self, name: str) -> dict[str, Any]:
        """Return a registered model; an empty one when there is none."""
        try:
            found = self._client.get("registered-models/get", name=name)
        except FileNotFoundError:
            return {}
        return dict(found["registered_model"])

    def versions(self, name: str) -> Iterator[dict[str, Any]]:
        """Return the versions of a model that we published."""
        found = self._client.pages(
            "model-versions/search", "model_versions", filter=f"name='{name}'"
        )
        return (version for version in found if ARTIFACTS in tags_of(version))

    def version(self, name: str, number: str) -> dict[str, Any] | None:
        """Return one version; None when there is none."""
        try:
            found = self._client.get("model-versions/get", name=name, version=number)
        except FileNotFoundError:
            return None
        return dict(found["model_version"])

    def size_bytes(self, where: str) -> int:
        """Return the size of all artifacts below a folder."""
        return sum(
            self.size_bytes(f"{where}/{str(one['path']).rpartition('/')[2]}")
            if one.get("is_dir")
            else int(one.get("file_size", 0))
            for one in self._client.artifacts(where)
        )

    def ensure_model(self, name: str) -> None:
        """Create a registered model, or mark the one that is there as ours too."""
        tags = [{"key": OURS, "value": "true"}]
        try:
            self._client.post("registered-models/create", name=name, tags=tags)
        except MlflowError as error:
            if error.code != TAKEN:
                raise
            if OURS not in tags_of(self.model(name)):
                self._client.post(
                    "registered-models/set-tag", name=name, key=OURS, value="true"
                )  # fmt: skip

    def experiment(self, name: str) -> str:
        """Return the id of the experiment in which the runs of a model are; raises FileNotFoundError."""
        found = self._client.get("experiments/get-by-name", experiment_name=f"anoean-{name}")
        return str(found["experiment"]["experiment_id"])

    def new_run(self, name: str) -> tuple[str, str]:
        """Create a run for the files of a version; return its id and the address of its artifacts."""
        try:
            experiment = self.experiment(name)
        except FileNotFoundError:
            try:
                self._client.post("experiments/create", name=f"anoean-{name}")
            except MlflowError as error:
                if error.code != TAKEN:
                    raise
            experiment = self.experiment(name)
        created = self._client.post(
            "runs/create", experiment_id=experiment, run_name=name, start_time=_now_ms()
        )
        info = created["run"]["info"]
        return str(info["run_id"]), str(info["artifact_uri"])

    def finish_run(self, run: str) -> None:
        """Mark a run as done."""
        self._client.post("runs/update", run_id=run, status="FINISHED", end_time=_now_ms())

    def remove_run(self, run: str, where: str) -> None:
        """Remove a run and the files of its version."""
        self._client.remove_artifacts(where)
        try:
            self._client.post("runs/delete", run_id=run)
        except FileNotFoundError:
            return

    def version_tags(self, name: str, number: str) -> dict[str, str]:
        """Return the tags of a version; none when there is no such version."""
        return tags_of(self.version(name, number) or {})

    def tag_version(self, name: str, number: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._client.post(
            "model-versions/set-tag", name=name, version=number, key=key, value=value
        )  # fmt: skip

    def untag_model(self, name: str, key: str) -> None:
        """Remove a tag of a model."""
        self._client.delete("registered-models/delete-tag", name=name, key=key)

    def artifact_path(self, uri: str) -> str:
        """Return the path at which the server takes and gives the artifacts of an address."""
        parts = urlsplit(uri)
        if parts.scheme != "mlflow-artifacts":
            message = (
                f"the MLflow server keeps artifacts at {uri}, where only it can write; start it with "
                f"--serve-artifacts and --artifacts-destination"
            )
            raise RegistryError(message)
        return parts.path.strip("/")


def tags_of(entity: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a model or version."""
    return {one["key"]: one.get("value", "") for one in entity.get("tags", [])}


def aliases_of(model: Mapping[str, Any]) -> dict[str, str]:
    """Return the version that each alias of a model names."""
    return {one["alias"]: str(one["version"]) for one in model.get("aliases", [])}


def _now_ms() -> int:
    return round(datetime.now(UTC).timestamp() * 1000)
