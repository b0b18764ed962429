"""NSL-KDD and KDD99: the public files and no others."""

import gzip
from pathlib import Path

import pytest

from anoean_stream.errors import DataError
from trainer.datasets.infer import infer_fields
from trainer.datasets.published import FLAGS, content_sha256, read_published


def test_nsl_kdd_is_read_with_its_41_features_and_without_the_difficulty(data_dir: Path) -> None:
    table = read_published("nsl-kdd", data_dir=data_dir / "nsl-kdd", max_rows=200_000)

    assert table.n_rows == 125_973
    assert int(table.is_anomaly_N.sum()) == 58_630
    assert len(table.columns) == 41
    assert len(set(table.kinds_N)) == 23
    inferred = infer_fields(table, flags=FLAGS)
    assert [field.name for field in inferred.excluded] == ["num_outbound_cmds"]
    assert {spec.name for spec in inferred.specs if spec.kind == "category"} == {
        "protocol_type",
        "service",
        "flag",
    }
    assert {spec.name for spec in inferred.specs if spec.kind == "flag"} >= set(FLAGS)
    assert inferred.warnings == ()


def test_labels_of_kdd99_lose_their_dot(data_dir: Path) -> None:
    with pytest.raises(DataError, match="more than 2,000 rows"):
        read_published("kdd99", data_dir=data_dir / "kdd99", max_rows=2000)

    packed = data_dir / "kdd99" / "kddcup.data_10_percent.gz"
    with gzip.open(packed, "rt") as file:
        assert next(file).endswith("normal.\n")


def test_a_plain_file_is_as_good_as_a_packed_one(data_dir: Path, tmp_path: Path) -> None:
    packed = data_dir / "nsl-kdd" / "KDDTest+.txt.gz"
    (tmp_path / "KDDTest+.txt").write_bytes(gzip.decompress(packed.read_bytes()))

    table = read_published("nsl-kdd", split="test", data_dir=tmp_path, max_rows=30_000)

    assert table.n_rows == 22_544
    assert content_sha256(packed) == content_sha256(tmp_path / "KDDTest+.txt")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither KDDTrain\+.txt nor KDDTrain\+.txt.gz is in"):
        read_published("nsl-kdd", data_dir=tmp_path, max_rows=1000)


def test_a_file_that_differs_is_named_with_both_hashes(tmp_path: Path) -> None:
    (tmp_path / "KDDTrain+.txt").write_text("0,tcp,http\n")

    with pytest.raises(
        DataError, match=r"KDDTrain\+.txt is not the public file .* sha256 \w{64}, expected 1b86d2"
    ):
        read_published("nsl-kdd", data_dir=tmp_path, max_rows=1000)


def test_a_packed_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"0,tcp,http,SF\n" * 1000)
    (tmp_path / "KDDTrain+.txt.gz").write_bytes(whole[:-10])

    with pytest.raises(
        DataError, match=r"KDDTrain\+.txt.gz is not a whole gzip file .* copy it again"
    ):
        read_published("nsl-kdd", data_dir=tmp_path, max_rows=1000)
