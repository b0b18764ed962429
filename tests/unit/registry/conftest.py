"""A registry on each kind of store, and real bundles to put into it."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from anoean_stream.registry import Registry
from tests.support.models import make_bundle


@pytest.fixture(params=["folder", "memory"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    if request.param == "folder":
        return Registry(str(tmp_path / "models"))
    return Registry(f"memory://registry-{uuid4().hex}")


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
