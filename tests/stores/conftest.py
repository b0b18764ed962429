"""Registries on each kind of store: a folder, memory, S3 and MLflow, the last two real servers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from anoean_stream.registry import Registry
from anoean_stream.registry.store import Store, open_store
from tests.support.models import make_bundle
from tests.support.requiring import with_stores
from tests.support.store_servers import MlflowServer, S3Server

BUCKET = "anoean-tests"


@dataclass(frozen=True)
class Place:
    """Where a test's registry is, and a model's name that no other test has."""

    kind: str
    url: str
    name: str

    @property
    def store(self) -> Store:
        return open_store(self.url)

    @property
    def registry(self) -> Registry:
        return Registry(self.url)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test time for pip: its fixtures count, and install the servers once."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(500))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = with_stores(S3Server(tmp_path_factory.mktemp("s3")).start)
    server.create_bucket(BUCKET)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = with_stores(MlflowServer(tmp_path_factory.mktemp("mlflow")).start)
    yield server
    server.stop()


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid4().hex}"


@pytest.fixture(params=["folder", "memory", "s3", "mlflow"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kind = request.param
    if kind == "folder":
        url = str(tmp_path / "models")
    elif kind == "memory":
        url = f"memory://stores-{uuid4().hex}"
    elif kind == "s3":
        url = request.getfixturevalue("s3_url")
    else:
        url = request.getfixturevalue("mlflow_server").url
    return Place(kind, url, f"edge-{uuid4().hex[:8]}")


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Folders of bundles by seed; made once, never written to afterwards."""
    made: dict[int, Path] = {}

    def folder(seed: int = 0) -> Path:
        if seed not in made:
            made[seed] = tmp_path_factory.mktemp(f"bundle-{seed}")
            make_bundle(made[seed], name="edge", seed=seed)
        return made[seed]

    return folder
