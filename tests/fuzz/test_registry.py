"""A registry that somebody else writes to: names, aliases, links, sizes."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from anoean_stream.detector.bundle import FILES
from anoean_stream.errors import AnoeanError, BundleError, RegistryError
from anoean_stream.registry import Registry
from anoean_stream.registry.layout import ALIAS_MAX_BYTES, AliasRecord
from anoean_stream.registry.mlflowaliases import alias_bytes
from tests.support.fuzzing import fuzz
from tests.support.models import make_bundle
from tests.support.registries import make_registry

SECRET = b"secret-2f6a"

_evil_names = st.sampled_from(
    (
        "../secret", "/etc/passwd", "..", ".", "", "a/b", "a\0b", "a" * 101, "a" * 100_000, "-x",
        ".hidden", "edge/versions/1", "edge\n", "\ud800", "~", "%2e%2e", "edge@1", "C:\\x", "*",
    )
)  # fmt: skip
_names = _evil_names | st.text(max_size=20)
_versions = (
    st.sampled_from(("0", "01", "-1", "1.0", "1e3", "٣", "9" * 10, "9" * 5000, "../1", "1\n", ""))
    | _names
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    (folder / "secret").write_bytes(SECRET)
    return make_registry(folder, n_versions=1)


@fuzz(300)
@given(name=_names, version=_versions, alias=_names)
def test_no_name_version_or_alias_leaves_the_registry(
    registry: Registry, name: str, version: str, alias: str
) -> None:
    assume(name != "edge")
    assume(version not in ("1", "champion"))
    assume(alias != "champion")
    for call in (
        lambda: registry.load(name, version),
        lambda: registry.load("edge", version),
        lambda: registry.resolve("edge", version),
        lambda: registry.resolve(name, "champion"),
        lambda: registry.alias_record("edge", alias),
        lambda: registry.set_alias("edge", alias, version),
        lambda: registry.versions(name),
        lambda: registry.files(name, version),
    ):
        with pytest.raises(RegistryError) as caught:
            call()
        assert SECRET.decode() not in str(caught.value)


@fuzz(200)
@given(data=st.binary(max_size=60) | st.sampled_from(
    (
        b'{"version":"../../secret"}', b'{"version":"1","x":' + b"[" * 2000, b'{"version":1}',
        b'{"version":"' + b"1" * 4000 + b'"}', b" " * 5000, b'{"version":"\\ud800"}', b"\xff",
        b'{"version":"' + b"x" * 3000 + b'"}',
    )
))  # fmt: skip
def test_any_alias_file_is_read_or_refused_in_a_short_sentence(
    registry: Registry, data: bytes
) -> None:
    Path(registry.url, "edge/aliases/evil.json").write_bytes(data)

    with pytest.raises(RegistryError) as caught:
        registry.alias_record("edge", "evil")

    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("file", FILES)
def test_a_link_in_a_version_is_refused_by_file(tmp_path: Path, file: str) -> None:
    registry = make_registry(tmp_path, n_versions=1)
    path = Path(registry.url, "edge/versions/1", file)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RegistryError, match=rf"{file} is a symbolic link"):
        registry.load("edge", "1")


@pytest.mark.parametrize("link", ["edge", "edge/versions", "edge/versions/1", "edge/aliases"])
def test_a_folder_that_is_a_link_is_refused(tmp_path: Path, link: str) -> None:
    registry = make_registry(tmp_path, n_versions=1)
    path = Path(registry.url, link)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RegistryError, match=rf"{link} is a symbolic link"):
        registry.load("edge", registry.alias_version("edge", "champion"))


@pytest.mark.parametrize("file", FILES)
def test_a_file_of_a_terabyte_is_refused_by_name(tmp_path: Path, file: str) -> None:
    registry = make_registry(tmp_path, n_versions=1)
    with Path(registry.url, "edge/versions/1", file).open("r+b") as handle:
        handle.truncate(2**40)

    with pytest.raises(RegistryError, match=rf"{file} has {2**40} bytes"):
        registry.load("edge", "1")


def test_an_object_store_is_asked_for_no_more_than_the_limit(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    registry = Registry("memory://too-large")
    registry.publish(tmp_path, "edge")
    store = registry._store
    store.replace("edge/versions/1/manifest.json", b" " * 2**21)

    with pytest.raises(AnoeanError, match=r"manifest\.json has 1048577 bytes or more"):
        registry.load("edge", "1")


def test_a_folder_with_a_link_is_not_published(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "bundle/report.json").symlink_to(tmp_path / "secret")

    with pytest.raises(RegistryError, match=r"report\.json is a symbolic link"):
        Registry(str(tmp_path / "models")).publish(tmp_path / "bundle", "edge")


def test_the_manifest_cannot_make_anything_else_be_read(tmp_path: Path) -> None:
    registry = make_registry(tmp_path, n_versions=1)
    path = Path(registry.url, "edge/versions/1/manifest.json")
    path.write_bytes(path.read_bytes().replace(b"golden.json", b"../../../../secret"))

    with pytest.raises(BundleError, match=r"manifest\.json"):
        registry.load("edge", "1")


@fuzz(300)
@given(value=st.text(max_size=60) | st.sampled_from(
    (
        '[{"version":"7"}]', '[{"version":"../1"}]', '[{"version":"7","held":{"x":"y"}}]', "[" * 5000,
        '[{"version":"7","history":["1","2"]},{"version":"6"}]', "{}", "null", '[{"version":7}]',
    )
))  # fmt: skip
def test_whatever_stands_in_a_tag_of_mlflow_the_alias_names_what_mlflow_says(value: str) -> None:
    data = alias_bytes("3", value)

    assert data is not None
    assert AliasRecord.from_json(data).version == "3"
    assert len(data) <= ALIAS_MAX_BYTES
